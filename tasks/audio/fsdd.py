"""Free Spoken Digit Dataset: leave one speaker out.

Layout of https://github.com/Jakobovski/free-spoken-digit-dataset:
`recordings/{digit}_{speaker}_{index}.wav`, mono, 8 kHz. Fold k tests the k-th speaker by name. The
repository's own test set (indices 0 to 4 of every speaker) tests speakers that were trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.task import Task, folds
from tasks.audio.sound_files import audio

RATE = 8_000
SPEAKERS = 6


def _speaker(path: Path) -> str:
    """The name between digit and index, which may itself hold an underscore."""
    return path.stem.partition("_")[2].rpartition("_")[0]


class FreeSpokenDigits(Task):
    """`digit`, spoken by one of six speakers."""

    source = "fsdd"
    splits = folds(SPEAKERS)
    distribution = Distribution(
        folders=("fsdd", "free-spoken-digit-dataset", "free-spoken-digit-dataset-master"),
        layout=("recordings/*_*_*.wav",),
        downloads=(
            Download(
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/master.zip",
                name="free-spoken-digit-dataset-master.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        paths = sorted(matches(self.folder, "recordings/*_*_*.wav"))
        speakers = sorted({_speaker(path) for path in paths})
        if len(speakers) != SPEAKERS:
            raise DatasetError(
                f"{self.card.name}: {self.folder / 'recordings'} has {len(speakers)} speakers "
                f"({', '.join(speakers)}) and not {SPEAKERS}: get the dataset again"
            )
        tested = speakers[self.splits.index(split)]
        for path in paths:
            if _speaker(path) == tested:
                digit = self.label("digit", path.stem.partition("_")[0], path)
                yield {"id": path.stem, "group": tested, "digit": digit, "_file": path}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(row["_file"], RATE)}
