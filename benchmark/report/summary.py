"""From result files to what a person reads: domain scores, intervals, ranks, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import aggregate, borda, interval, normalised, rank_intervals
from benchmark.errors import SslBenchError
from benchmark.modalities import MODALITIES
from benchmark.protocols.contract import Estimate
from benchmark.results import Result

Cell = tuple[str, str]  # (task, protocol)


@dataclass
class DomainScore:
    """An encoder's chance-normalised mean over a domain's (task, protocol) pairs."""

    estimate: Estimate
    replicates: NDArray[np.float64]
    rank: tuple[int, int] = (1, 1)
    seen: bool = False  # the encoder's pretraining data holds the data of one of the tasks


@dataclass
class Row:
    """One encoder over the domains."""

    encoder: str
    results: dict[Cell, Result]
    domains: dict[str, DomainScore] = field(default_factory=dict)
    missing: dict[str, list[Cell]] = field(default_factory=dict)  # domain -> pairs others have
    total: Estimate | None = None  # only with all six domains
    normalised: list[float] = field(default_factory=list)  # of those with a total, pair by pair
    borda: float | None = None  # mean number of encoders beaten, among those with a total

    @property
    def any_result(self) -> Result:
        return next(iter(self.results.values()))


@dataclass
class Summary:
    """A run, summed up."""

    rows: list[Row]
    cells: dict[str, list[Cell]]  # domain -> its pairs
    simulated: dict[str, tuple[int, int]]  # domain -> (simulated tasks, tasks)
    other_size: dict[str, dict[str, str]]  # domain -> task -> how its size is not as published


def summarise(results: Sequence[Result], expected: Iterable[tuple[str, str, str]] = ()) -> Summary:
    """Sum up results: domain means only where an encoder has every pair of that domain.

    `expected` are the (modality, task, protocol) that the run is made of; what any encoder has is
    expected of all. Zero-shot stands in the tables but not in the means: only encoders with a text
    tower can have it.

    Raises:
        SslBenchError: results that do not go together: another version of a task or protocol,
            other data or another seed, or one name for two encoders.
    """
    _go_together(results)
    rows: dict[str, Row] = {}
    cells: dict[str, list[Cell]] = {}
    modalities = {result.task.modality for result in results}
    for modality, task, name in expected:
        if modality in modalities and name != "zero-shot":
            cells.setdefault(modality, []).append((task, name))
    for result in results:
        cell = (result.task.name, result.protocol.name)
        row = rows.setdefault(result.encoder.name, Row(result.encoder.name, {}))
        row.results[cell] = result
        domain = cells.setdefault(result.task.modality, [])
        if cell not in domain:
            domain.append(cell)
    cells = {name: sorted(cells[name]) for name in MODALITIES if name in cells}
    for row in rows.values():
        _fill(row, cells)
    for name in cells:
        _rank(name, [row for row in rows.values() if name in row.domains])
    _count_borda([row for row in rows.values() if row.total is not None])
    simulated = {
        domain: _simulated([r for r in results if r.task.modality == domain]) for domain in cells
    }
    other = {d: other_sizes([r for r in results if r.task.modality == d]) for d in cells}
    return Summary(sorted(rows.values(), key=_order), cells, simulated, other)


def _go_together(results: Sequence[Result]) -> None:
    seen: dict[Cell, tuple[Result, object]] = {}
    digests: dict[str, str] = {}
    for result in results:
        cell = (result.task.name, result.protocol.name)
        task = result.task
        facts = (task.version, result.protocol.version, task.fingerprint, result.seed)
        first, known = seen.setdefault(cell, (result, facts))
        if known != facts:
            raise SslBenchError(
                f"{first.encoder.name} and {result.encoder.name} were scored on {cell[0]} / "
                f"{cell[1]} with different versions, data or seeds; evaluate both again before "
                "comparing"
            )
        encoder = result.encoder
        if digests.setdefault(encoder.name, encoder.digest) != encoder.digest:
            raise SslBenchError(
                f"the results hold two different encoders under the name {encoder.name} (other "
                "weights, code or input): rename one, or evaluate it into a folder of its own"
            )


def normalised_score(result: Result) -> tuple[float, NDArray[np.float64]]:
    """Chance-normalised main score and its replicates, (R,)."""
    task = result.task
    ceiling = task.ceiling
    metric = result.metric.partition("@")[0]
    value = normalised(result.score.value, task.chance, ceiling, metric)
    replicates = normalised(result.bootstrap().astype(np.float64), task.chance, ceiling, metric)
    return float(value), replicates


def _fill(row: Row, cells: dict[str, list[Cell]]) -> None:
    scores: dict[str, dict[str, tuple[float, NDArray[np.float64]]]] = {}
    for domain, listed in cells.items():
        wanted = [cell for cell in listed if cell[1] != "zero-shot"]
        own = [cell for cell in wanted if cell in row.results]
        if row.any_result.task.modality != domain and not own:
            continue
        absent = [cell for cell in wanted if cell not in row.results]
        if absent:
            row.missing[domain] = absent
            continue
        if not own:
            continue
        scores[domain] = {"/".join(cell): normalised_score(row.results[cell]) for cell in own}
    for domain, parts in scores.items():
        replicates = np.mean([drawn for _, drawn in parts.values()], axis=0)
        mean = float(np.mean([value for value, _ in parts.values()]))
        counted = [row.results[cell] for cell in cells[domain] if cell in row.results]
        seen = any(result.encoder.seen_in_pretraining for result in counted)
        row.domains[domain] = DomainScore(interval(mean, replicates), replicates, seen=seen)
    if set(row.domains) == set(MODALITIES):
        row.total = aggregate(scores).total
        row.normalised = [value for parts in scores.values() for value, _ in parts.values()]


def _count_borda(rows: list[Row]) -> None:
    if rows:
        points, _ = borda(np.array([row.normalised for row in rows]))
        for row, value in zip(rows, points, strict=True):
            row.borda = float(value)


def _rank(domain: str, rows: list[Row]) -> None:
    if not rows:
        return
    scores = [row.domains[domain] for row in rows]
    values = [score.estimate.value for score in scores]
    ranks = rank_intervals(values, np.stack([score.replicates for score in scores]))
    for score, rank in zip(scores, ranks, strict=True):
        score.rank = rank


def _simulated(results: list[Result]) -> tuple[int, int]:
    tasks = {result.task.name: result.task.simulated for result in results}
    return sum(tasks.values()), len(tasks)


def other_sizes(results: Sequence[Result]) -> dict[str, str]:
    """Task -> how the size of its data differs from the published one, where it does."""
    found = {result.task.name: result.task.other_size for result in results}
    return {task: differs for task, differs in found.items() if differs}


def _order(row: Row) -> tuple[int, float, str]:
    if row.total is not None:
        return (-1, -row.total.value, row.encoder)
    for index, domain in enumerate(MODALITIES):
        if domain in row.domains:
            return (index, -row.domains[domain].estimate.value, row.encoder)
        if domain in row.missing:
            return (index, 1.0, row.encoder)
    return (len(MODALITIES), 0.0, row.encoder)
