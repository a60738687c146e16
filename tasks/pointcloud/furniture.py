"""Shape classification of furniture and household objects (embedded; see the two cards).

`data/furniture.npz` holds `points` (M, 1024, 3) int16, evenly over each model's surface, y up, in
units of 1/32767 of the bounding sphere's radius; `data/furniture.csv` describes the M models in
the same order. Both are made by `data/build_furniture.py`.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.task import Task

DATA = Path(__file__).parent / "data"


def turn_about_vertical(points: NDArray[np.float32], angle: float) -> NDArray[np.float32]:
    """Points (N, 3) turned by `angle` radians about the y axis."""
    c, s = np.cos(angle), np.sin(angle)
    turned: NDArray[np.float32] = points @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]], np.float32)
    return turned


class Furniture(Task):
    """20 classes, every class split by model families."""

    source: ClassVar[str] = "furniture20"
    split_column: ClassVar[str] = "split"

    def files(self) -> list[Path]:
        paths = [DATA / "furniture.csv", DATA / "furniture.npz"]
        for path in paths:
            if not path.is_file():
                raise DatasetError(f"{self.card.name}: {path} is missing; reinstall ssl-bench")
        return paths

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        table, archive = self.files()
        with table.open(encoding="utf-8", newline="") as stream:
            models = list(csv.DictReader(stream))
        with np.load(archive, allow_pickle=False) as arrays:
            stored = arrays["points"]
        if len(stored) != len(models):
            raise DatasetError(
                f"{self.card.name}: {table} lists {len(models)} models and {archive} holds "
                f"{len(stored)}; reinstall ssl-bench"
            )
        # models face +z; the drawn heading keeps encoders from reading the class off the pose
        index = {name: i for i, name in enumerate(self.card.target.classes)}
        for model, points in zip(models, stored, strict=True):
            if model[self.split_column] != split:
                continue
            seed = zlib.crc32(f"{model['model']}/heading".encode())
            heading = float(np.random.default_rng(seed).uniform(0, 2 * np.pi))
            yield {
                "id": model["model"].removesuffix(".obj"),
                "group": model["group"],
                "input": {"points": turn_about_vertical(points / np.float32(32767), heading)},
                "class": index[model["class"]],
            }


class FurnitureTransfer(Furniture):
    """10 classes; the test models come from a library that training never sees."""

    source: ClassVar[str] = "furniture-transfer"
    split_column: ClassVar[str] = "transfer_split"
