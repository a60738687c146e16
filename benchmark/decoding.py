"""Rows of a dataset decoded in order by several processes, a bounded number at a time.

Decoding begins in this process. What is left after a second goes to helper processes, so that small
datasets pay for none. Each gets a few rows at a time, writes the encoded record batches to a file
of its own as it makes them, and answers with what they are; at most `AHEAD` answers a process wait
to be taken over. So no process holds more than a few batches, whatever a row expands to.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.encoding import Encoded, encode, nbytes
from benchmark.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

    from benchmark.task import Task

Row = Mapping[str, Any]
T = TypeVar("T")
ALONE_SECONDS = 1.0  # before helpers are started
BATCH_BYTES = 2 << 20  # of a record batch: what it is made of is still in the processor's cache
JOB_BYTES = 8 << 20  # of one answer of a helper
MAX_ROWS = 64  # of one answer
AHEAD = 2
KILL_SECONDS = 5.0


class Decoders:
    """Decodes the rows of one task; starts helper processes when there is enough to do."""

    def __init__(self, task: Task, workers: int | None = None) -> None:
        self.task = task
        self.workers = workers or min(8, len(os.sched_getaffinity(0)))
        self._begun = time.perf_counter()
        self._pool: ProcessPoolExecutor | None = None
        self._helped = self.workers > 1 and _can_travel(task)
        self._rows, self._bytes = 0, 0  # decoded here

    def encoded(
        self, split: str, types: Mapping[str, Any], spool: Path
    ) -> Iterator[tuple[Encoded, pa.Schema]]:
        """The examples of a split in order, encoded; each message is valid until the next one.

        Helper processes leave theirs in the folder `spool`.

        Raises:
            DatasetError: a recording is missing or damaged, or examples do not fit together.
        """
        task, schema = self.task, None
        if not on_disk(task):
            for batch in _batched(task.examples(split)):
                encoded, schema = encode(task.source, batch, types, schema)
                yield encoded, schema
            return
        rows = iter(task.rows(split))
        for batch in _batched(self._alone(rows)):
            encoded, schema = encode(task.source, batch, types, schema)
            self._bytes += len(encoded.message)
            yield encoded, schema
        if schema is None:
            return
        for name, answer in self._together(rows, _encode_rows, types, schema, spool):
            for encoded in _taken(Path(name), answer):
                yield encoded, schema

    def errors(self, split: str) -> Iterator[str | Mapping[str, Any]]:
        """For every example of a split, in order: what is wrong with it, or its id, group, labels
        and the hash of its input. Goes on after an error."""
        from benchmark.survey import look_at_rows

        if not on_disk(self.task):
            yield from look_at_rows(self.task, None, split)
            return
        rows = iter(self.task.rows(split))
        while batch := list(islice(rows, 1)):
            yield from look_at_rows(self.task, batch)
            if self._helped and self._late():
                break
        for answer in self._together(rows, look_at_rows):
            yield from answer

    def _late(self) -> bool:
        return time.perf_counter() - self._begun > ALONE_SECONDS

    def _alone(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Decode here, until there is reason for help and a first example tells the schema."""
        for row in rows:
            yield from self.task.expand(row)
            self._rows += 1
            if self._helped and self._late():
                return

    def _together(
        self, rows: Iterator[Row], function: Callable[..., T], *arguments: Any
    ) -> Iterator[T]:
        chunk = self._chunk()
        waiting: deque[Future[T]] = deque()
        while batch := list(islice(rows, chunk)):
            self._pool = self._pool or _pool(self.workers)
            waiting.append(self._pool.submit(function, self.task, batch, *arguments))
            if len(waiting) >= AHEAD * self.workers:
                yield self._answer(waiting.popleft())
        while waiting:
            yield self._answer(waiting.popleft())

    def _chunk(self) -> int:
        if not self._rows:
            return 8
        return max(1, min(MAX_ROWS, JOB_BYTES * self._rows // max(self._bytes, 1)))

    def _answer(self, future: Future[T]) -> T:
        try:
            return future.result()
        except BrokenProcessPool:
            raise DatasetError(
                f"{self.task.source}: a process that decodes it died, perhaps for want of memory; "
                "close other programs or use fewer --workers, then run the command again"
            ) from None

    def close(self, hurry: bool = False) -> None:
        """Stop the helpers; in a hurry without waiting for what they are at."""
        if self._pool is None:
            return
        if hurry:
            helpers = list((getattr(self._pool, "_processes", None) or {}).values())
            for process in helpers:
                process.terminate()
            for process in helpers:  # so that none writes any more
                process.join(KILL_SECONDS)
        self._pool.shutdown(wait=not hurry, cancel_futures=True)


@contextmanager
def decoders(task: Task, workers: int | None = None) -> Iterator[Decoders]:
    """Decoders that are stopped when the block ends."""
    found = Decoders(task, workers)
    try:
        yield found
    except BaseException:
        found.close(hurry=True)
        raise
    found.close()


def on_disk(task: Task) -> bool:
    """Whether a task lists `rows` to be decoded one by one."""
    from benchmark.task import Task as Base

    return type(task).rows is not Base.rows and type(task).examples is Base.examples


def _can_travel(task: Task) -> bool:
    try:
        pickle.dumps(task)
    except Exception:  # a class that another process cannot import
        return False
    return type(task).__module__ != "__main__"


def _batched(examples: Iterator[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += nbytes(example)
        if size >= BATCH_BYTES or len(batch) >= 4096:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _encode_rows(
    task: Task, rows: Sequence[Row], types: Mapping[str, Any], schema: pa.Schema, spool: Path
) -> tuple[str, list[tuple[Encoded, int]]]:
    """In a helper: the file that holds the messages of the rows, and each one's size and facts."""
    examples = (example for row in rows for example in task.expand(row))
    answer = []
    descriptor, name = tempfile.mkstemp(dir=spool, prefix="part-")
    with os.fdopen(descriptor, "wb") as file:
        for batch in _batched(examples):
            encoded, _ = encode(task.source, batch, types, schema)
            answer.append((replace(encoded, message=b""), file.write(encoded.message)))
    return name, answer


def _taken(path: Path, answer: Sequence[tuple[Encoded, int]]) -> Iterator[Encoded]:
    """The encoded examples of a helper's file, which is removed."""
    begin = 0
    if answer:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held,
            memoryview(held) as view,
        ):
            for encoded, size in answer:
                with view[begin : begin + size] as message:
                    yield replace(encoded, message=message)
                begin += size
    path.unlink()


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
