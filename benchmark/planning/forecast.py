"""How long a run would take: its outlook, times what the throughput table says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmark.planning.machines import Machines
from benchmark.planning.outlook import UnitOutlook
from benchmark.planning.throughput import Estimate, Throughput


@dataclass
class UnitForecast:
    """One encoder on one source; seconds are of one worker."""

    outlook: UnitOutlook
    load: float = 0.0
    embed: float = 0.0
    score: float = 0.0
    longest: float = 0.0  # of what cannot be divided
    bytes: int = 0  # that the store will grow by, as far as known
    unmeasured: list[str] = field(default_factory=list)  # what no run has measured
    inexact: bool = False  # measured on other data or encoders

    @property
    def work(self) -> float:
        return self.embed + self.score


@dataclass(frozen=True)
class Forecast:
    """The whole run."""

    units: list[UnitForecast]
    machines: Machines
    start: float
    prepare: float

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run."""
        busy = [unit for unit in self.units if unit.outlook.cells]
        if not busy:
            return 0.0
        spread = _by_shards if self.machines.executor == "ray" else _by_units
        return self.start + self.prepare + spread(busy, self.machines.workers)

    @property
    def device_hours(self) -> float:
        """GPU-hours, or core-hours where there is no GPU."""
        work = sum(unit.load + unit.work for unit in self.units)
        each = self.machines.share if self.machines.device == "cuda" else self.machines.threads
        return work * each / 3600

    @property
    def unmeasured(self) -> list[str]:
        return list(dict.fromkeys(item for unit in self.units for item in unit.unmeasured))


def forecast(outlooks: Sequence[UnitOutlook], table: Throughput, machines: Machines) -> Forecast:
    """Times for what is to be done, as far as they have been measured."""
    units = [_unit(outlook, table, machines) for outlook in outlooks]
    start = table.start(machines.executor)
    sources = dict.fromkeys(task for outlook in outlooks for task in outlook.unprepared)
    known = [table.prepare(task) for task in sources]
    prepare = sum(estimate.seconds for estimate in known if estimate)
    return Forecast(
        units, machines, start.seconds if start else 0.0, prepare / max(1, machines.workers)
    )


def _unit(outlook: UnitOutlook, table: Throughput, machines: Machines) -> UnitForecast:
    found = UnitForecast(outlook)

    def seconds(estimate: Estimate | None, what: str) -> float:
        if estimate is None:
            found.unmeasured.append(what)
            return 0.0
        found.inexact |= not estimate.exact
        return estimate.seconds

    name, device, threads = outlook.name, machines.device, machines.threads
    if outlook.cells:
        estimate = table.load(name)
        found.load = estimate.seconds if estimate else 0.0
    for stored in outlook.stored.values():
        source, kind, count = stored.need.source, stored.need.kind, stored.examples_missing
        if count:
            what = f"embedding {source} ({kind}) with {name}"
            found.embed += seconds(table.embed(name, source, kind, device, threads, count), what)
            found.bytes += table.bytes(name, source, kind, count) or 0
    for task, protocol in outlook.cells:
        what = f"{protocol} on {task}"
        each = seconds(table.score(name, task, protocol, device, threads), what)
        found.score += each
        found.longest = max(found.longest, each)
    return found


def _by_units(units: Sequence[UnitForecast], workers: int) -> float:
    """Each worker takes a whole unit at a time, in order."""
    return makespan([unit.load + unit.work for unit in units], workers)


def _by_shards(units: Sequence[UnitForecast], workers: int) -> float:
    """Shards and protocols are shared out; encoders are loaded wherever they are worked with."""
    encoders = {unit.outlook.encoder: unit.load for unit in units}
    copies = max(1.0, workers / len(encoders))
    work = sum(unit.work for unit in units) + sum(encoders.values()) * copies
    longest = max(unit.load + unit.longest for unit in units)
    return max(work / workers, longest)


def makespan(lengths: Iterable[float], workers: int) -> float:
    """When the last of `workers` is done who take pieces of work in order."""
    ends = [0.0] * max(1, workers)
    for length in lengths:
        ends.sort()
        ends[0] += length
    return max(ends)
