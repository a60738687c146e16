"""Rows of a set, a block at a time: a set that stays on the disk never is in memory as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
BLOCK_VALUES = 1 << 24  # of a block: as many as the store reads into memory at once


def row_blocks(values: Any, most: int | None = None) -> Iterator[tuple[slice, Array]]:
    """(rows, block (n, ...) float32) of consecutive blocks of (N, ...), at most `most` rows."""
    size = max(1, BLOCK_VALUES // max(1, math.prod(values.shape[1:])))
    size = size if most is None else min(size, most)
    for start in range(0, len(values), size):
        rows = slice(start, min(start + size, len(values)))
        yield rows, np.ascontiguousarray(values[rows], dtype=np.float32)


def unit_rows(block: Array, device: str) -> torch.Tensor:
    """(n, D) rows of length 1 on a device; a row of 0 stays one."""
    import torch

    return torch.nn.functional.normalize(torch.from_numpy(block).to(device), dim=1)
