"""Point clouds as text, one point a line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading


def read_table(
    path: Path, columns: dict[int, str], delimiter: str | None = None
) -> NDArray[np.float32]:
    """The numbers of a text file, (points, columns), all finite; without a delimiter they are
    separated by white space. `columns`: the widths that the layout allows and what they are.

    Raises:
        DatasetError: missing or damaged file, no points, another number of columns, NaN.
    """
    with reading(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "loadtxt: input contained no data")
        table = np.loadtxt(path, np.float32, delimiter=delimiter, ndmin=2)
    if not table.size:
        raise DatasetError(f"{path} has no points: get the file again")
    if table.shape[1] not in columns:
        expected = " or ".join(f"{width} ({names})" for width, names in columns.items())
        raise DatasetError(
            f"{path} has {table.shape[1]} columns, expected {expected}: get the file again, "
            "unchanged"
        )
    if not np.isfinite(table).all():
        raise DatasetError(f"{path} holds NaN or infinite numbers: get the file again")
    return table
