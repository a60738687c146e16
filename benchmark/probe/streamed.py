"""Training sets too large for memory: standardised block by block, in every pass anew.

A pass reads the samples from where they are (shards of the store, a mapped file), brings them to
mean 0 and deviation 1 and hands them on, while a thread reads what comes next. Memory is that of a
few blocks, however many samples there are; the sums, and so the optimum, are those of a set in
memory, up to the rounding of one subtraction and one product.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmark.pipeline import one_ahead
from benchmark.probe import arrays
from benchmark.probe import features as in_memory
from benchmark.probe.features import Features, Source, count
from benchmark.probe.objective import BinaryLoss, Block, Objective, SoftmaxLoss, block_rows
from benchmark.probe.targets import Columns

READ_VALUES = 1 << 20  # of a chunk: it is read at once and worked on in blocks
LEAST_ROWS = 4  # samples per feature from which a set is worth the passes


_READERS = threading.local()


def _reader() -> ThreadPoolExecutor:
    """The thread that reads ahead for this one. The same for all sets and passes, since each
    thread's allocator keeps some of what it had."""
    if getattr(_READERS, "process", None) != os.getpid():  # threads do not survive a fork
        _READERS.process, _READERS.pool = os.getpid(), ThreadPoolExecutor(1, "read")
    pool: ThreadPoolExecutor = _READERS.pool
    return pool


def too_large(sources: Sequence[Source]) -> bool:
    """Whether a set is streamed: more than `features.LARGE_BYTES` as float32, and more samples than
    features (a set of few samples is small once its directions are known)."""
    rows, width = count(sources), sources[0][0].shape[1]
    return rows * width * 4 > in_memory.LARGE_BYTES and rows >= LEAST_ROWS * width


class Stream:
    """Standardised samples (n, r) that are read when they are needed."""

    def __init__(
        self,
        sources: Sequence[Source],
        mean: np.ndarray,
        inverse_scale: np.ndarray,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.sources, self.dtype, self.device = sources, dtype, device
        self.mean = torch.from_numpy(mean).to(dtype)
        self.inverse_scale = torch.from_numpy(inverse_scale).to(dtype)
        self.shape = (count(sources), len(mean))
        self.is_cuda = device.type == "cuda"

    def __len__(self) -> int:
        return self.shape[0]

    def chunks(self) -> Iterator[tuple[int, torch.Tensor]]:
        """(first row, samples (n, r)) of consecutive chunks, the next ones being read meanwhile."""
        calls = (partial(self._read, number, rows) for number, rows in self._spans())
        start = 0
        for chunk in one_ahead(_reader(), calls):
            yield start, chunk.to(self.device)
            start += len(chunk)

    def _spans(self) -> Iterator[tuple[int, slice]]:
        size = max(1, READ_VALUES // self.shape[1])
        for number, (x, rows) in enumerate(self.sources):
            total = len(x) if rows is None else len(rows)
            for start in range(0, total, size):
                yield number, slice(start, min(start + size, total))

    def _read(self, number: int, span: slice) -> torch.Tensor:
        x, rows = self.sources[number]
        return self._standardised(x[span] if rows is None else x[rows[span]])

    def _standardised(self, block: np.ndarray) -> torch.Tensor:
        own = block.flags.owndata and block.flags.writeable  # just read, and nobody else's
        chunk = torch.from_numpy(block if own else np.array(block)).to(self.dtype)
        return chunk.sub_(self.mean).mul_(self.inverse_scale)

    def sample(self, places: np.ndarray) -> torch.Tensor:
        """The samples at increasing places (n,), in memory."""
        shape = (len(places), self.shape[1])
        if self.is_cuda or not len(places):
            out = torch.empty(shape, dtype=self.dtype, device=self.device)
        else:  # mapped: malloc would not give back what lies between smaller things
            bytes_ = mmap.mmap(-1, len(places) * self.shape[1] * self.dtype.itemsize)
            out = torch.frombuffer(bytes_, dtype=self.dtype).view(shape)
        filled, offset = 0, 0
        for x, rows in self.sources:
            total = len(x) if rows is None else len(rows)
            own = places[(places >= offset) & (places < offset + total)] - offset
            taken = own if rows is None else rows[own]
            for block in in_memory.blocks([(x, taken)], READ_VALUES):
                out[filled : filled + len(block)] = self._standardised(block)
                filled += len(block)
            offset += total
        return out

    def spaced(self, stride: int) -> torch.Tensor:
        """Every `stride`-th sample, in memory."""
        return self.sample(np.arange(0, len(self), stride))


def prepare_stream(
    sources: Sequence[Source],
    *,
    basis: torch.Tensor | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Features:
    """As `features.prepare`, for a set that is streamed: the eigenbasis of evenly spaced samples
    stands beside the columns, which are standardised features."""
    mean, scale = in_memory.statistics(sources)
    # What the solver sees is exactly what its result says: rounded once, here.
    kind = np.float32 if dtype == torch.float32 else np.float64
    mean = mean.astype(kind).astype(np.float64)
    inverse_scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    inverse_scale = inverse_scale.astype(kind).astype(np.float64)
    stream = Stream(sources, mean, inverse_scale, dtype, device)
    if basis is None:
        wanted = in_memory.SKETCH_ROWS_PER_COLUMN * stream.shape[1]
        basis = in_memory.eigenbasis(stream.spaced(max(1, len(stream) // wanted)))
    return Features(stream, basis, None, mean, inverse_scale)  # type: ignore[arg-type]


class Streamed(Objective):
    """An objective whose blocks are cut from chunks as they come."""

    stream: Stream
    fitted: Columns
    y: np.ndarray

    def each_block(self, rows: int | None = None) -> Iterator[Block]:
        """All samples, in blocks of at most `rows`."""
        size = self.block if rows is None else rows
        for start, chunk in self.stream.chunks():
            for first in range(0, len(chunk), size):
                part = chunk[first : first + size]
                place = slice(start + first, start + first + len(part))
                yield Block(part, part.T, place)

    def spaced(self, stride: int) -> torch.Tensor:
        return self.stream.spaced(stride)

    def targets_of(self, rows: slice) -> torch.Tensor:
        return self.fitted.encode(self.y[rows], self.stream.dtype, self.stream.device)

    def gradients(
        self,
        thetas: torch.Tensor,
        penalties: torch.Tensor,
        see: Callable[[Block, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        """Gradients (K, C, r + 1) at thetas (K, C, r + 1) for as many penalties (K,), in one pass.

        `see` is given each block of samples and its residuals (K, C, n).
        """
        shape, width = thetas.shape[:2], thetas.shape[2]
        total = thetas * (self.penalised[0] * (penalties[:, None, None] * self.count))
        total, theta = total.reshape(-1, width), thetas.reshape(-1, width)
        columns = len(theta)
        size = min(self.count, block_rows(max(width, columns), cuda=self.stream.is_cuda))
        buffers = [theta.new_empty(columns * size) for _ in range(2)]
        for block in self.each_block(size):
            n = len(block.samples)
            logits, p = (buffer[: columns * n].view(columns, n) for buffer in buffers)
            arrays.affine(theta, block.transposed, logits)
            residual = self.probabilities(logits.view(*shape, n), p.view(*shape, n))
            targets = self.targets_of(block.rows)
            for one in residual:
                self.subtract(one, targets)
            if see is not None:
                see(block, residual)
            arrays.add_products(total, p, block.samples)
        total *= 1.0 / self.count
        result = total.view(*shape, width)
        if self.joint:
            result -= result.mean(1, keepdim=True)  # as in `gradient`
        return result

    def subtract(self, p: torch.Tensor, targets: torch.Tensor) -> None:
        """Turn probabilities (C, n) of samples with these targets into residuals, in place."""
        raise NotImplementedError


class StreamedSoftmax(Streamed, SoftmaxLoss):
    """Softmax loss of streamed samples with targets y, labels (n,) or (n, C)."""

    def __init__(self, features: Features, columns: Columns, y: np.ndarray) -> None:
        Objective.__init__(self, features, columns.fitted)
        self.stream, self.fitted, self.y = features.z, columns, y  # type: ignore[assignment]

    def subtract_targets(self, p: Any, rows: slice, which: Any) -> None:
        self.subtract(p, self.targets_of(rows))

    def subtract(self, p: torch.Tensor, targets: torch.Tensor) -> None:
        if targets.ndim == 2:
            p -= targets.T
            return
        n = len(targets)
        places = targets * n + torch.arange(n, device=targets.device)
        arrays.add_at(p, places, p.new_full((n,), -1.0))


class StreamedBinary(Streamed, BinaryLoss):
    """One logistic loss per column of streamed samples."""

    def __init__(self, features: Features, columns: Columns, y: np.ndarray) -> None:
        Objective.__init__(self, features, columns.fitted)
        self.stream, self.fitted, self.y = features.z, columns, y  # type: ignore[assignment]

    def subtract_targets(self, p: Any, rows: slice, which: Any) -> None:
        targets = self.targets_of(rows).T
        p -= targets if which is None else targets[which]

    def subtract(self, p: torch.Tensor, targets: torch.Tensor) -> None:
        p -= targets.T
