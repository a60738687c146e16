"""An encoder's mean on a board, from its results or from its domains."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import interval
from leaderboard.db import ResultState, Standing
from leaderboard.results.documents import finite, replicates_of


class Row(NamedTuple):
    """What a mean needs of a result."""

    encoder_id: int
    task: str
    protocol: str
    normalised: float
    chance: float
    ceiling: float
    state: ResultState
    simulated: bool
    other_size: bool
    samples_per_second: float | None
    seen_in_pretraining: bool
    measured: datetime
    replicates: bytes


def fill(standing: Standing, cells: Sequence[tuple[str, str]], rows: Sequence[Row]) -> Standing:
    """`standing` from an encoder's results in the board's cells: no mean where one is missing."""
    own = {(row.task, row.protocol): row for row in rows}
    speeds = [row.samples_per_second for row in rows if row.samples_per_second]
    tasks = {row.task: row.simulated for row in rows}
    standing.cells = len(own)
    standing.missing = [list(cell) for cell in cells if cell not in own]
    standing.verified = all(row.state == ResultState.VERIFIED for row in rows)
    standing.simulated, standing.tasks = sum(tasks.values()), len(tasks)
    standing.other_size = len({row.task for row in rows if row.other_size})
    standing.samples_per_second = float(np.mean(speeds)) if speeds else None
    standing.seen_in_pretraining = any(row.seen_in_pretraining for row in rows)
    standing.measured = max(row.measured for row in rows)
    if not standing.missing:
        drawn = [
            (replicates_of(row.replicates).astype(np.float64) - row.chance)
            / (row.ceiling - row.chance)
            for row in rows
        ]
        _score(standing, float(np.mean([row.normalised for row in rows])), np.mean(drawn, axis=0))
        standing.values = values_to_bytes([own[cell].normalised for cell in cells])
    return standing


def summed_up(standing: Standing, domains: Sequence[Standing]) -> Standing:
    """`standing` over all domains, from a complete standing in each."""
    speeds = [row.samples_per_second for row in domains if row.samples_per_second]
    standing.cells = sum(row.cells for row in domains)
    standing.missing = []
    standing.verified = all(row.verified for row in domains)
    standing.simulated = sum(row.simulated for row in domains)
    standing.other_size = sum(row.other_size for row in domains)
    standing.tasks = sum(row.tasks for row in domains)
    standing.samples_per_second = float(np.mean(speeds)) if speeds else None
    standing.seen_in_pretraining = any(row.seen_in_pretraining for row in domains)
    standing.measured = max((row.measured for row in domains if row.measured), default=None)
    drawn = [replicates_of(row.replicates or b"").astype(np.float64) for row in domains]
    mean = float(np.mean([row.score for row in domains if row.score is not None]))
    _score(standing, mean, np.mean(drawn, axis=0))
    if all(row.values is not None for row in domains):  # of an older version there are none
        standing.values = b"".join(row.values or b"" for row in domains)
    return standing


def values_to_bytes(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    """Scores as `Standing.values` keeps them."""
    return np.asarray(values, dtype="<f8").tobytes()


def _score(standing: Standing, mean: float, drawn: NDArray[Any]) -> None:
    estimate = interval(mean, drawn)
    standing.score = mean
    standing.low, standing.high = finite(estimate.low), finite(estimate.high)
    standing.replicates = drawn.astype("<f4").tobytes()
