"""Embeddings as the solvers see them: checked, standardised, in the eigenbasis of their Gram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmark.errors import SslBenchError

if TYPE_CHECKING:
    from benchmark.probe.streamed import Stream

# An array (N, D), perhaps memory-mapped, and the rows of it that are meant (None: all of them).
Source = tuple[np.ndarray, np.ndarray | None]

BLOCK_VALUES = 1 << 20  # values of an embedding matrix converted at a time
CACHED_VALUES = 1 << 17  # of these in float64: what stays in the cache is summed 4 times as fast
LARGE_BYTES = 1 << 26  # of a set as float32 from which it is not held in memory
SKETCH_ROWS_PER_COLUMN = 6  # rows per column that settle a Gram well enough to precondition with


def count(sources: Sequence[Source]) -> int:
    """Rows in all sources together."""
    return sum(len(x) if rows is None else len(rows) for x, rows in sources)


def blocks(sources: Sequence[Source], values: int = BLOCK_VALUES) -> Iterator[np.ndarray]:
    """Consecutive row blocks (n, D) of the sources, small enough to convert in memory."""
    for x, rows in sources:
        total = len(x) if rows is None else len(rows)
        size = max(1, values // max(1, x.shape[1]))
        for start in range(0, total, size):
            stop = start + size
            yield x[start:stop] if rows is None else x[rows[start:stop]]


def check_finite(x: np.ndarray, name: str, ids: Sequence[object] | None) -> None:
    """Raise `SslBenchError` naming the encoder and the first sample of (N, D) with NaN or Inf."""
    start = 0
    for block in blocks([(x, None)]):
        # The sum is finite unless a value is not (or float64 overflows, which float32 cannot do).
        with np.errstate(invalid="ignore"):
            total = np.sum(block, dtype=np.float64)
        if not np.isfinite(total):
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                i = start + int(bad[0])
                sample = f"sample {ids[i]}" if ids is not None and i < len(ids) else f"sample {i}"
                raise SslBenchError(
                    f"{name}: the embedding of {sample} holds NaN or infinite values; "
                    "check the encoder's forward pass on this input (precision, normalisation)."
                )
        start += len(block)


def statistics(sources: Sequence[Source]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and population standard deviation (D,) in float64; exactly 0 where constant."""
    first = next(blocks(sources))[0].astype(np.float64)
    total, square, rows = np.zeros_like(first), np.zeros_like(first), 0
    size = max(1, CACHED_VALUES // len(first))
    shifted = np.empty((size, len(first)))
    for block in blocks(sources):
        # Shifting by a sample keeps the variance exact for constant and for far-off-centre columns.
        for start in range(0, len(block), size):
            part = block[start : start + size]
            off = np.subtract(part, first, out=shifted[: len(part)])
            total += off.sum(0)
            square += np.einsum("ij,ij->j", off, off)
        rows += len(block)
    mean = total / rows
    return first + mean, np.sqrt(np.maximum(square / rows - mean * mean, 0.0))


@dataclass
class Features:
    """Standardised embeddings of one training set, on a device.

    `z` (n, r) holds the columns the solver works on: standardised features multiplied by
    `rotation` (D, r), or as they are when `rotation` is None. `basis` (r, r) turns columns of
    `z` into the eigen-directions, None when they are the same already.
    """

    z: torch.Tensor
    basis: torch.Tensor | None
    rotation: torch.Tensor | None
    mean: np.ndarray
    inverse_scale: np.ndarray

    @property
    def variance(self) -> float:
        """Sum over all directions, which bounds the largest."""
        return float(np.count_nonzero(self.inverse_scale))

    @property
    def directions(self) -> torch.Tensor | None:
        """The eigenbasis (D, D) of the samples; None where they span fewer directions."""
        basis = self.rotation if self.basis is None else self.basis
        return basis if basis is None or basis.shape[0] == basis.shape[1] else None

    def project(self, sources: Sequence[Source]) -> torch.Tensor | Stream:
        """Other samples in the solver's columns: (n, r)."""
        from benchmark.probe.streamed import Stream, too_large

        if self.rotation is None and too_large(sources):
            z = self.z
            return Stream(sources, self.mean, self.inverse_scale, z.dtype, z.device)
        return _standardised(
            sources, self.mean, self.inverse_scale, self.rotation, self.z.dtype, self.z.device
        )

    def unfold(self, theta: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Solver parameters (r + 1, C) as coefficients (D, C) on standardised features and
        the intercept (C,) at the training mean, both float64."""
        weights = theta[:-1] if self.rotation is None else self.rotation @ theta[:-1]
        return weights.double().cpu().numpy(), theta[-1].double().cpu().numpy()


def _standardised(
    sources: Sequence[Source],
    mean: np.ndarray,
    inverse_scale: np.ndarray,
    rotation: torch.Tensor | None,
    dtype: torch.dtype,
    device: torch.device,
) -> torch.Tensor:
    rank = len(mean) if rotation is None else rotation.shape[1]
    out = torch.empty((count(sources), rank), dtype=dtype, device=device)
    centre = torch.from_numpy(mean).to(device)
    factor = torch.from_numpy(inverse_scale).to(device)
    start = 0
    for block in blocks(sources):
        rows = torch.from_numpy(np.array(block)).to(device).double()
        rows = ((rows - centre) * factor).to(dtype)
        out[start : start + len(rows)] = rows if rotation is None else rows @ rotation
        start += len(rows)
    return out


def prepare(
    sources: Sequence[Source],
    *,
    passes_times_columns: int,
    basis: torch.Tensor | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Features:
    """Standardise the rows of `sources` by their own statistics and find their eigenbasis.

    With D > n the problem is moved to n directions that hold all samples (a QR of Xᵀ) first. Then
    the columns are rotated into the eigenbasis of XᵀX if that pays off, and kept as they are, with
    the basis beside them, if it does not: a rotation costs 2nD² operations, and going to the basis
    and back 4D² per logit column and pass. `basis` (D, D) is any
    orthogonal matrix known to be close to the eigenbasis (of a larger sample, say); it only
    preconditions, so an approximate one changes no result.
    """
    mean, scale = statistics(sources)
    inverse_scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    z = _standardised(sources, mean, inverse_scale, None, dtype, device)
    n, width = z.shape
    span = None
    if width > n:
        span, triangle = torch.linalg.qr(z.T)
        z, basis = triangle.T.contiguous(), None
    if basis is None:
        basis = eigenbasis(z)
    if span is None and n >= passes_times_columns * 2:
        return Features(z, basis, None, mean, inverse_scale)
    size = max(1, BLOCK_VALUES // z.shape[1])
    for start in range(0, n, size):
        z[start : start + size] = z[start : start + size] @ basis
    return Features(z, None, basis if span is None else span @ basis, mean, inverse_scale)


def eigenbasis(z: torch.Tensor) -> torch.Tensor:
    """Orthogonal (D, D) eigenvectors of the Gram of evenly spaced rows of z (n, D)."""
    rows = z[:: max(1, len(z) // (SKETCH_ROWS_PER_COLUMN * z.shape[1]))]
    return torch.linalg.eigh(rows.T @ rows / len(rows))[1].contiguous()
