"""Chula RBC-12: red blood cells of twelve types in photographs of blood smears.

Naruenatthanaset et al. 2021, arXiv:2012.01321. Layout of
https://github.com/Chula-PIC-Lab/Chula-RBC-12-Dataset: fields of 640 x 480 pixels in
`Dataset/N.jpg`, and `Label/N.txt` with a line `x y type` per cell (centre in pixels; type 0 to 12,
10 stands for uncategorised). There is no official split and no patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task, folds
from tasks.histopathology.image_files import AGAIN, pictures, read_image

SIZE = (480, 640)
CROP = 64  # pixels; cells are some 40 wide
BLOCK = 25  # images with neighbouring numbers, which may show one smear
UNCATEGORISED = 10
TYPES = (
    "normal-cell", "macrocyte", "microcyte", "spherocyte", "target-cell", "stomatocyte",
    "ovalocyte", "teardrop", "burr-cell", "schistocyte", "", "hypochromia", "elliptocyte",
)  # fmt: skip
Cell = tuple[int, int, int]


def read_cells(path: Path) -> list[Cell]:
    """x, y and type of every cell of a label file.

    Raises:
        DatasetError: a line that is not `x y type`, a place outside the field, an unknown type.
    """
    with reading(path, AGAIN):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    cells = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 3 or not all(part.isdecimal() for part in parts):
            raise DatasetError(f"{path}: line {number}, {line!r}, is not `x y type`: {AGAIN}")
        x, y, kind = map(int, parts)
        if x > SIZE[1] or y > SIZE[0] or kind >= len(TYPES):
            raise DatasetError(
                f"{path}: line {number}, {line!r}: x is 0 to {SIZE[1]}, y 0 to {SIZE[0]}, the type "
                f"0 to {len(TYPES) - 1}: {AGAIN}"
            )
        cells.append((x, y, kind))
    return cells


def crops(field: NDArray[np.uint8], cells: Sequence[Cell]) -> Iterator[NDArray[np.uint8]]:
    """The (CROP, CROP, 3) pixels around every cell; beyond the edge the field is mirrored."""
    half = CROP // 2
    wide = np.pad(field, ((half, half), (half, half), (0, 0)), mode="symmetric")
    for x, y, _ in cells:
        yield np.ascontiguousarray(wide[y : y + CROP, x : x + CROP])


class ChulaRbc12(Task):
    """One example per labelled cell; every field is a `bag` of its cells.

    `type` is the cell's type (None for uncategorised ones), `target_cell` and `schistocyte` say
    whether its field holds a cell of that type.
    """

    source = "chula-rbc-12"
    splits = folds(5)
    distribution = Distribution(
        folders=("chula-rbc-12", "Chula-RBC-12-Dataset", "Chula-RBC-12-Dataset-main"),
        layout=("Label/*.txt", "Dataset/*"),
        downloads=(
            Download(
                "https://github.com/Chula-PIC-Lab/Chula-RBC-12-Dataset/archive/refs/heads/main.zip",
                name="Chula-RBC-12-Dataset-main.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        images = {path.stem: path for path in pictures(self.folder / "Dataset")}
        labels = list(matches(self.folder, "Label/*.txt"))
        for path in labels:
            if not path.stem.isdecimal():
                raise DatasetError(f"{path}: label files are named by numbers: {AGAIN}")
        for path in sorted(labels, key=lambda path: int(path.stem)):
            with self.collecting():
                block = (int(path.stem) - 1) // BLOCK
                if self.splits[block % len(self.splits)] != split:
                    continue
                if path.stem not in images:
                    raise DatasetError(
                        f"{self.folder / 'Dataset' / path.stem}.jpg is missing, {path} is there: "
                        "get the dataset again"
                    )
                cells = read_cells(path)
                kinds = {kind for _, _, kind in cells}
                yield {
                    "id": path.stem,
                    "group": f"block{block:02d}",
                    "target_cell": int(TYPES.index("target-cell") in kinds),
                    "schistocyte": int(TYPES.index("schistocyte") in kinds),
                    "_image": images[path.stem],
                    "_cells": cells,
                }

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        field = read_image(row["_image"], SIZE)
        light = {key: value for key, value in row.items() if not key.startswith("_")}
        cells = row["_cells"]
        for number, (image, (_, _, kind)) in enumerate(
            zip(crops(field, cells), cells, strict=True)
        ):
            known = kind != UNCATEGORISED
            yield {
                **light,
                "id": f"{row['id']}-{number:03d}",
                "bag": f"field{row['id']}",
                "type": self.label("type", TYPES[kind], row["_image"]) if known else None,
                "input": {"image": image},
            }
