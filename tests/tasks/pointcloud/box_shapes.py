"""Shapes for tests: boxes whose proportions belong to their class."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
FACES = ["0 1 3 2", "4 6 7 5", "0 4 5 1", "2 3 7 6", "0 2 6 4", "1 5 7 3"]


def sides_of(name: str, shape: str) -> tuple[float, float, float]:
    """Lengths in x, y, z of a shape of class `name`; shapes of a class differ a little."""
    own = np.random.default_rng(zlib.crc32(name.encode())).uniform(0.1, 1, 3)
    x, y, z = own * np.random.default_rng(zlib.crc32(shape.encode())).uniform(0.97, 1.03, 3)
    return float(x), float(y), float(z)


def cloud_of(name: str, shape: str, points: int) -> NDArray[np.float32]:
    """(points, 3) float32 in the box."""
    rng = np.random.default_rng(zlib.crc32(shape.encode()) + 1)
    return (rng.uniform(-0.5, 0.5, (points, 3)) * sides_of(name, shape)).astype(np.float32)


def box(x: float, y: float, z: float, joined: bool = False) -> str:
    """An OFF mesh of quadrangles; `joined`: the counts follow the keyword without a break."""
    head = "OFF" if joined else "OFF\n"
    vertices = [" ".join(map(repr, map(float, corner * (x, y, z)))) for corner in CORNERS]
    return "\n".join([f"{head}8 6 0", *vertices, *(f"4 {face}" for face in FACES)]) + "\n"
