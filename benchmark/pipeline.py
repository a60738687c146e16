"""Work done ahead, in order and within bounds: what stands between a disk and a busy encoder.

Threads decode, transform and collate; what they do is NumPy's, torch's and the decoders' work, most
of which runs outside Python's lock. Nobody is ever more than a stated number of items ahead, so
memory does not depend on how much there is to do, and whoever is ahead of the encoder waits for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


def in_order(pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]], most: int) -> Iterator[T]:
    """The results of calls carried out in a pool, in order; at most `most` are begun and not taken.

    What a call raises is raised here, when its turn comes.
    """
    begun: deque[Future[T]] = deque()
    try:
        for call in calls:
            while begun and (len(begun) >= most or begun[0].done()):
                yield begun.popleft().result()
            begun.append(pool.submit(call))
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()


def one_ahead(pool: ThreadPoolExecutor, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """The results of calls in order; while one is worked on, the pool carries out the next."""
    begun: Future[T] | None = None
    try:
        for call in calls:
            following = pool.submit(call)
            if begun is not None:
                yield begun.result()
            begun = following
        if begun is not None:
            yield begun.result()
    finally:
        if begun is not None:
            begun.cancel()


@contextmanager
def in_background(items: Iterable[T], most: int) -> Iterator[Iterator[T]]:
    """The items of a generator that runs in a thread of its own, at most `most` of them ahead.

    When the block ends, however it does, the thread has ended too.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(most)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not stopped.is_set():
            try:
                return ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue

    def produce() -> None:
        running = iter(items)
        try:
            for item in running:
                put("item", item)
                if stopped.is_set():
                    break
            put("end", None)
        except BaseException as error:
            put("error", error)
        finally:
            close = getattr(running, "close", None)
            if close is not None:
                close()

    def take() -> Iterator[T]:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value

    thread = threading.Thread(target=produce, name="feed", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stopped.set()
        thread.join()


@dataclass
class Clock:
    """Seconds in which the encoder had a batch (`computing`) and had none (`waiting`)."""

    waiting: float = 0.0
    computing: float = 0.0
    _since: float = field(default_factory=time.perf_counter)
    _batches: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """A batch is given to the encoder."""
        with self._lock:
            if not self._batches:
                self.waiting += self._lap()
            self._batches += 1

    def end(self) -> None:
        """The outputs of a batch are there."""
        with self._lock:
            self._batches -= 1
            if not self._batches:
                self.computing += self._lap()

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self._since = now - self._since, now
        return lap
