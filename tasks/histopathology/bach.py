"""BACH: four kinds of breast tissue in microscope photographs.

Aresta et al. 2019, Medical Image Analysis 56, 122. Layout of https://zenodo.org/records/3632035:
`Photos/{Benign,InSitu,Invasive,Normal}/*.tif` (b001.tif, is001.tif, iv001.tif, n001.tif, ...; 2048
x 1536 pixels at 0.42 micrometres). The challenge's test labels are not public; test are the images
that kaiko-ai/eva holds out (src/eva/vision/data/datasets/classification/bach.py), chosen so that no
patient is on both sides. They are given there as positions in the sorted list, here by their
numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.task import Task
from tasks.histopathology.image_files import AGAIN, class_folders, opened_image, placed_image

# class folder -> prefix of its images, inclusive ranges of the test images' numbers
CLASSES: dict[str, tuple[str, tuple[tuple[int, int], ...]]] = {
    "Benign": ("b", ((42, 59), (61, 90))),
    "InSitu": ("is", ((40, 69),)),
    "Invasive": ("iv", ((41, 58), (61, 73))),
    "Normal": ("n", ((46, 68),)),
}


class Bach(Task):
    """`tissue` of every photograph."""

    source = "bach"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("bach", "ICIAR2018_BACH_Challenge", "BACH"),
        layout=("Photos/*/*.tif",),
        downloads=(
            Download(
                "https://zenodo.org/records/3632035/files/ICIAR2018_BACH_Challenge.zip", strip=1
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for name, path in class_folders(self.folder / "Photos"):
            with self.collecting():
                label = self.label("tissue", name, path.parent)
                prefix, held_out = CLASSES[name]
                number = re.fullmatch(rf"{prefix}0*(\d+)", path.stem, re.IGNORECASE)
                if number is None:
                    raise DatasetError(
                        f"{path}: images of {name} are named {prefix}001.tif, ...: {AGAIN}"
                    )
                tested = any(first <= int(number[1]) <= last for first, last in held_out)
                if tested == (split == "test"):
                    yield {"id": path.stem, "group": path.stem, "tissue": label, "_file": path}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": placed_image(row["_file"], self.folder)}

    def materialise(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**opened_image(stored, self.folder), "mpp": 0.42}
