"""MHIST: hyperplastic polyps and sessile serrated adenomas.

Wei et al. 2021, arXiv:2101.12355. Layout of https://bmirds.github.io/MHIST: `annotations.csv` with
the columns Image Name, Majority Vote Label (HP or SSA), Number of Annotators who Selected SSA (Out
of 7) and Partition (train or test), and tiles of 224 x 224 pixels in `images/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.histopathology.image_files import AGAIN, open_file, read_image

COLUMNS = ["Image Name", "Majority Vote Label", "Partition"]


class Mhist(Task):
    """`polyp`: the label of most of seven pathologists."""

    source = "mhist"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("mhist", "MHIST"),
        layout=("annotations.csv", "images/*"),
        apply=(
            "Fill in the form at https://bmirds.github.io/MHIST/#accessing-dataset, then put "
            "annotations.csv and the unpacked images.zip as images/ into <data-dir>/mhist/."
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        index = self.path("annotations.csv")
        for row in read_csv(index, COLUMNS):
            with self.collecting():
                name, part = row["Image Name"], row["Partition"].strip().lower()
                if part not in self.splits:
                    raise DatasetError(
                        f"{index}, {name}: the partition {part!r} is not train or test: {AGAIN}"
                    )
                if part == split:
                    label = row["Majority Vote Label"].strip()
                    yield {
                        "id": name.rpartition(".")[0],
                        "group": name.rpartition(".")[0],
                        "polyp": self.label("polyp", label, f"{index}, {name}"),
                        "_file": self.folder / "images" / name,
                    }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        path = open_file(row["_file"], "annotations.csv names it")
        return {"input": {"image": read_image(path, (224, 224))}}
