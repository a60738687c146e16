"""What a run would do, looked up without doing it: what is known, stored, and missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmark.catalog import load_task
from benchmark.errors import SslBenchError
from benchmark.events import Event, RunOptions
from benchmark.known import Known, encoder_recipe, reuse
from benchmark.needs import Need, needed_entry, needs
from benchmark.plan import EncoderRef, Plan, Unit
from benchmark.prepare import prepared_folder
from benchmark.run import failure_detail, loaded


@dataclass(frozen=True)
class Stored:
    """What is needed of one split, and how much of it the store has."""

    need: Need
    task: str  # any of the source
    examples: int
    shards: int
    size: int  # examples to a shard
    missing: tuple[int, ...]

    @property
    def examples_missing(self) -> int:
        return min(self.examples, len(self.missing) * self.size)


@dataclass
class UnitOutlook:
    """One encoder on one source."""

    encoder: EncoderRef
    name: str  # of the encoder in results
    known: int = 0  # results and reasons to skip that are there already
    cells: list[tuple[str, str]] = field(default_factory=list)  # (task, protocol) to be scored
    stored: dict[Need, Stored] = field(default_factory=dict)
    unprepared: list[str] = field(default_factory=list)  # tasks whose data is not prepared yet
    problem: str = ""  # why nothing can be said, which is also why it would fail


def look_ahead(plan: Plan, options: RunOptions) -> list[UnitOutlook]:
    """The outlook of every unit. Loads encoders that have something to do; prepares nothing,
    embeds nothing and writes nothing."""
    options = replace(options, out=None)
    return [_look(unit, options) for unit in plan.units]


def _look(unit: Unit, options: RunOptions) -> UnitOutlook:
    told: list[Event] = []
    found = UnitOutlook(unit.encoder, unit.encoder.name)
    rest = reuse(unit, options, told.append)
    try:
        for task, protocols in rest.jobs if rest else ():
            _look_at_task(found, task, protocols, options, told)
    except Exception as error:
        found.problem = failure_detail(error)
    found.known = len(told)
    return found


def _look_at_task(
    found: UnitOutlook,
    name: str,
    protocols: Sequence[str],
    options: RunOptions,
    told: list[Event],
) -> None:
    task = load_task(name, options.data_dir)
    encoder = loaded(found.encoder, options.seed)
    found.name = encoder.name
    try:
        prepared = (prepared_folder(task) / "prepared.json").is_file()
    except SslBenchError as error:
        found.problem = str(error)
        return
    if not prepared:
        found.unprepared.append(name)
        found.cells += [(name, protocol) for protocol in protocols]
        return
    recipe = encoder_recipe(found.encoder, options.seed) or encoder.digest
    known = Known(found.encoder, task, recipe, options, told.append)
    for protocol in protocols:
        if known.tell(protocol):
            continue
        read = needs(task, protocol, encoder)
        if not read:  # the run will skip it
            continue
        found.cells.append((name, protocol))
        for need in read:
            if need not in found.stored:
                entry = needed_entry(need, task, encoder, options)
                whole = entry.complete and not options.fresh
                absent = range(entry.shards) if options.fresh else entry.missing()
                missing = () if whole else tuple(absent)
                found.stored[need] = Stored(
                    need, name, entry.count, entry.shards, entry.size, missing
                )
