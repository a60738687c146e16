"""Mock datasets on disk; without torch, so that processes which decode them start quickly."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmark.distribution import Distribution
from benchmark.files import read_csv, reading
from benchmark.task import Task, folds


class MockDisk(Task):
    """Tones on disk: meta.csv (file, speaker, pitch, split) and audio/*.npy."""

    source = "mock-disk"
    distribution = Distribution(("mock-disk",), ("meta.csv", "audio/*.npy"), apply="Ask the mock.")

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        path = self.path("meta.csv")
        for row in read_csv(path, ["file", "speaker", "pitch", "split"]):
            if row["split"] == split:
                yield {
                    "id": row["file"],
                    "group": row["speaker"],
                    "pitch_class": self.label("pitch_class", row["pitch"], path),
                    "_file": self.folder / "audio" / row["file"],
                }

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        with reading(row["_file"]):
            wave = np.load(row["_file"], allow_pickle=False)
        return {"input": {"waveform": wave, "sample_rate": 4000}}


class MockFolds(MockDisk):
    """The same with three folds in the place of splits."""

    source = "mock-folds"
    distribution = Distribution(("mock-folds",), ("meta.csv", "audio/*.npy"))
    splits = folds(3)
