"""Triangle meshes in Wavefront OBJ text, and points drawn evenly from their surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError

Floats = NDArray[np.float64]


def read_triangles(text: str, name: str = "mesh") -> Floats:
    """Triangles (F, 3, 3) of an OBJ file: polygons as fans, faces of no area and copies left out.

    Only `v` and `f` statements matter here; indices count from 1, negative ones from the last
    vertex read so far. A face that is drawn twice (once for each side) counts once, or it would
    draw twice the points. Format: http://paulbourke.net/dataformats/obj/

    Raises:
        DatasetError: a face names a vertex that does not exist, or no face has an area.
    """
    vertices: list[tuple[float, float, float]] = []
    corners: list[tuple[int, int, int]] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4 and fields[0] == "v":
            vertices.append((float(fields[1]), float(fields[2]), float(fields[3])))
        elif len(fields) >= 4 and fields[0] == "f":
            face = [int(field.split("/")[0]) for field in fields[1:]]
            face = [i - 1 if i > 0 else len(vertices) + i for i in face]
            corners.extend((face[0], face[k], face[k + 1]) for k in range(1, len(face) - 1))
    index = np.asarray(corners, np.int64).reshape(-1, 3)
    points = np.asarray(vertices, np.float64).reshape(-1, 3)
    if len(index) and (index.min() < 0 or index.max() >= len(points)):
        raise DatasetError(f"{name}: a face names a vertex that does not exist; get the file anew")
    triangles = points[_distinct(points, index)]
    triangles = triangles[triangle_areas(triangles) > 0]
    if not len(triangles):
        raise DatasetError(f"{name}: no face has an area; get the file anew")
    return triangles


def _distinct(points: Floats, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Faces (F, 3) without repeats; vertices at one place are one vertex."""
    if not len(index):
        return index
    _, place = np.unique(points, axis=0, return_inverse=True)
    key = np.sort(place.reshape(-1)[index], axis=1)
    _, first = np.unique(key, axis=0, return_index=True)
    return index[np.sort(first)]


def triangle_areas(triangles: Floats) -> Floats:
    """Areas (F,) of triangles (F, 3, 3)."""
    edges = triangles[:, 1:] - triangles[:, :1]
    areas: Floats = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) / 2
    return areas


def sample_surface(triangles: Floats, count: int, rng: np.random.Generator) -> Floats:
    """`count` points (count, 3), uniform over the area of triangles (F, 3, 3).

    Osada, Funkhouser, Chazelle, Dobkin, Shape distributions, ACM TOG 21(4), 2002, equation 1;
    triangles are drawn by stratified inversion of the cumulative area, so that each gets its
    share of points to within one.
    """
    cumulative = np.cumsum(triangle_areas(triangles))
    strata = (np.arange(count) + rng.random(count)) / count * cumulative[-1]
    chosen = np.searchsorted(cumulative, strata, side="right").clip(max=len(triangles) - 1)
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    a, b, c = (triangles[chosen, k] for k in range(3))
    points: Floats = (1 - root) * a + root * (1 - along) * b + root * along * c
    return points


def unit_sphere(points: Floats) -> Floats:
    """Points (N, 3) moved and scaled: bounding-box centre at 0, the farthest at distance 1."""
    centred = points - (points.min(0) + points.max(0)) / 2
    scaled: Floats = centred / max(float(np.linalg.norm(centred, axis=1).max()), 1e-12)
    return scaled
