"""Shapes of galaxies in colour images of the DESI Legacy Imaging Surveys (Galaxy10 DECaLS).

Layout: `Galaxy10_DECals.h5` with `images` (N, 256, 256, 3) uint8 in the bands g, r, z, `ans` (N,)
class number, `ra`, `dec` (N,) degrees, `redshift` and `pxscale` (N,). N is 17,736. Source:
https://github.com/henrysky/Galaxy10 and https://zenodo.org/records/10845026. The set comes without
a split; how the folds are made is told in `deal_folds`. Galaxies that are in it more than once
(positions within 2 arcseconds) are one group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task, folds
from tasks.astronomy.dealt_folds import deal_folds
from tasks.astronomy.sky_positions import objects_at

FILE = "Galaxy10_DECals.h5"
COLUMNS = ("images", "ans", "ra", "dec")
SHAPE = (256, 256, 3)
BLOCK = 256  # images, 50 MB
SAME_OBJECT = 2.0  # arcsec, some 8 pixels


class Galaxy10Decals(Task):
    """One example per image: `image` (256, 256, 3) uint8."""

    source: ClassVar[str] = "galaxy10-decals"
    splits = folds(5)
    distribution = Distribution(
        folders=("galaxy10-decals", "galaxy10", "Galaxy10_DECals"),
        layout=(FILE,),
        downloads=(
            Download(
                url=f"https://zenodo.org/records/10845026/files/{FILE}",
                name=FILE,
                md5="c6b7b4db82b3a5d63d6a7e3e5249b51c",
                sha256="19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571",
            ),
        ),
    )

    @cached_property
    def _file(self) -> Path:
        return self.path(FILE)

    @cached_property
    def _listing(self) -> list[dict[str, Any]]:
        """Labels and positions; the images are not read."""
        import h5py

        path = self._file
        with reading(path), h5py.File(path) as file:
            lacking = [name for name in COLUMNS if name not in file]
            shapes = {name: file[name].shape for name in COLUMNS if name in file}
            columns = {name: np.asarray(file[name]) for name in set(COLUMNS[1:]) & set(shapes)}
        if lacking:
            raise DatasetError(f"{path} has no {', '.join(lacking)}: get the file again, unchanged")
        if shapes["images"][1:] != SHAPE or len({shape[0] for shape in shapes.values()}) > 1:
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise DatasetError(
                f"{path} holds {told}; images have to be (N, 256, 256, 3), the others (N,): "
                "get the file again, unchanged"
            )
        if not (np.isfinite(columns["ra"]).all() and np.isfinite(columns["dec"]).all()):
            raise DatasetError(f"{path} holds NaN in ra or dec: get the file again")
        groups = objects_at(columns["ra"], columns["dec"], SAME_OBJECT)
        answers = columns["ans"].astype(int).tolist()
        held = deal_folds(zip(groups, map(str, answers), strict=True), len(self.splits))
        return [
            {"id": str(i), "group": group, "shape": answer, "_fold": f"fold-{held[group]}"}
            for i, (group, answer) in enumerate(zip(groups, answers, strict=True))
        ]

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        known = len(self.classes("shape"))
        for row in self._listing:
            if not 0 <= row["shape"] < known:
                raise DatasetError(
                    f"{self._file}: the label {row['shape']} of image {row['id']} is not one "
                    f"of 0 to {known - 1}: get the file again, unchanged"
                )
            if row["_fold"] == split:
                yield row

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        index = int(row["id"])
        begin, images = _block(self._file, index // BLOCK * BLOCK, self._file.stat().st_mtime_ns)
        return {"input": {"image": images[index - begin]}}


@lru_cache(maxsize=2)
def _block(path: Path, begin: int, changed: int) -> tuple[int, NDArray[np.uint8]]:
    """`BLOCK` images from one on. A compressed chunk of the file holds a part of many images, so
    that reading them one by one would decompress each chunk a hundred times."""
    import h5py

    with reading(path), h5py.File(path) as file:
        return begin, np.asarray(file["images"][begin : begin + BLOCK], np.uint8)
