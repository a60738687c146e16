"""The numbers of a checkpoint, block by block: NaN and infinity are named, nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from leaderboard.validation.refusal import Refusal, listed, shown
from leaderboard.validation.safetensors_header import TensorEntry

BLOCK = 4 * 2**20  # bytes, a multiple of every item's size
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def scan_weights(file: BinaryIO, entries: Mapping[str, TensorEntry], name: str) -> None:
    """Read every number once, in bounded memory.

    Raises:
        Refusal: tensors with NaN or infinity, truth values that are neither 0 nor 1, or a file
            that ends early.
    """
    bad = [key for key, entry in entries.items() if not _sound(file, entry, key, name)]
    if bad:
        raise Refusal(
            name,
            f"tensor {shown(bad[0])!r}",
            f"NaN, infinite or impossible values in {listed(bad)}",
            "train it without divergence, or export an earlier checkpoint",
        )


def _sound(file: BinaryIO, entry: TensorEntry, key: str, name: str) -> bool:
    if entry.dtype not in FLOATS and entry.dtype not in ("BF16", "BOOL"):
        return True
    file.seek(entry.begin)
    left = entry.end - entry.begin
    while left:
        block = file.read(min(BLOCK, left))
        if not block:
            raise Refusal(
                name,
                f"tensor {shown(key)!r}",
                "the file ends inside it",
                "export or upload it again",
            )
        left -= len(block)
        if not _finite(np.frombuffer(block, np.uint8), entry.dtype):
            return False
    return True


def _finite(raw: NDArray[np.uint8], dtype: str) -> bool:
    if dtype == "BOOL":
        return bool((raw <= 1).all())
    if dtype == "BF16":  # the upper half of a float32: 8 exponent bits, all set for NaN and Inf
        return bool(((raw.view("<u2") & 0x7F80) != 0x7F80).all())
    return bool(np.isfinite(raw.view(FLOATS[dtype])).all())
