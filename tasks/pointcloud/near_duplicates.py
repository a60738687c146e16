"""Which shapes are one shape: Chamfer distances measured in units of sampling noise.

Two samplings of one surface are never equal, so the distance between two models is divided by the
distance between two independent samplings of each model itself: a ratio near 1 means that the
models cannot be told apart at this number of points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
HOPELESS = 2.2  # one-sided distance of a probe, in units of noise, that ends a comparison
PROBE = 128


def chamfer(a: Floats, b: Floats) -> float:
    """Mean nearest-neighbour distance between point sets (N, 3) and (M, 3), both ways averaged."""
    there, back = cKDTree(a).query(b)[0].mean(), cKDTree(b).query(a)[0].mean()
    return float(there + back) / 2


def quarter_turns(points: Floats) -> Iterator[Floats]:
    """Points (N, 3) under the four quarter turns about y, each also mirrored."""
    for _ in range(4):
        yield points
        yield points * np.array([-1.0, 1.0, 1.0])
        points = np.stack([points[:, 2], points[:, 1], -points[:, 0]], 1)


def noise_ratios(
    first: Sequence[Floats], second: Sequence[Floats], labels: Sequence[str]
) -> Iterator[tuple[float, int, int]]:
    """(ratio, i, j) of every pair of equally labelled shapes that are not far apart.

    `first` and `second` are independent samplings (N, 3) of the same shapes, already moved and
    scaled to a common box. The ratio is the Chamfer distance of the best of eight poses over the
    geometric mean of both shapes' own resampling distance.
    """
    noise = np.array([chamfer(a, b) for a, b in zip(first, second, strict=True)])
    trees = [cKDTree(points) for points in first]
    for i in range(len(first)):
        for j in range(i):
            if labels[i] != labels[j]:
                continue
            unit = float(np.sqrt(noise[i] * noise[j]))
            poses = quarter_turns(first[j])
            near = (p for p in poses if trees[i].query(p[:PROBE])[0].mean() < HOPELESS * unit)
            ratios = [chamfer(first[i], pose) / unit for pose in near]
            if ratios:
                yield min(ratios), i, j


def components(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """Connected components of 0..count-1: for each, the smallest member of its component."""
    parent = list(range(count))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for i, j in links:
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    return [root(x) for x in range(count)]
