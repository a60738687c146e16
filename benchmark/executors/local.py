"""Carrying out a plan on this machine: in this process, or in several that share the store.

Each worker process takes one unit at a time and reports through a queue. Results are written by
the workers as they come, so an interrupted run loses nothing that was finished.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from queue import Empty
from typing import Any

from benchmark.catalog import load_task
from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions, Tell
from benchmark.executors.threads import THREAD_VARIABLES
from benchmark.known import reuse
from benchmark.plan import Plan, Unit
from benchmark.planning.throughput import Measurement, record
from benchmark.run import run_unit

_queue: Any = None  # in a worker: where its events go


def execute(plan: Plan, options: RunOptions, tell: Tell, workers: int = 1) -> None:
    """Run every unit of a plan; `tell` receives the events of all of them."""
    units = [rest for unit in plan.units if (rest := reuse(unit, options, tell)) is not None]
    if workers <= 1 or len(units) <= 1:
        _execute_here(units, options, tell)
        return
    _execute_in_processes(units, options, tell, min(workers, len(units)))


def default_workers(device: str) -> int:
    """One process per core on the CPU (at most 8); one on a GPU."""
    return 1 if device.startswith("cuda") else min(8, len(os.sched_getaffinity(0)))


def _execute_here(units: list[Unit], options: RunOptions, tell: Tell) -> None:
    if not units:
        return
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(options.threads)
    with threadpool_limits(limits=options.threads):
        for unit in units:
            run_unit(unit, options, tell)


def _execute_in_processes(units: list[Unit], options: RunOptions, tell: Tell, workers: int) -> None:
    context = multiprocessing.get_context("forkserver")  # imports once what every worker needs
    context.set_forkserver_preload(["benchmark.run", "benchmark.embed", "datasets"])
    queue = context.Queue()
    # inherited by the server of the workers, before any numerical library is loaded there
    before = dict(os.environ)
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(options.threads))
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (queue,))
    waiting: dict[Future[None], str] = {}
    try:
        for task in _one_task_per_source(units, options):
            waiting[pool.submit(_prepare, task, options)] = f"preparing {task}"
        _drain(waiting, queue, tell)
        for unit in units:
            label = f"{unit.encoder.name} on {', '.join(task for task, _ in unit.jobs)}"
            waiting[pool.submit(_work, unit, options)] = label
        _drain(waiting, queue, tell)
    except BaseException:
        for process in list(getattr(pool, "_processes", None) or {}):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        for name in THREAD_VARIABLES:
            os.environ.pop(name)
        os.environ |= {name: before[name] for name in THREAD_VARIABLES if name in before}
    pool.shutdown()


def _one_task_per_source(units: list[Unit], options: RunOptions) -> list[str]:
    """A task of every source, so that each source is prepared once, all of them in parallel."""
    sources: dict[str, str] = {}
    for unit in units:
        for task, _ in unit.jobs:
            with suppress(SslBenchError, ImportError):  # told by the unit that needs it
                sources.setdefault(load_task(task, options.data_dir).source, task)
    return list(sources.values())


def _drain(waiting: dict[Future[None], str], queue: Any, tell: Tell) -> None:
    """Pass events on until every future is done; a worker that died is one clear error."""
    while waiting:
        for event in _events(queue):
            tell(event)
        done, _ = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
        for future in done:
            label = waiting.pop(future)
            try:
                future.result()
            except BrokenProcessPool:
                raise SslBenchError(
                    f"a worker process died ({label}), perhaps for want of memory: use --workers 1 "
                    "or a smaller --batch-size; what was finished is kept"
                ) from None
    time.sleep(0.05)  # the last events are on their way through the pipe
    for event in _events(queue):
        tell(event)


def _events(queue: Any) -> Iterator[Event]:
    while True:
        try:
            yield queue.get_nowait()
        except Empty:
            return


def _begin_worker(queue: Any) -> None:
    global _queue  # noqa: PLW0603 - the pool's only way to hand a worker its queue
    _queue = queue
    logging.getLogger("ssl_bench").addHandler(_ToParent())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_die_with_parent, daemon=True).start()


class _ToParent(logging.Handler):
    """Sends a worker's warnings to the parent's terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        _queue.put(Event("notice", "", "", record.getMessage()))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare(task: str, options: RunOptions) -> None:
    from benchmark.prepare import prepare

    def progress(split: str, done: int) -> None:
        _queue.put(Event("prepare", "", task, split, done))

    _queue.put(Event("prepare", "", task))
    started = time.perf_counter()
    with suppress(SslBenchError, ImportError):  # told by the unit that needs it
        prepare(load_task(task, options.data_dir), progress)
        record(Measurement("prepare", round(time.perf_counter() - started, 4), source=task))
    _queue.put(Event("prepared", "", task))


def _work(unit: Unit, options: RunOptions) -> None:
    run_unit(unit, options, _queue.put)
