"""PatchCamelyon: tumour in tiles of lymph nodes.

Veeling et al. 2018, arXiv:1806.03962. Layout of https://zenodo.org/records/2546921 (and of
torchvision): `camelyonpatch_level_2_split_{train,valid,test}_x.h5` with `x` (N, 96, 96, 3) uint8,
`.._y.h5` with `y` (N, 1, 1, 1) of 0 and 1, each also as published, `.h5.gz`; and `.._meta.csv`,
whose column `wsi` is the slide of each tile; without it every tile is a group of its own. 10x, some
0.97 micrometres per pixel.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import read_csv, reading
from benchmark.paths import cache_root, explained, replacing
from benchmark.task import SPLITS, Task
from tasks.histopathology.image_files import AGAIN

PARTS = {"train": "train", "validation": "valid", "test": "test"}
BLOCK = 256  # tiles that are read together
MPP = 0.972  # 4 x 0.243
MD5 = {  # of the archives, where the publication and torchvision agree
    "train_x": "1571f514728f59376b705fc836ff4b63",
    "train_y": "35c2d7259d906cfc8143347bb8e05be7",
}


def _stem(part: str, what: str) -> str:
    return f"camelyonpatch_level_2_split_{part}_{what}"


class PatchCamelyon(Task):
    """`tumour`: whether the central 32 x 32 pixels hold tumour.

    Groups are slides where the meta files are there, else tiles.
    """

    source = "patch-camelyon"
    splits = SPLITS
    distribution = Distribution(
        folders=("patch-camelyon", "pcam", "patchcamelyon", "pcamv1"),
        layout=(
            *(f"{_stem(p, w)}.h5|{_stem(p, w)}.h5.gz" for p in PARTS.values() for w in "xy"),
            # not in every copy: matched where it is there
            *(f"{_stem(p, 'meta')}.csv|{_stem(p, 'y')}.h5*" for p in PARTS.values()),
        ),
        downloads=(
            *(
                Download(
                    f"https://zenodo.org/records/2546921/files/{_stem(p, w)}.h5.gz",
                    md5=MD5.get(f"{p}_{w}", ""),
                )
                for p in PARTS.values()
                for w in "xy"
            ),
            *(
                Download(f"https://zenodo.org/records/2546921/files/{_stem(p, 'meta')}.csv")
                for p in PARTS.values()
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        """Blocks of tiles, see `expand`."""
        import h5py

        part = PARTS[split]
        x, y = (unpacked(self.folder / f"{_stem(part, w)}.h5") for w in "xy")
        with reading(x, AGAIN), h5py.File(x) as file:
            shape, kind = file["x"].shape, file["x"].dtype
        with reading(y, AGAIN), h5py.File(y) as file:
            labels = np.asarray(file["y"]).reshape(-1)
        meta = self.folder / f"{_stem(part, 'meta')}.csv"
        slides = [f"{part}-{i}" for i in range(shape[0])]
        if meta.is_file():
            slides = [row["wsi"] for row in read_csv(meta, ["wsi"])]
        if shape[1:] != (96, 96, 3) or kind != np.uint8:
            raise DatasetError(f"{x}: x is {kind} {shape}, not uint8 (N, 96, 96, 3): {AGAIN}")
        if not len(labels) == len(slides) == shape[0]:
            raise DatasetError(
                f"{x} has {shape[0]} tiles, {y} {len(labels)} labels and {meta} {len(slides)} "
                f"rows: {AGAIN}"
            )
        if not np.isin(labels, (0, 1)).all():
            raise DatasetError(f"{y}: labels other than 0 and 1: {AGAIN}")
        for start in range(0, shape[0], BLOCK):
            block = slice(start, start + BLOCK)
            yield {
                "id": f"{part}-{start}",
                "group": slides[start],
                "_tiles": (x, start, labels[block].tolist(), slides[block]),
            }

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        import h5py

        path, start, labels, slides = row["_tiles"]
        part = row["id"].partition("-")[0]
        with reading(path, AGAIN), h5py.File(path) as file:
            tiles = np.asarray(file["x"][start : start + len(labels)])
        for i, (tile, label, slide) in enumerate(zip(tiles, labels, slides, strict=True), start):
            yield {
                "id": f"{part}-{i}",
                "group": slide,
                "tumour": int(label),
                "input": {"image": tile, "mpp": MPP},
            }


def unpacked(path: Path) -> Path:
    """An HDF5 file, or a copy in the cache of its `.gz`, made when it is first asked for.

    Raises:
        DatasetError: the archive is damaged.
    """
    packed = path.with_name(f"{path.name}.gz")
    if path.is_file() or not packed.is_file():
        return path
    stat = packed.stat()
    identity = hashlib.sha256(f"{packed} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    copy = cache_root() / "unpacked" / f"{identity[:16]}-{path.name}"
    if not copy.is_file():
        with explained(copy.parent):
            copy.parent.mkdir(parents=True, exist_ok=True)
        with (
            reading(packed, AGAIN),
            replacing(copy) as scratch,
            gzip.open(packed) as source,
            scratch.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    return copy
