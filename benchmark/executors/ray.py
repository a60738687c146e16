"""Carrying out a plan on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from benchmark.catalog import load_task
from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions, Tell
from benchmark.executors.board import Board
from benchmark.executors.cluster import Cluster
from benchmark.executors.pool import Done, Pool
from benchmark.executors.resources import Shape, modest, no_room, shape_of
from benchmark.executors.site import this_site
from benchmark.known import reuse
from benchmark.paths import absolute, cache_root
from benchmark.plan import Plan, Unit
from benchmark.results import write_result

WAIT_SECONDS = 0.5


def execute_on(
    cluster: Cluster, plan: Plan, options: RunOptions, tell: Tell, most: int | None = None
) -> None:
    """Run every unit of a plan on a cluster, with `most` workers (default: all that fit).

    Encoders of one size go together: a worker asks for what one of them needs.

    Raises:
        SslBenchError: a node does not see what this machine sees, or the cluster has no room.
    """
    units = [rest for unit in plan.units if (rest := reuse(unit, options, tell)) is not None]
    by_shape: dict[Shape, list[Unit]] = {}
    nodes = cluster.nodes()
    for unit in units:
        shape = modest(shape_of(unit.encoder, options.device, options.threads), nodes)
        by_shape.setdefault(shape, []).append(unit)

    def told(event: Event) -> None:
        if event.result is not None:
            if options.out is not None:
                write_result(event.result, options.out / "results")
            kept = cache_root() / "results" / f"{event.result.identity}.json"
            if not kept.exists():  # the worker's cache is another one
                write_result(event.result, kept.parent, kept.name)
        tell(event)

    theirs = anywhere(options)
    with this_site([unit.encoder for unit in units], theirs) as site:
        for shape in sorted(by_shape, reverse=True):
            board = Board(by_shape[shape], _sources(by_shape[shape], options), told)
            with Pool(cluster, shape, theirs, site, most) as pool:
                _carry_out(board, pool)


def anywhere(options: RunOptions) -> RunOptions:
    """The options as workers take them: absolute places, results only told."""
    data_dir, store = absolute(options.data_dir), absolute(options.store)
    store = None if store is None else str(store)
    return replace(options, out=None, data_dir=data_dir, store=store)


def room(
    cluster: Cluster, plan: Plan, device: str, threads: int, most: int | None
) -> tuple[int, float]:
    """How many workers the cluster has room for at present, and each one's share of a GPU; of the
    largest that the plan needs.

    Raises:
        SslBenchError: not even one, and no number was asked for.
    """
    nodes = cluster.nodes()
    shapes = [modest(shape_of(unit.encoder, device, threads), nodes) for unit in plan.units]
    largest = max(shapes)
    workers = most or sum(largest.fits(node) for node in nodes)
    if not workers:
        raise SslBenchError(no_room(largest, nodes))
    return workers, largest.gpus


def _carry_out(board: Board, pool: Pool) -> None:
    while not board.finished:
        pool.adjust(board.parallel)
        for member in pool.idle():
            job = board.take(member.held, pool.holders(member), pool.size)
            if job is not None:
                pool.give(member, job)
        for found in pool.wait(WAIT_SECONDS):
            if isinstance(found, Done):
                board.done(found.job, found.answer)
            else:
                board.lost(found.job, found.reason, found.crashed)


def _sources(units: Sequence[Unit], options: RunOptions) -> dict[str, str]:
    """Task -> the task by which its source is prepared; without those that cannot be read, which
    the unit that needs them tells."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for unit in units:
        for task, _ in unit.jobs:
            with suppress(SslBenchError, ImportError):
                source = load_task(task, options.data_dir).source
                found[task] = first.setdefault(source, task)
    return found
