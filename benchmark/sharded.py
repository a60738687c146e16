"""An array that stays on the disk: rows of many shards, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.shards import Place

_BLOCK = 1 << 22  # values converted at a time


class ShardedArray:
    """(N, ...) float32 over the shards of an entry, of which `rows` (n,) are taken, or all.

    Slices and index arrays along the first axis give NumPy arrays of just those rows; anything
    else, and any NumPy function, sees the whole array, which is then read into memory. Rows are
    read into a buffer, not mapped: what was read leaves the process's memory with the buffer.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        places: Sequence[Place],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        self.paths, self.places, self.rows = paths, places, rows
        sizes = [place.shape[0] for place in places]
        self.starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        count = int(self.starts[-1]) if rows is None else len(rows)
        self.shape = (count, *places[0].shape[1:])
        exact = places[0].code not in ("F16", "BF16")
        self.dtype = places[0].stored(b"", 0).dtype if exact else np.dtype(np.float32)
        self.ndim = len(self.shape)
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: NDArray[np.intp]) -> ShardedArray:
        """The rows `rows` (n,) of this array, still on the disk."""
        chosen = rows if self.rows is None else self.rows[rows]
        return ShardedArray(self.paths, self.places, np.asarray(chosen, dtype=np.intp))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1 and self.rows is None:
                return self._span(start, max(start, stop))
            return self._gather(np.arange(start, stop, step))
        if isinstance(index, int | np.integer):
            row = int(index) + len(self) * (index < 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {index} of {len(self)}")
            return self._gather(np.array([row]))[0]
        if isinstance(index, np.ndarray | list):
            chosen = np.asarray(index)
            if chosen.ndim == 1 and (chosen.dtype.kind in "iu" or not chosen.size):
                return self._gather(np.where(chosen < 0, chosen + len(self), chosen).astype(int))
            if chosen.ndim == 1 and chosen.dtype == bool and len(chosen) == len(self):
                return self._gather(np.flatnonzero(chosen))
        return np.asarray(self)[index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        out = np.empty(self.shape, self.dtype)
        size = max(1, _BLOCK * len(self) // max(1, self.size))
        for start in range(0, len(self), size):
            out[start : start + size] = self[start : start + size]
        return out if dtype is None else out.astype(dtype, copy=False)

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def astype(self, dtype: Any) -> NDArray[Any]:
        """The whole array in memory."""
        return self.__array__(dtype)

    def _span(self, start: int, stop: int) -> NDArray[Any]:
        """Consecutive rows of the shards."""
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        shard = int(np.searchsorted(self.starts, start, side="right")) - 1
        filled = 0
        while filled < len(out):
            first = start + filled - int(self.starts[shard])
            taken = min(self.places[shard].shape[0] - first, len(out) - filled)
            if taken > 0:
                out[filled : filled + taken] = self._read(shard, first, taken)
            filled, shard = filled + max(0, taken), shard + 1
        return out

    def _read(self, shard: int, first: int, count: int) -> NDArray[Any]:
        place = self.places[shard]
        raw = bytearray(place.row_bytes * count)
        with self.paths[shard].open("rb", buffering=0) as file:
            file.seek(place.offset + first * place.row_bytes)
            view = memoryview(raw)
            while view:
                got = file.readinto(view)  # type: ignore[attr-defined]
                if not got:
                    raise OSError(f"{self.paths[shard]} was cut off while it was read")
                view = view[got:]
        return place.decode(raw, count)

    def _gather(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Any rows, in their order; each shard is opened once per run of rows that are near."""
        if self.rows is not None:
            rows = self.rows[rows]
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        shards = np.searchsorted(self.starts, ordered, side="right") - 1
        for shard in np.unique(shards):
            begin, end = np.searchsorted(shards, [shard, shard + 1])
            own = ordered[begin:end] - self.starts[shard]
            first, last = int(own[0]), int(own[-1])
            read = self._read(int(shard), first, last - first + 1)
            out[order[begin:end]] = read[own - first]
        return out
