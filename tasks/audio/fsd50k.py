"""FSD50K: 200 sound event classes, several per clip.

Fonseca et al. 2022, "FSD50K: an Open Dataset of Human-Labeled Sound Events", IEEE/ACM TASLP 30.
Layout of the archives at https://zenodo.org/record/4060432: `FSD50K.ground_truth/dev.csv` (columns
fname, labels, mids, split: train or val) and `eval.csv` (without split), `FSD50K.dev_audio/` and
`FSD50K.eval_audio/` with `<fname>.wav`, mono, 44.1 kHz, 0.3 to 30 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

RATE = 44_100
NAMES = {"train": "train", "validation": "val"}
APPLY = (
    "download all files of https://zenodo.org/record/4060432 (the audio is in split zip archives: "
    "join them with `zip -s 0 FSD50K.dev_audio.zip --out dev.zip`, the same for eval_audio, and "
    "unzip) so that fsd50k/ holds FSD50K.ground_truth, FSD50K.dev_audio and FSD50K.eval_audio"
)


class Fsd50k(Task):
    """`classes`: the propagated labels of the ground truth files, (200,) of 0 / 1."""

    source = "fsd50k"
    distribution = Distribution(
        folders=("fsd50k", "FSD50K"),
        layout=(
            "FSD50K.ground_truth/dev.csv",
            "FSD50K.ground_truth/eval.csv",
            "FSD50K.dev_audio/*",
            "FSD50K.eval_audio/*",
        ),
        apply=APPLY,
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        part = "eval" if split == "test" else "dev"
        index = self.path("FSD50K.ground_truth", f"{part}.csv")
        extra = ["split"] if part == "dev" else []
        for row in read_csv(index, ["fname", "labels", *extra]):
            with self.collecting():
                where = f"{index}, {row['fname']}"
                if part == "dev":
                    if row["split"] not in NAMES.values():
                        raise DatasetError(
                            f"{where}: the split {row['split']!r} is neither train nor val: "
                            "get the file again, unchanged"
                        )
                    if row["split"] != NAMES[split]:
                        continue
                classes = np.zeros(len(self.classes("classes")), np.int64)
                for name in row["labels"].split(","):
                    classes[self.label("classes", name.strip(), where)] = 1
                yield {
                    "id": row["fname"],
                    "group": row["fname"],
                    "classes": classes,
                    "_file": self.folder / f"FSD50K.{part}_audio" / f"{row['fname']}.wav",
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": audio(in_any_type(row["_file"]), RATE)}
