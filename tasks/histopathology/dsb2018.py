"""Nuclei in stained tissue of the 2018 Data Science Bowl (BBBC038v1).

Caicedo et al. 2019, Nature Methods 16, 1247. Layout of https://bbbc.broadinstitute.org/BBBC038:
`stage1_train/<id>/images/<id>.png` and one image per nucleus in `stage1_train/<id>/masks/*.png`,
nonzero inside the nucleus. Only colour images belong to these tasks: those of stained tissue and
smears. Grey ones (fluorescence, transmitted light) are no histopathology. The test images were
published without masks; how the folds are made is told in `fold_of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.task import Task, folds
from tasks.histopathology.dealt_folds import fold_of
from tasks.histopathology.image_files import pictures, read_image, read_mask

PART = "stage1_train"
COLOUR = 3.0  # mean difference of an image's channels; grey images have 0, stained ones 12 and more


def is_stained(image: NDArray[np.uint8]) -> bool:
    """Whether an image (H, W, 3) is in colour."""
    wide = image.astype(np.int16)
    return float((wide.max(2) - wide.min(2)).mean()) > COLOUR


class Dsb2018(Task):
    """One example per colour image.

    `nuclei` (H, W): 1 inside a nucleus; `count`: nuclei per 10,000 pixels; `density`: the share of
    pixels inside nuclei.
    """

    source = "dsb2018"
    splits = folds(5)
    distribution = Distribution(
        folders=("dsb2018", "data-science-bowl-2018", "BBBC038", "BBBC038v1"),
        layout=(f"{PART}/*/images/*.png", f"{PART}/*/masks/*.png"),
        downloads=(
            Download(
                "https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
                name="stage1_train.zip",
                into=PART,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for folder in sorted((self.folder / PART).iterdir()):
            if not folder.is_dir() or folder.name.startswith((".", "__")):
                continue
            if fold_of(folder.name, len(self.splits)) == split:
                yield {"id": folder.name, "group": folder.name, "_folder": folder}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        folder: Path = row["_folder"]
        image = read_image(folder / "images" / f"{folder.name}.png")
        if not is_stained(image):
            return
        masks = pictures(folder / "masks", [".png"])
        if not masks:
            raise DatasetError(f"{folder / 'masks'} holds no mask: get the dataset again")
        nuclei = np.zeros(image.shape[:2], np.uint8)
        for path in masks:
            mask = read_mask(path, image.shape[:2]) > 0
            if not mask.any():
                raise DatasetError(f"{path} marks no nucleus: get the file again, unchanged")
            nuclei[mask] = 1
        yield {
            "id": row["id"],
            "group": row["group"],
            "input": {"image": image},
            "nuclei": nuclei,
            "count": len(masks) / nuclei.size * 1e4,
            "density": float(nuclei.mean()),
        }
