"""Triangle meshes in the Object File Format (OFF).

`OFF`, then the numbers of vertices, faces and edges, then a line x y z per vertex and a line
n i1 ... in per face. Comments begin with `#`. In many files of ModelNet40 the counts stand on the
first line, right behind the keyword: `OFF490 518 0`. The format is Geomview's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from tasks.pointcloud.wavefront import triangle_areas

Floats = NDArray[np.float64]


def read_off(text: str, name: str) -> Floats:
    """Triangles (F, 3, 3) that have an area; polygons are cut into fans.

    Raises:
        DatasetError: no OFF file, fewer lines than it announces, a face with a vertex that does not
            exist, coordinates that are no finite numbers, or no face with an area.
    """
    lines = [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]
    head = re.match(r"(?:ST)?C?N?OFF\b|OFF(?=\d)", lines[0]) if lines else None
    if head is None:
        raise DatasetError(f"{name} does not begin with OFF: get the file again")
    rest = lines[0][head.end() :].strip()
    lines = [rest, *lines[1:]] if rest else lines[1:]
    try:
        vertices, faces = (int(count) for count in lines[0].split()[:2])
        body = lines[1 : 1 + vertices + faces]
        if len(body) < vertices + faces:
            raise DatasetError(
                f"{name} announces {vertices} vertices and {faces} faces but has only {len(body)} "
                "lines of them: get the file again"
            )
        points = _positions(body[:vertices])
        corners = _fans(body[vertices:])
    except (ValueError, IndexError) as error:
        raise DatasetError(f"{name} is no sound OFF file ({error}): get the file again") from None
    if len(corners) and (corners.min() < 0 or corners.max() >= len(points)):
        raise DatasetError(f"{name}: a face names a vertex that does not exist: get the file again")
    if not np.isfinite(points).all():
        raise DatasetError(f"{name} holds NaN or infinite coordinates: get the file again")
    triangles = points[corners]
    triangles = triangles[triangle_areas(triangles) > 0]
    if not len(triangles):
        raise DatasetError(f"{name}: no face has an area: get the file again")
    return triangles


def _positions(lines: Sequence[str]) -> Floats:
    """The first three numbers of every line, (n, 3); colours and normals may follow."""
    rows = [line.split()[:3] for line in lines]
    if any(len(row) < 3 for row in rows):
        raise ValueError("a vertex has fewer than 3 coordinates")
    return np.array(rows, dtype=str).astype(np.float64).reshape(-1, 3)


def _fans(lines: Sequence[str]) -> NDArray[np.int64]:
    """Triangles (F, 3) of vertex indices."""
    triangles: list[tuple[int, int, int]] = []
    for line in lines:
        fields = line.split()
        size = int(fields[0])
        face = [int(field) for field in fields[1 : 1 + size]]
        if len(face) < size:
            raise ValueError(f"a face of {size} vertices names {len(face)}")
        triangles.extend((face[0], face[k], face[k + 1]) for k in range(1, size - 1))
    return np.asarray(triangles, np.int64).reshape(-1, 3)
