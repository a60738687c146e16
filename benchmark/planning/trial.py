"""Measuring what no run has measured: one shard of each is embedded, and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from benchmark.catalog import load_task
from benchmark.errors import SslBenchError
from benchmark.events import RunOptions
from benchmark.needs import needed_entry
from benchmark.planning.outlook import Stored, UnitOutlook
from benchmark.planning.throughput import Measurement, Throughput, record
from benchmark.run import loaded

SHARDS = 2  # the first also warms up


def prepare_all(outlooks: Sequence[UnitOutlook], options: RunOptions) -> None:
    """Prepare the sources that are not, so that their sizes are known; those that cannot be are
    left for the run to tell."""
    from benchmark.prepare import prepare

    for name in dict.fromkeys(task for outlook in outlooks for task in outlook.unprepared):
        with suppress(SslBenchError, ImportError):
            prepare(load_task(name, options.data_dir))


def measure(outlooks: Sequence[UnitOutlook], options: RunOptions, table: Throughput) -> None:
    """Embed a shard or two of every encoder and kind of output whose throughput is not known, on
    this machine.

    Raises:
        SslBenchError: an encoder fails.
    """
    device = options.device.partition(":")[0]
    for outlook in outlooks:
        tried = set[str]()
        for stored in outlook.stored.values():
            kind, source = stored.need.kind, stored.need.source
            count = stored.examples_missing
            known = table.embed(outlook.name, source, kind, device, options.threads, count)
            if stored.missing and kind not in tried and known is None:
                tried.add(kind)
                _embed_some(outlook, stored, options)


def _embed_some(outlook: UnitOutlook, stored: Stored, options: RunOptions) -> None:
    from benchmark.embed import Source, embed_shards
    from benchmark.prepare import open_source
    from benchmark.run import embed_options

    task = load_task(stored.task, options.data_dir)
    encoder = loaded(outlook.encoder, options.seed)
    need = stored.need
    entry = needed_entry(need, task, encoder, options)
    source = Source(open_source(task, need.split), need.towers, task.materialise)
    for index in stored.missing[:SHARDS]:
        begun = time.perf_counter()
        embed_shards(encoder, source, need.kind, entry, [index], embed_options(options))
        seconds = time.perf_counter() - begun
    record(
        Measurement(
            "embed",
            round(seconds, 4),
            encoder=encoder.name,
            source=need.source,
            detail=need.kind,
            device=options.device.partition(":")[0],
            threads=options.threads,
            examples=len(entry.span(index)),
        )
    )
