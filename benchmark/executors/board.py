"""What is to be done, what is under way and what follows: the order of a run that is shared out.

A source is prepared, then each unit surveyed: which embeddings it needs, and what is missing of
them. Missing shards are computed, a whole entry is sealed, and a protocol runs as soon as all that
it reads is there. Knows nothing of machines; loses nothing when a worker is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmark.events import Event, Tell
from benchmark.executors.jobs import Answer, Embed, Job, Prepare, Score, Seal, Survey, Surveyed
from benchmark.executors.shards import Shards
from benchmark.needs import Need
from benchmark.plan import EncoderRef, Unit
from benchmark.planning.throughput import record

MAX_CRASHES = 3  # workers that one job may take with it
EXPECTED = 8  # workers that there will be something to do for
MAX_LOSSES = 30  # workers and nodes that may be lost with one job
RANK: dict[type, int] = {Survey: 0, Seal: 1, Score: 2}


class Board:
    """Jobs in the order of their turn; told what came of each."""

    def __init__(
        self,
        units: Sequence[Unit],
        sources: Mapping[str, str],
        tell: Tell,
    ) -> None:
        """`sources`: task -> the task by which its source is prepared."""
        self.tell = tell
        self._ready: list[Job] = []
        self._shards: dict[tuple[EncoderRef, Need], Shards] = {}
        self._waiting: dict[Score, set[tuple[EncoderRef, Need]]] = {}
        self._losses: Counter[Job] = Counter()
        self._crashes: Counter[Job] = Counter()
        self._running = 0
        self._unsurveyed = len(units)
        self._failed: set[tuple[str, str]] = set()  # encoder, task
        self._ready += [Prepare(task) for task in dict.fromkeys(sources.values())]
        self._blocked = [
            (unit, {sources[task] for task, _ in unit.jobs if task in sources}) for unit in units
        ]
        self._release(None)

    @property
    def finished(self) -> bool:
        """Whether nothing is left, and nothing under way."""
        return not (self._running or self._ready or self._blocked or self._embedding())

    @property
    def parallel(self) -> int:
        """How many workers could be at work now; some, until it is known how much there is to
        embed, since a worker takes seconds to start."""
        known = self._running + len(self._ready) + sum(len(s.pending) for s in self._embedding())
        return max(known, EXPECTED) if self._unsurveyed else known

    def take(
        self, held: EncoderRef | None, others: Mapping[EncoderRef, int], workers: int
    ) -> Job | None:
        """The next job for a worker that holds an encoder: one of the same encoder if there is any,
        else of the one that the fewest `others` hold; None where all depends on what is under way.

        Embedding takes as many shards as fill a second or two, but leaves some to each of the
        `workers`.
        """

        def turn(encoder: EncoderRef | None) -> tuple[bool, int]:
            return encoder not in (None, held), 0 if encoder is None else others.get(encoder, 0)

        jobs = [(*turn(job.encoder), RANK.get(type(job), -1), job) for job in self._ready]
        work = [(*turn(shards.encoder), 3, shards) for shards in self._embedding()]
        best = min([*jobs, *work], key=lambda item: item[:3], default=None)
        if best is None:
            return None
        self._running += 1
        chosen = best[3]
        if isinstance(chosen, Shards):
            return chosen.take(workers)
        self._ready.remove(chosen)
        if isinstance(chosen, Prepare):
            self.tell(Event("prepare", "", chosen.task))
        if isinstance(chosen, Score):
            name = ", ".join(chosen.protocols)
            self.tell(Event("score", chosen.encoder.name, chosen.task, name))
        return chosen

    def done(self, job: Job, answer: Answer) -> None:
        """Take over what a worker made of a job; what it makes possible becomes ready."""
        self._running -= 1
        for notice in answer.notices:
            self.tell(notice)
        for measurement in answer.measured:
            record(measurement)
        if isinstance(job, Prepare):
            self.tell(Event("prepared", "", job.task))
            self._release(job.task)
        elif isinstance(job, Survey):
            self._surveyed(job, answer)
        elif isinstance(job, Embed):
            self._embedded(job, answer)
        elif isinstance(job, Seal):
            self._sealed(job, answer)
        elif answer.failure:
            self._fail(job.encoder, job.task, answer.failure)
        else:
            for event in answer.value:
                if event.phase == "failure":
                    self._fail(job.encoder, event.task, event.detail)
                else:
                    self.tell(event)

    def lost(self, job: Job, reason: str, crashed: bool) -> None:
        """A worker was lost with the job: by a crash of its own, else with its node. The job is
        done again elsewhere, unless it has taken too many workers with it."""
        self._running -= 1
        if isinstance(job, Embed):
            shards = self._shards.get((job.encoder, job.need))
            worst = shards.lost(job.shards, crashed) if shards else None
            if worst is None:
                return
            detail = f"shard {worst} of {job.need.split} ({job.need.source})"
            self._give_up(job.encoder, job.need, _fatal(detail, reason))
            return
        self._losses[job] += 1
        self._crashes[job] += crashed
        if self._crashes[job] < MAX_CRASHES and self._losses[job] < MAX_LOSSES:
            self._ready.insert(0, job)
        elif isinstance(job, Prepare):
            self._release(job.task)  # who needs it will say what is wrong
        elif isinstance(job, Survey):
            self._unsurveyed -= 1
            for task, _ in job.unit.jobs:
                self._fail(job.encoder, task, _fatal(str(job), reason))
        elif isinstance(job, Seal):
            self._give_up(job.encoder, job.need, _fatal(str(job), reason))
        else:
            self._fail(job.encoder, job.task, _fatal(str(job), reason))

    def _embedding(self) -> list[Shards]:
        return [shards for shards in self._shards.values() if shards.pending]

    def _release(self, prepared: str | None) -> None:
        still = []
        for unit, sources in self._blocked:
            sources.discard(prepared or "")
            if sources:
                still.append((unit, sources))
            else:
                self._ready.append(Survey(unit))
        self._blocked = still

    def _surveyed(self, job: Survey, answer: Answer) -> None:
        self._unsurveyed -= 1
        if answer.failure:  # the encoder cannot be loaded, a dataset not be read: each task says so
            self._ready += [Score(job.encoder, task, names) for task, names in job.unit.jobs]
            return
        found: Surveyed = answer.value
        for need, stock in found.stock.items():
            key = job.encoder, need
            if not stock.complete and key not in self._shards:
                self._shards[key] = Shards(job.encoder, need, stock)
                if not stock.missing:
                    self._ready.append(Seal(job.encoder, need, stock.task))
        for task, protocol, read in found.cells:
            keys = {(job.encoder, need) for need in read}
            self._waiting[Score(job.encoder, task, (protocol,))] = keys & self._shards.keys()
        self._score_what_can_be()

    def _score_what_can_be(self) -> None:
        for score, keys in list(self._waiting.items()):
            if not keys:
                del self._waiting[score]
                self._ready.append(score)

    def _embedded(self, job: Embed, answer: Answer) -> None:
        shards = self._shards.get((job.encoder, job.need))
        if shards is None:  # given up meanwhile
            return
        if answer.failure:
            self._give_up(job.encoder, job.need, answer.failure)
            return
        shards.done(job.shards, answer.seconds)
        where = job.encoder.name, job.task, job.need.split
        self.tell(Event("embed", *where, shards.examples_done, shards.examples))
        self.tell(Event("pace", *where, pace=answer.value))
        if shards.all_done:
            self._ready.append(Seal(job.encoder, job.need, job.task))

    def _sealed(self, job: Seal, answer: Answer) -> None:
        key = job.encoder, job.need
        shards = self._shards.get(key)
        if shards is None:  # given up meanwhile
            return
        if answer.failure:
            self._give_up(*key, answer.failure)
        elif answer.value:
            worst = shards.vanished(answer.value)
            if worst is not None:
                self._give_up(
                    *key,
                    f"shard {worst} of {job.need.split} ({job.need.source}) is not in the store "
                    "after it was computed: do all nodes see the same store, and have they the "
                    "same versions of the encoder's code?",
                )
        else:
            del self._shards[key]
            for keys in self._waiting.values():
                keys.discard(key)
            self._score_what_can_be()

    def _give_up(self, encoder: EncoderRef, need: Need, reason: str) -> None:
        """What cannot be had fails the tasks that wait for it; nothing is embedded for them."""
        key = encoder, need
        for score, keys in list(self._waiting.items()):
            if key in keys:
                del self._waiting[score]
                self._fail(encoder, score.task, reason)
        wanted = set[tuple[EncoderRef, Need]]().union(*self._waiting.values())
        self._shards = {key: shards for key, shards in self._shards.items() if key in wanted}

    def _fail(self, encoder: EncoderRef, task: str, reason: str) -> None:
        """A task fails once, whatever number of protocols it fails with."""
        if (encoder.name, task) not in self._failed:
            self._failed.add((encoder.name, task))
            self.tell(Event("failure", encoder.name, task, reason))


def _fatal(what: str, reason: str) -> str:
    return (
        f"{what} lost its worker again and again, perhaps for want of memory ({reason}): try a "
        "smaller --batch-size or nodes with more memory; what was finished is kept"
    )
