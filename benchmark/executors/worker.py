"""Does one job after the other in a process of its own, with the encoder at hand kept loaded."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from benchmark.catalog import load_task
from benchmark.errors import SslBenchError
from benchmark.events import Event, Pace, RunOptions
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
from benchmark.executors.site import Site
from benchmark.needs import Need, needed_entry, needs
from benchmark.plan import EncoderRef, Unit
from benchmark.planning.throughput import Measurement, collected, record
from benchmark.run import embed_options, failure_detail, loaded, run_unit

if TYPE_CHECKING:
    from benchmark.embed import Source
    from benchmark.store import Entry


class Worker:
    """Carries out jobs; every answer is complete in itself, so a worker can be lost at any time."""

    def __init__(self, options: RunOptions, site: Site) -> None:
        self.options = options
        self.site = site
        self._held: EncoderRef | None = None
        self._source = lru_cache(maxsize=4)(self._open)
        self._entry = lru_cache(maxsize=4)(self._find)

    def hello(self) -> str:
        """Get ready: the driver's folder, its number of threads; the host's name.

        Raises:
            SslBenchError: this node does not see what the driver sees.
        """
        with suppress(OSError):
            os.chdir(self.site.folder)
        self.site.verify()
        import datasets  # noqa: F401 - what takes seconds to import is imported while others start
        import torch
        from threadpoolctl import threadpool_limits

        import benchmark.embed
        import benchmark.splits  # noqa: F401

        torch.set_num_threads(self.options.threads)
        threadpool_limits(limits=self.options.threads)  # without a block: from now on
        return socket.gethostname()

    def do(self, job: Job) -> Answer:
        """Carry out one job; what fails is in the answer, and warnings are."""
        begun = time.perf_counter()
        logger, notices = logging.getLogger("ssl_bench"), _Notices()
        logger.addHandler(notices)
        with collected() as measured:
            try:
                value, failure = self._carry_out(job), ""
            except Exception as error:
                value, failure = None, failure_detail(error)
            finally:
                logger.removeHandler(notices)
        seconds = time.perf_counter() - begun
        return Answer(value, failure, seconds, tuple(notices.events), tuple(measured))

    def _carry_out(self, job: Job) -> Any:
        if job.encoder is not None and job.encoder != self._held:
            self._let_go(job.encoder)
        kinds: dict[type, Callable[[Any], Any]] = {
            Prepare: self._prepare,
            Survey: self._survey,
            Embed: self._embed,
            Seal: self._seal,
            Score: self._score,
        }
        return kinds[type(job)](job)

    def _let_go(self, taken: EncoderRef) -> None:
        """One encoder at a time: what a worker asked its node for is enough for one."""
        if self._held is not None:
            loaded.cache_clear()
            if self.options.device.startswith("cuda"):
                import torch

                torch.cuda.empty_cache()
        self._held = taken

    def _prepare(self, job: Prepare) -> None:
        from benchmark.prepare import prepare

        started = time.perf_counter()
        with suppress(SslBenchError, ImportError):  # told by what needs it
            prepare(load_task(job.task, self.options.data_dir))
            record(Measurement("prepare", round(time.perf_counter() - started, 4), source=job.task))

    def _survey(self, job: Survey) -> Surveyed:
        encoder = loaded(job.encoder, self.options.seed)
        cells, stock = [], dict[Need, Stock]()
        for name, protocols in job.unit.jobs:
            task = load_task(name, self.options.data_dir)
            for protocol in protocols:
                read = needs(task, protocol, encoder)
                cells.append((name, protocol, read))
                for need in read:
                    if need not in stock:
                        entry = needed_entry(need, task, encoder, self.options)
                        fresh = self.options.fresh
                        missing = range(entry.shards) if fresh else entry.missing()
                        complete = not missing and entry.complete
                        if missing:  # it states checksums of shards that will be others
                            (entry.folder / "manifest.json").unlink(missing_ok=True)
                        stock[need] = Stock(
                            name, entry.count, entry.shards, entry.size, tuple(missing), complete
                        )
        return Surveyed(tuple(cells), stock)

    def _open(self, task_name: str, split: str, towers: tuple[str, ...]) -> Source:
        from benchmark.embed import Source
        from benchmark.prepare import open_source

        task = load_task(task_name, self.options.data_dir)
        return Source(open_source(task, split), towers, task.materialise)

    def _find(self, encoder: EncoderRef, need: Need, task_name: str) -> Entry:
        task = load_task(task_name, self.options.data_dir)
        return needed_entry(need, task, loaded(encoder, self.options.seed), self.options)

    def _embed(self, job: Embed) -> Pace:
        from benchmark.embed import embed_shards

        o, need = self.options, job.need
        encoder = loaded(job.encoder, o.seed)
        entry = self._entry(job.encoder, need, job.task)
        shards = job.shards
        if job.again and not o.fresh:
            left = set(self._find(job.encoder, need, job.task).missing())  # others write too
            shards = tuple(index for index in shards if index in left)
        if not shards:
            return Pace()
        source = self._source(job.task, need.split, need.towers)
        started = time.perf_counter()
        clock = embed_shards(encoder, source, need.kind, entry, shards, embed_options(o))
        record(
            Measurement(
                "embed",
                round(time.perf_counter() - started, 4),
                encoder=encoder.name,
                source=need.source,
                detail=need.kind,
                device=o.device.partition(":")[0],
                threads=o.threads,
                examples=sum(len(entry.span(index)) for index in shards),
            )
        )
        return Pace(clock.waiting, clock.computing)

    def _seal(self, job: Seal) -> tuple[int, ...]:
        entry = self._find(job.encoder, job.need, job.task)
        with entry.exclusive():
            missing = tuple(entry.missing())
            if not missing:
                entry.finish()
        return missing

    def _score(self, job: Score) -> list[Event]:
        events: list[Event] = []
        options = replace(self.options, out=None, embedded=True)
        run_unit(Unit(job.encoder, ((job.task, job.protocols),)), options, events.append)
        return [event for event in events if event.phase in ("result", "skip", "failure")]


class _Notices(logging.Handler):
    """Keeps the warnings of one job."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.events.append(Event("notice", "", "", record.getMessage()))
