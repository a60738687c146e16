"""BCSS: tissues of breast cancer, outlined.

Amgad et al. 2019, Bioinformatics 35, 3461. Layout of https://github.com/PathologyDataScience/BCSS:
regions of slides in `rgbs_colorNormalized/*.png` or `images/*.png` and their masks of the same
names in `masks/`, `TCGA-<institute>-<patient>-<slide>_xmin<x>_ymin<y>_MPP-0.2500.png`. A mask holds
the codes of `meta/gtruth_codes.tsv`; 0 stands for outside the region, which is not scored. The test
institutes are those that the dataset's authors propose; they, the validation institutes and the
five groups of classes as in kaiko-ai/eva (src/eva/vision/data/datasets/segmentation/bcss.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.task import SPLITS, Task
from tasks.histopathology.image_files import AGAIN, pictures, read_image, read_mask

INSTITUTES = {
    **dict.fromkeys(("BH", "C8", "A8", "A1", "E9"), "validation"),
    **dict.fromkeys(("OL", "LL", "E2", "EW", "GM", "S3"), "test"),
}
NAME = re.compile(r"(TCGA-(\w+)-\w+)-.*_MPP-(\d*\.?\d+)")
SIDE, MPP = 224, 0.5  # of the tiles that regions are cut to
IGNORED = 255
# code of the mask -> index of the class: tumor, stroma, inflammatory, necrosis, other
GROUPS = np.full(256, IGNORED, np.uint8)
GROUPS[1:22] = 4
GROUPS[[1, 19, 20]] = 0
GROUPS[2] = 1
GROUPS[[3, 10, 11]] = 2
GROUPS[4] = 3
CODES = 22


class Bcss(Task):
    """One example per tile of 224 x 224 pixels at 0.5 micrometres; `tissue` (H, W) is its mask."""

    source = "bcss"
    splits = SPLITS
    distribution = Distribution(
        folders=("bcss", "BCSS", "0_Public-data-Amgad2019_0.25MPP"),
        layout=("masks/*.png", "rgbs_colorNormalized/*.png|images/*.png"),
        apply=(
            "Download the folder 0_Public-data-Amgad2019_0.25MPP (CC0) at https://drive.google.com/"
            "drive/folders/1zqbdkQF8i5cEmZOGmbdQm-EP8dRYtvss (the link of "
            "https://github.com/PathologyDataScience/BCSS) and put its masks/ and "
            "rgbs_colorNormalized/ into <data-dir>/bcss/."
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        """Regions, see `expand`."""
        folder = self.folder / "rgbs_colorNormalized"
        folder = folder if folder.is_dir() else self.folder / "images"
        images = {path.name: path for path in pictures(folder, [".png"])}
        masks = {path.name: path for path in pictures(self.folder / "masks", [".png"])}
        for alone in sorted(images.keys() ^ masks.keys()):
            with self.collecting():
                have, lack = ("masks", folder.name) if alone in masks else (folder.name, "masks")
                raise DatasetError(
                    f"{self.folder / lack / alone} is missing, {have}/{alone} is there: get the "
                    "set again"
                )
        for name in sorted(images.keys() & masks.keys()):
            path = images[name]
            with self.collecting():
                parts = NAME.match(name)
                if parts is None:
                    raise DatasetError(
                        f"{path}: regions are named TCGA-A1-A0SK-DX1_xmin.._ymin.._MPP-0.2500.png: "
                        f"{AGAIN}"
                    )
                if INSTITUTES.get(parts[2], "train") == split:
                    yield {
                        "id": path.stem,
                        "group": parts[1],
                        "_image": path,
                        "_mask": masks[name],
                        "_mpp": float(parts[3]),
                    }

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        from PIL import Image

        pixels = read_image(row["_image"])
        height, width = pixels.shape[:2]
        codes = read_mask(row["_mask"], (height, width))
        if codes.max() >= CODES:
            raise DatasetError(f"{row['_mask']} holds {codes.max()}; codes are 0 to 21: {AGAIN}")
        span = round(SIDE * MPP / row["_mpp"])
        for top in range(0, height, span):
            for left in range(0, width, span):
                part = np.s_[top : top + span, left : left + span]
                missing = span - codes[part].shape[0], span - codes[part].shape[1]
                edge = (0, missing[0]), (0, missing[1])
                mask = np.pad(GROUPS[codes[part]], edge, constant_values=IGNORED)
                if (mask == IGNORED).all():
                    continue
                image = Image.fromarray(np.pad(pixels[part], (*edge, (0, 0)), constant_values=255))
                image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
                mask = np.asarray(
                    Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST)
                )
                yield {
                    "id": f"{row['id']}-{top:05d}-{left:05d}",
                    "group": row["group"],
                    "input": {"image": np.asarray(image), "mpp": MPP},
                    "tissue": mask,
                }
