"""The order of a run that is shared out, and that nothing is lost with a worker: without Ray."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from benchmark.events import Event, RunOptions
from benchmark.executors.board import Board
from benchmark.executors.jobs import (
    Answer,
    Embed,
    Job,
    Prepare,
    Score,
    Seal,
    Stock,
    Survey,
    Surveyed,
)
from benchmark.executors.local import execute
from benchmark.executors.site import this_site
from benchmark.executors.worker import Worker
from benchmark.needs import Need
from benchmark.plan import EncoderRef, Unit, make_plan, select_tasks

NET, SPECTRUM = EncoderRef("mock-net", "audio"), EncoderRef("mock-spectrum", "audio")
NEEDS = [Need("tones", (), split, "clip") for split in ("train", "test")]


def feign(job: Job, shards: int = 10) -> Answer:
    """What a worker would answer, without doing anything."""
    if isinstance(job, Survey):
        stock = {
            need: Stock("pitch", 8 * shards - 3, shards, 8, tuple(range(shards)), False)
            for need in NEEDS
        }
        cells = [(task, name, tuple(NEEDS)) for task, names in job.unit.jobs for name in names]
        return Answer(Surveyed(tuple(cells), stock))
    if isinstance(job, Seal):
        return Answer(())
    if isinstance(job, Score):
        return Answer([Event("skip", job.encoder.name, job.task, p) for p in job.protocols])
    return Answer(seconds=0.001 * len(job.shards) if isinstance(job, Embed) else 0.0)


def board(events: list[Event], *encoders: EncoderRef) -> Board:
    units = [Unit(encoder, (("pitch", ("knn", "linear-probe")),)) for encoder in encoders]
    return Board(units, {"pitch": "pitch"}, events.append)


def carry_out(
    board: Board, answer: Callable[[Job], Answer], workers: int = 2, luck: float = 1.0
) -> list[Job]:
    """Hand out jobs to so many workers; a job is lost with its node with a chance of 1 - luck."""
    rng = random.Random(0)
    held: list[EncoderRef | None] = [None] * workers
    given: list[Job] = []
    while not board.finished:
        under_way = []
        for index in range(workers):
            others = Counter(x for i, x in enumerate(held) if i != index and x is not None)
            job = board.take(held[index], others, workers)
            if job is not None:
                held[index] = job.encoder or held[index]
                under_way.append((index, job))
                given.append(job)
        for index, job in under_way:
            if rng.random() < luck:
                board.done(job, answer(job))
            else:
                held[index] = None
                board.lost(job, "its node has died", crashed=False)
    return given


def test_what_follows_waits_for_what_it_needs() -> None:
    events: list[Event] = []
    given = carry_out(board(events, NET), feign, workers=3)
    order = [type(job) for job in given]
    assert order[:2] == [Prepare, Survey]
    assert order[-2:] == [Score, Score]
    last_train = max(i for i, j in enumerate(given) if isinstance(j, Embed) and j.need == NEEDS[0])
    assert given.index(Seal(NET, NEEDS[0], "pitch")) > last_train
    embedded = Counter((j.need, s) for j in given if isinstance(j, Embed) for s in j.shards)
    assert len(embedded) == 20
    assert set(embedded.values()) == {1}
    told = [event for event in events if event.phase == "embed" and event.detail == "train"]
    assert (told[-1].done, told[-1].total) == (77, 77)
    assert sum(event.phase == "skip" for event in events) == 2


def test_each_worker_stays_with_its_encoder_while_it_can() -> None:
    given = carry_out(board([], NET, SPECTRUM), feign, workers=1)
    encoders = [job.encoder for job in given if job.encoder]
    assert sum(a != b for a, b in pairwise(encoders)) == 1


def test_ten_thousand_shards_are_handed_out_a_few_at_a_time() -> None:
    given = carry_out(board([], NET), lambda job: feign(job, 5000), workers=4)
    jobs = [job for job in given if isinstance(job, Embed)]
    assert sum(len(job.shards) for job in jobs) == 10_000
    assert max(len(job.shards) for job in jobs) == 64
    assert len(jobs) < 400


@pytest.mark.parametrize("luck", [0.9, 0.6])
def test_losing_workers_costs_what_they_had_in_hand(luck: float) -> None:
    events: list[Event] = []
    given = carry_out(board(events, NET, SPECTRUM), feign, workers=3, luck=luck)
    assert sum(event.phase == "skip" for event in events) == 4
    assert not [event for event in events if event.phase == "failure"]
    assert any(isinstance(job, Embed) and job.again for job in given)


def test_a_shard_that_kills_its_workers_is_told_and_spares_the_others() -> None:
    events: list[Event] = []
    found = board(events, NET, SPECTRUM)
    crashes = Counter[int]()
    while not found.finished:
        job = found.take(None, {}, 2)
        assert job is not None
        if (
            isinstance(job, Embed)
            and (job.encoder, job.need) == (NET, NEEDS[0])
            and 4 in job.shards
        ):
            crashes.update(job.shards)
            found.lost(job, "worker killed: out of memory", crashed=True)
        else:
            found.done(job, feign(job))
    assert crashes[4] == 3
    failures = [event for event in events if event.phase == "failure"]
    assert [(event.encoder, event.task) for event in failures] == [("mock-net", "pitch")]
    assert "shard 4 of train (tones)" in failures[0].detail
    assert "--batch-size" in failures[0].detail
    assert sum(event.phase == "skip" for event in events) == 2  # of the other encoder


def test_what_is_under_way_for_a_task_that_failed_is_forgotten() -> None:
    """Whatever becomes of it: done, failed, lost."""
    events: list[Event] = []
    found = board(events, NET)
    for _ in range(2):
        job = found.take(None, {}, 4)
        assert job is not None
        found.done(job, feign(job))
    under_way = [found.take(NET, {}, 4) for _ in range(4)]
    for number, job in enumerate(under_way):
        assert isinstance(job, Embed)
        if number == 1:
            found.lost(job, "its node has died", crashed=False)
        else:
            found.done(job, Answer(failure="it fails") if number % 2 == 0 else feign(job))
    assert found.finished
    assert [event.detail for event in events if event.phase == "failure"] == ["it fails"]


def test_shards_that_vanish_are_computed_anew_but_not_for_ever() -> None:
    def answer(job: Job) -> Answer:
        return Answer((7,)) if isinstance(job, Seal) and job.need == NEEDS[0] else feign(job)

    events: list[Event] = []
    given = carry_out(board(events, NET), answer)
    anew = [job for job in given if isinstance(job, Embed) and job.again]
    assert [(job.need, job.shards) for job in anew] == [(NEEDS[0], (7,))] * 2
    [failure] = [event for event in events if event.phase == "failure"]
    assert "do all nodes see the same store" in failure.detail


@pytest.mark.parametrize("failing", [Survey, Embed, Seal, Score])
def test_a_failure_is_told_once_for_each_task(failing: type[Job]) -> None:
    def answer(job: Job) -> Answer:
        if isinstance(job, failing):
            return Answer(failure="it fails")
        if isinstance(job, Score) and failing is Survey:
            return Answer([Event("failure", job.encoder.name, job.task, "it fails")])
        return feign(job)

    events: list[Event] = []
    carry_out(board(events, NET), answer)
    assert [e.detail for e in events if e.phase == "failure"] == ["it fails"]


@pytest.mark.long
def test_workers_give_the_scores_of_the_local_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan([NET, SPECTRUM], select_tasks(["audio"], "mock"))
    options = RunOptions(out=None)
    events: list[Event] = []
    with this_site([NET, SPECTRUM], options) as site:
        worker = Worker(options, site)
        worker.hello()
        sources = {task: task for task in plan.tasks}
        given = carry_out(Board(plan.units, sources, events.append), worker.do, luck=0.8)
    assert {type(job) for job in given} == {Prepare, Survey, Embed, Seal, Score}
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "other"))
    local: list[Event] = []
    execute(plan, options, local.append)
    assert scores(events) == scores(local)
    assert len(scores(local)) == 9
    for phase in ("skip", "failure"):
        assert {(e.task, e.detail) for e in events if e.phase == phase} == {
            (e.task, e.detail) for e in local if e.phase == phase
        }


@pytest.mark.long
def test_what_is_stored_is_computed_anew_where_it_is_damaged_or_was_asked_for(
    own_cache: Path,
) -> None:
    plan = make_plan([NET], select_tasks(["mock-pitch"], None))

    def run(options: RunOptions) -> tuple[list[Job], list[Event]]:
        events: list[Event] = []
        with this_site([NET], options) as site:
            worker = Worker(options, site)
            board = Board(plan.units, {"mock-pitch": "mock-pitch"}, events.append)
            return carry_out(board, worker.do), events

    _, first = run(RunOptions(None))
    fresh, again = run(RunOptions(None, fresh=True))
    assert sum(isinstance(job, Embed) for job in fresh) == 3
    assert scores(again) == scores(first)
    damaged = next((own_cache / "embeddings").glob("*/*/00000.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-8])
    for path in (own_cache / "results").iterdir():
        path.unlink()
    repaired, last = run(RunOptions(None))
    assert sum(isinstance(job, Embed) for job in repaired) == 1
    assert scores(last) == scores(first)
    assert not [event for event in [*again, *last] if event.phase == "failure"]


def test_a_worker_tells_failures_as_the_local_executor_does(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(
        "import torch\nclass Broken(torch.nn.Module):\n    modality = 'audio'\n    input = {}\n"
        "    def forward(self, waveform, lengths):\n        return waveform[:, :4] * float('nan')\n"
    )
    ref = EncoderRef(str(path), "audio")
    plan = make_plan([ref], select_tasks(["mock-pitch", "mock-disk"], None))
    options = RunOptions(out=None)
    events: list[Event] = []
    with this_site([ref], options) as site:
        worker = Worker(options, site)
        worker.hello()
        carry_out(Board(plan.units, {"mock-pitch": "mock-pitch"}, events.append), worker.do)
    local: list[Event] = []
    execute(plan, options, local.append)
    failures = [
        {(e.task, e.detail) for e in told if e.phase == "failure"} for told in (events, local)
    ]
    assert failures[0] == failures[1]
    assert {task for task, _ in failures[0]} == {"mock-pitch", "mock-disk"}


def scores(events: list[Event]) -> dict[str, dict[str, object]]:
    """Everything of the results but what they cost."""
    return {
        event.result.identity: event.result.model_dump(exclude={"cost"})
        for event in events
        if event.result is not None
    }
