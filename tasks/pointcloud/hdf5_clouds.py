"""Point clouds in HDF5 files, many shapes to a file, read block by block.

The files are `data` (N, P, 3) and one array per kind of label, with chunks that span many shapes:
a shape at a time would be decompressed hundreds of times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading

BLOCK = 256  # shapes read together


def labels_of(path: Path, key: str = "label") -> NDArray[np.int64]:
    """The class index of every shape in a file, (N,); `label` is stored as (N,) or (N, 1).

    Raises:
        DatasetError: the file is missing or damaged, or it has not one whole number per shape.
    """
    import h5py

    with reading(path), h5py.File(path) as file:
        _check_keys(path, file, ("data", key))
        labels = np.asarray(file[key][()])
        shapes = len(file["data"])
    if labels.size != shapes or labels.dtype.kind not in "iuf" or (labels % 1 != 0).any():
        raise DatasetError(
            f"{path}: {key!r} has shape {labels.shape} of {labels.dtype}, expected one class index "
            f"for each of the {shapes} shapes in 'data': get the file again, unchanged"
        )
    return labels.reshape(-1).astype(np.int64)


def spans(count: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of the blocks of `count` shapes."""
    return ((start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def read_block(path: Path, start: int, stop: int, *more: str) -> tuple[NDArray[Any], ...]:
    """Points (n, P, 3) float32 of shapes `start` to `stop` and the same rows of other arrays.

    Raises:
        DatasetError: missing or damaged file, no such array, points that are not x, y, z, NaN.
    """
    import h5py

    with reading(path), h5py.File(path) as file:
        _check_keys(path, file, ("data", *more))
        points, *others = (np.asarray(file[key][start:stop]) for key in ("data", *more))
    if points.ndim != 3 or points.shape[2] != 3 or points.shape[1] == 0:
        raise DatasetError(
            f"{path}: 'data' has shape (N, {', '.join(map(str, points.shape[1:]))}), expected "
            "(N, points, 3) with x, y, z: get the file again, unchanged"
        )
    return check_finite(points.astype(np.float32), path), *others


def check_finite(points: NDArray[np.float32], path: Path) -> NDArray[np.float32]:
    """`points` unless one is NaN or infinite.

    Raises:
        DatasetError: one is; names the file.
    """
    if not np.isfinite(points).all():
        raise DatasetError(f"{path} holds NaN or infinite coordinates: get the file again")
    return points


def _check_keys(path: Path, file: Any, keys: tuple[str, ...]) -> None:
    lacking = [key for key in keys if key not in file]
    if lacking:
        raise DatasetError(
            f"{path} has no array {', '.join(map(repr, lacking))} (it has "
            f"{', '.join(sorted(file)) or 'none'}): get the file again, unchanged"
        )
