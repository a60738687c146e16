"""Arrays that stay on the disk: rows of many shards, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.shards import Place

_BLOCK = 1 << 22  # values converted at a time
_GAP_BYTES = 1 << 16  # rows further apart than this are read by themselves


class ArrayOnDisk:
    """(N, ...) rows of which `rows` (n,) are taken, or all.

    Slices and index arrays along the first axis give NumPy arrays of just those rows; anything
    else, and any NumPy function, sees the whole array, which is then read into memory. Rows are
    read into a buffer, not mapped: what was read leaves the process's memory with the buffer.
    """

    def __init__(
        self,
        count: int,
        row_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        rows: NDArray[np.intp] | None,
    ) -> None:
        self.rows = rows
        self.shape = (count if rows is None else len(rows), *row_shape)
        self.dtype = dtype
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: NDArray[np.intp]) -> ArrayOnDisk:
        """The rows `rows` (n,) of this array, still on the disk."""
        chosen = rows if self.rows is None else self.rows[rows]
        return self._with_rows(np.asarray(chosen, dtype=np.intp))

    def _with_rows(self, rows: NDArray[np.intp]) -> ArrayOnDisk:
        raise NotImplementedError

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        """Consecutive rows of the whole."""
        raise NotImplementedError

    def _gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Any rows of the whole, in their order."""
        raise NotImplementedError

    def _read_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        return self._gather(rows if self.rows is None else self.rows[rows])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1 and self.rows is None:
                return self._span(start, max(start, stop))
            return self._read_rows(np.arange(start, stop, step))
        if isinstance(index, int | np.integer):
            row = int(index) + len(self) * (index < 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {index} of {len(self)}")
            return self._read_rows(np.array([row]))[0]
        if isinstance(index, np.ndarray | list):
            chosen = np.asarray(index)
            if chosen.ndim == 1 and (chosen.dtype.kind in "iu" or not chosen.size):
                return self._read_rows(np.where(chosen < 0, chosen + len(self), chosen).astype(int))
            if chosen.ndim == 1 and chosen.dtype == bool and len(chosen) == len(self):
                return self._read_rows(np.flatnonzero(chosen))
        return np.asarray(self)[index]

    @property
    def block_rows(self) -> int:
        """Rows that are read at a time."""
        return max(1, _BLOCK * len(self) // max(1, self.size))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        out = np.empty(self.shape, self.dtype)
        for start in range(0, len(self), self.block_rows):
            out[start : start + self.block_rows] = self[start : start + self.block_rows]
        return out if dtype is None else out.astype(dtype, copy=False)

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def astype(self, dtype: Any) -> NDArray[Any]:
        """The whole array in memory."""
        return self.__array__(dtype)


class ShardedArray(ArrayOnDisk):
    """(N, ...) float32 over the shards of an entry."""

    def __init__(
        self,
        paths: Sequence[Path],
        places: Sequence[Place],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        self.paths, self.places = paths, places
        sizes = [place.shape[0] for place in places]
        self.starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        super().__init__(int(self.starts[-1]), places[0].shape[1:], places[0].dtype, rows)

    def _with_rows(self, rows: NDArray[np.intp]) -> ArrayOnDisk:
        return ShardedArray(self.paths, self.places, rows)

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        """Consecutive rows of the shards."""
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        filled = 0
        while filled < len(out):
            first = start + filled - int(self.starts[shard])
            taken = min(self.places[shard].shape[0] - first, len(out) - filled)
            if taken > 0:
                self._read(shard, first, out[filled : filled + taken])
            filled, shard = filled + max(0, taken), shard + 1
        return out

    def _read(self, shard: int, first: int, out: NDArray[Any]) -> None:
        with self.paths[shard].open("rb", buffering=0) as file:
            try:
                self.places[shard].read(file, first, out)
            except EOFError:
                raise OSError(f"{self.paths[shard]} was cut off while it was read") from None

    def _gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        shards = np.searchsorted(self.starts, ordered, side="right") - 1
        # rows that are near each other are read together, with what lies between them
        reach = 1 + _GAP_BYTES // max(1, self.places[0].row_bytes)
        apart = (np.diff(shards) > 0) | (np.diff(ordered) > reach)
        for run in np.split(np.arange(len(rows)), np.flatnonzero(apart) + 1):
            if len(run):
                shard = int(shards[run[0]])
                own = ordered[run] - self.starts[shard]
                read = np.empty((int(own[-1] - own[0]) + 1, *self.shape[1:]), self.dtype)
                self._read(shard, int(own[0]), read)
                out[order[run]] = read[own - own[0]]
        return out


class StackedArray(ArrayOnDisk):
    """Arrays one after another, (N, ...), of which some stay on the disk."""

    def __init__(self, parts: Sequence[Any], rows: NDArray[np.intp] | None = None) -> None:
        self.parts = parts
        self.starts: NDArray[np.int64] = np.cumsum([0, *(len(part) for part in parts)])
        super().__init__(int(self.starts[-1]), parts[0].shape[1:], parts[0].dtype, rows)

    def _with_rows(self, rows: NDArray[np.intp]) -> ArrayOnDisk:
        return StackedArray(self.parts, rows)

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for part, first in zip(self.parts, self.starts, strict=False):
            begin, end = max(start, first), min(stop, first + len(part))
            if begin < end:
                out[begin - start : end - start] = part[begin - first : end - first]
        return out

    def _gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(owner):
            own = np.flatnonzero(owner == number)
            out[own] = self.parts[number][rows[own] - self.starts[number]]
        return out


class MappedRows(ArrayOnDisk):
    """What `change`, (n, ...) -> (n, *row_shape) float32, makes of the rows of an array on the
    disk: a layer of (N, L, D), say. Rows are read and changed a block at a time."""

    def __init__(
        self,
        base: ArrayOnDisk,
        change: Callable[[NDArray[Any]], NDArray[Any]],
        row_shape: tuple[int, ...],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        self.base, self.change = base, change
        super().__init__(len(base), row_shape, np.dtype(np.float32), rows)

    def _with_rows(self, rows: NDArray[np.intp]) -> ArrayOnDisk:
        return MappedRows(self.base, self.change, self.shape[1:], rows)

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        return self._changed(stop - start, lambda a, b: slice(start + a, start + b))

    def _gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        return self._changed(len(rows), lambda a, b: rows[a:b])

    def _changed(self, count: int, wanted: Callable[[int, int], Any]) -> NDArray[Any]:
        out = np.empty((count, *self.shape[1:]), self.dtype)
        for start in range(0, count, self.base.block_rows):
            stop = min(start + self.base.block_rows, count)
            out[start:stop] = self.change(self.base[wanted(start, stop)])
        return out


def rows_of(values: Any, rows: NDArray[np.intp]) -> Any:
    """Rows of an array; of one that stays on the disk a part that stays there too."""
    return values.take(rows) if isinstance(values, ArrayOnDisk) else values[rows]


def spilled(array: ArrayOnDisk, path: Path) -> ShardedArray:
    """The rows of an array, written to a file, so that they are computed once however often they
    are read. The file must outlive the array that is returned."""
    with path.open("wb") as file:
        for start in range(0, len(array), array.block_rows):
            np.asarray(array[start : start + array.block_rows], dtype="<f4").tofile(file)
    return ShardedArray([path], [Place("F32", array.shape, 0)])


def stacked(arrays: Sequence[Any]) -> Any:
    """Arrays (N_i, ...) one after another; in memory unless one of them stays on the disk."""
    if any(isinstance(array, ArrayOnDisk) for array in arrays):
        return StackedArray(arrays)
    return np.concatenate([np.asarray(array) for array in arrays])
