"""From result files to what a person reads: domain scores, intervals, ranks, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import aggregate, interval, normalised, rank_intervals
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


@dataclass
class Row:
    """One encoder over the domains."""

    encoder: str
    results: dict[Cell, Result]
    domains: dict[str, DomainScore] = field(default_factory=dict)
    missing: dict[str, list[Cell]] = field(default_factory=dict)  # domain -> pairs others have
    total: Estimate | None = None  # only with all six domains

    @property
    def any_result(self) -> Result:
        return next(iter(self.results.values()))


@dataclass
class Summary:
    """A run, summed up."""

    rows: list[Row]
    cells: dict[str, list[Cell]]  # domain -> its pairs
    simulated: dict[str, tuple[int, int]]  # domain -> (simulated tasks, tasks)


def summarise(results: Sequence[Result]) -> Summary:
    """Sum up results: domain means only where an encoder has every pair of that domain.

    Raises:
        SslBenchError: the same pair scored with two versions of a task or protocol, or on
            different data.
    """
    _same_versions(results)
    rows: dict[str, Row] = {}
    cells: dict[str, list[Cell]] = {}
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
    simulated = {
        domain: _simulated([r for r in results if r.task.modality == domain]) for domain in cells
    }
    return Summary(sorted(rows.values(), key=_order), cells, simulated)


def _same_versions(results: Sequence[Result]) -> None:
    seen: dict[Cell, tuple[Result, object]] = {}
    for result in results:
        cell = (result.task.name, result.protocol.name)
        facts = (result.task.version, result.protocol.version, result.task.fingerprint["test"])
        first, known = seen.setdefault(cell, (result, facts))
        if known != facts:
            raise SslBenchError(
                f"{first.encoder.name} and {result.encoder.name} were scored on {cell[0]} / "
                f"{cell[1]} with different versions or data; evaluate both again before comparing"
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
    for domain, wanted in cells.items():
        own = [cell for cell in wanted if cell in row.results]
        if not own:
            continue
        absent = [cell for cell in wanted if cell not in row.results]
        if absent:
            row.missing[domain] = absent
            continue
        scores[domain] = {"/".join(cell): normalised_score(row.results[cell]) for cell in own}
    for domain, parts in scores.items():
        replicates = np.mean([drawn for _, drawn in parts.values()], axis=0)
        mean = float(np.mean([value for value, _ in parts.values()]))
        row.domains[domain] = DomainScore(interval(mean, replicates), replicates)
    if set(row.domains) == set(MODALITIES):
        row.total = aggregate(scores).total


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


def _order(row: Row) -> tuple[int, float, str]:
    if row.total is not None:
        return (-1, -row.total.value, row.encoder)
    for index, domain in enumerate(MODALITIES):
        if domain in row.domains:
            return (index, -row.domains[domain].estimate.value, row.encoder)
        if domain in row.missing:
            return (index, 1.0, row.encoder)
    return (len(MODALITIES), 0.0, row.encoder)
