"""LC25000: tissue of lung and colon, augmented from 1,250 tiles.

Borkowski et al. 2019, arXiv:1912.12142. Layout:
`lung_colon_image_set/lung_image_sets/{lung_aca,lung_n, lung_scc}/*.jpeg` and
`../colon_image_sets/{colon_aca,colon_n}/*.jpeg`, 768 x 768 pixels. Every tile was turned and
flipped to some twenty files, and nothing in their names tells which. Batchkala et al. found the
tiles again: `kaggle/lc25000_image_groups.csv` of https://github.com/GeorgeBatch/LC25000-clean, with
the columns stem, filename, label and group_id, is read where it lies in the dataset's folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.distribution import Distribution, Download, kaggle, matches
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task, folds
from tasks.histopathology.dealt_folds import fold_of
from tasks.histopathology.image_files import AGAIN, opened_image, placed_image

GROUPS = "lc25000_image_groups.csv"
CLASSES = ("colon_aca", "colon_n", "lung_aca", "lung_n", "lung_scc")
SIDE = 768
LIST = (
    "https://raw.githubusercontent.com/GeorgeBatch/LC25000-clean/"
    f"912f342fe2a781e847f395d79982dad4d3d425ae/kaggle/{GROUPS}"
)


class Lc25000(Task):
    """`tissue` of every file; groups are source tiles, or files where their list is not there."""

    source = "lc25000"
    splits = folds(5)
    distribution = Distribution(
        folders=("lc25000", "LC25000", "lung_colon_image_set"),
        layout=(
            *(f"**/{name}/*.jp*g" for name in CLASSES),
            f"{GROUPS}|**/colon_n/*.jp*g",  # not in every copy: matched where it is there
        ),
        downloads=(
            kaggle("andrewmvd/lung-and-colon-cancer-histopathological-images"),
            Download(LIST),
        ),
        apply=(
            "Get LC25000.zip as https://github.com/tampapath/lung_colon_image_set says, unpack it "
            "into <data-dir>/lc25000/ and put kaggle/lc25000_image_groups.csv of "
            "https://github.com/GeorgeBatch/LC25000-clean beside lung_colon_image_set/."
        ),
    )

    @cached_property
    def _groups(self) -> dict[str, str]:
        path = self.folder / GROUPS
        if not path.is_file():
            return {}
        return {
            row["filename"]: row["group_id"] for row in read_csv(path, ["filename", "group_id"])
        }

    def _group(self, path: Path) -> str:
        if not self._groups:
            return path.stem
        if path.name not in self._groups:
            raise DatasetError(f"{self.folder / GROUPS} does not list {path}: {AGAIN}")
        return f"tile{self._groups[path.name]}"

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for name in CLASSES:
            for path in sorted(matches(self.folder, f"**/{name}/*.jp*g")):
                group = self._group(path)
                if fold_of(group, len(self.splits)) == split:
                    label = self.label("tissue", name, path.parent)
                    yield {"id": path.stem, "group": group, "tissue": label, "_file": path}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        stored = placed_image(row["_file"], self.folder)
        if (stored["height"], stored["width"]) != (SIDE, SIDE):
            raise DatasetError(
                f"{row['_file']} has {stored['height']} x {stored['width']} pixels, not {SIDE} x "
                f"{SIDE}: {AGAIN}"
            )
        return {"input": stored}

    def materialise(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        return opened_image(stored, self.folder)
