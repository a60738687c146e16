"""Nerves and vessels in ultrasound of regional anaesthesia (USGRA-Seg).

Layout: `images/*.png` with `masks/*.png` of the same names for training, `test/images/*.png` with
`test/masks/*.png`: the official 40 test images. Images are grey or RGB; masks are index-coloured:
0 background, 1 nerve, 2 vessel. There is no index file and no name of a patient. The set is the
folder `dataset/` of https://github.com/tmkand/usgra-seg.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.task import Task
from tasks.echo.video_files import class_mask, grey_still

COMMIT = "66dc77df2a64c7d372d1e783648644561bc693c5"


class UsgraSeg(Task):
    """One example per image, a clip of one frame; `tissue` (H, W) is its mask."""

    source: ClassVar[str] = "usgra-seg"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("usgra-seg", "USGRA-Seg", "USGRA"),
        layout=("images/*.png", "masks/*.png", "test/images/*.png", "test/masks/*.png"),
        downloads=(
            Download(
                f"https://github.com/tmkand/usgra-seg/archive/{COMMIT}.zip",
                name="usgra-seg.zip",
                strip=2,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder = self.folder / "test" if split == "test" else self.folder
        images, masks = _pictures(folder / "images"), _pictures(folder / "masks")
        for alone in sorted(images.keys() ^ masks.keys()):
            with self.collecting():
                have, lack = ("masks", "images") if alone in masks else ("images", "masks")
                raise DatasetError(
                    f"{folder / lack / alone} is missing, {have}/{alone} is there: get the set "
                    "again"
                )
        for name in sorted(images.keys() & masks.keys()):
            title = Path(name).stem
            yield {"id": title, "group": title, "_image": images[name], "_mask": masks[name]}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        still = grey_still(row["_image"])
        _, height, width = still["video"].shape
        mask = class_mask(row["_mask"], len(self.classes("tissue")), (height, width))
        return {"input": still, "tissue": mask}


def _pictures(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.glob("*.png") if not path.name.startswith(".")}
