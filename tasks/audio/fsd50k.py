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

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.audio.file_types import in_any_type
from tasks.audio.sound_files import audio

RATE = 44_100
NAMES = {"train": "train", "validation": "val"}
RECORD = "https://zenodo.org/records/4060432/files"
# md5 of each file, as the record states them (and soundata's `fsd50k` loader checks them)
PIECES = {
    "dev": {
        "z01": "faa7cf4cc076fc34a44a479a5ed862a3",
        "z02": "8f9b66153e68571164fb1315d00bc7bc",
        "z03": "1196ef47d267a993d30fa98af54b7159",
        "z04": "d088ac4e11ba53daf9f7574c11cccac9",
        "z05": "81356521aa159accd3c35de22da28c7f",
        "zip": "c480d119b8f7a7e32fdb58f3ea4d6c5a",
    },
    "eval": {
        "z01": "3090670eaeecc013ca1ff84fe4442aeb",
        "zip": "6fa47636c3a3ad5c7dfeba99f2637982",
    },
}
GROUND_TRUTH = "ca27382c195e37d2269c4c866dd73485"


def _downloads() -> Iterator[Download]:
    """The ground truth, and the volumes of the two split zip archives with the audio."""
    yield Download(f"{RECORD}/FSD50K.ground_truth.zip", md5=GROUND_TRUTH)
    for part, volumes in PIECES.items():
        for suffix, md5 in volumes.items():
            name = f"FSD50K.{part}_audio.{suffix}"
            yield Download(f"{RECORD}/{name}", md5=md5, joins=f"{part}_audio.whole.zip")


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
        downloads=tuple(_downloads()),
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
