"""The shards of one entry that are still to be computed, handed out a few at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from benchmark.executors.jobs import Embed, Stock
from benchmark.needs import Need
from benchmark.plan import EncoderRef

SECONDS = (
    2.0  # of work in one job: little is lost with a worker, and little is spent on handing out
)
MOST = 64  # shards in one job
MAX_CRASHES = 3  # workers that one shard may take with it
MAX_LOSSES = 30  # workers and nodes that may be lost with one shard, or times that it vanishes


class Shards:
    """Pending, under way and done."""

    def __init__(self, encoder: EncoderRef, need: Need, stock: Stock) -> None:
        self.encoder = encoder
        self.need = need
        self.task = stock.task
        self.examples = stock.examples
        self.pending = deque(stock.missing)
        self._size = stock.size
        self._count = stock.shards
        self._left = set(stock.missing)
        self._seconds: float | None = None  # of one shard
        self._crashes: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()

    @property
    def all_done(self) -> bool:
        return not self._left

    @property
    def examples_done(self) -> int:
        last = self._count - 1 in self._left
        short = self._count * self._size - self.examples
        return self.examples - len(self._left) * self._size + (short if last else 0)

    def take(self, workers: int) -> Embed:
        """The next shards, as many as take `SECONDS`; one that was lost before goes alone."""
        fair = -(-len(self.pending) // (2 * max(1, workers)))
        wanted = 1 if self._seconds is None else int(SECONDS / max(self._seconds, 1e-6))
        taken = [self.pending.popleft()]
        again = bool(self._losses[taken[0]])
        while not again and self.pending and len(taken) < min(fair, wanted, MOST):
            if self._losses[self.pending[0]]:
                break
            taken.append(self.pending.popleft())
        return Embed(self.encoder, self.need, self.task, tuple(taken), again)

    def done(self, shards: Sequence[int], seconds: float) -> None:
        """Shards were computed and stored, together in so many seconds."""
        self._left.difference_update(shards)
        measured = seconds / len(shards)
        # The first job also loads the encoder: later ones correct it quickly.
        known = self._seconds
        self._seconds = measured if known is None else min(measured, (known + measured) / 2)

    def lost(self, shards: Sequence[int], crashed: bool) -> int | None:
        """Put shards back; the one that has been lost too often, if there is one."""
        for index in shards:
            self._losses[index] += 1
            self._crashes[index] += crashed
        self.pending.extendleft(reversed(shards))
        worst = max(shards, key=lambda index: (self._crashes[index], self._losses[index]))
        fatal = self._crashes[worst] >= MAX_CRASHES or self._losses[worst] >= MAX_LOSSES
        return worst if fatal else None

    def vanished(self, shards: Sequence[int]) -> int | None:
        """Shards that were computed are missing or damaged: once more, but not for ever."""
        self._left.update(shards)
        return self.lost(shards, crashed=True)
