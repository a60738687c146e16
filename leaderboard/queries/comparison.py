"""Up to four encoders side by side: paired differences on the same resamples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.bootstrap import LEVEL, paired_difference
from benchmark.metrics import higher_is_better
from leaderboard.db import Encoder, Result, ResultPayload, Standing
from leaderboard.queries.results import shown
from leaderboard.results.documents import replicates_of

MOST = 4


@dataclass(frozen=True)
class Difference:
    """`encoder` minus the reference; `real` where a paired bootstrap separates them at 5%."""

    value: float
    low: float | None
    high: float | None
    p: float
    real: bool
    better: bool  # the encoder is ahead of the reference


@dataclass(frozen=True)
class Comparison:
    """One line: a (task, protocol), or a domain's mean."""

    name: str
    protocol: str
    modality: str
    metric: str
    simulated: bool
    other_size: bool
    scores: tuple[float | None, ...]  # one per encoder
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]
    differences: tuple[Difference | None, ...]  # of each but the first, to the first


def compare_tasks(session: Session, encoders: Sequence[Encoder]) -> list[Comparison]:
    """Every (task, protocol) that at least two of the encoders have."""
    ids = [encoder.id for encoder in encoders]
    cells: dict[tuple[str, str, str], dict[int, Result]] = {}
    for result in session.scalars(shown(Result.encoder_id.in_(ids))):
        cell = (result.modality, result.task, result.protocol)
        cells.setdefault(cell, {})[result.encoder_id] = result
    chosen = {cell: own for cell, own in sorted(cells.items()) if len(own) > 1}
    wanted = [result.id for own in chosen.values() for result in own.values()]
    drawn = _replicates(session, wanted)
    lines = []
    for (modality, task, protocol), own in chosen.items():
        results = [own.get(key) for key in ids]
        any_result = next(iter(own.values()))
        differences = [
            _difference(drawn[result.id], drawn[first.id], result.score, first.score, result.metric)
            if result is not None and (first := results[0]) is not None
            else None
            for result in results[1:]
        ]
        lines.append(
            Comparison(
                task,
                protocol,
                modality,
                any_result.metric,
                any_result.simulated,
                any_result.other_size,
                tuple(None if result is None else result.score for result in results),
                tuple(None if result is None else result.low for result in results),
                tuple(None if result is None else result.high for result in results),
                tuple(differences),
            )
        )
    return lines


def compare_domains(
    session: Session, encoders: Sequence[Encoder], suite: str, protocol: str
) -> list[Comparison]:
    """The means over domains in which at least two of the encoders are complete."""
    ids = [encoder.id for encoder in encoders]
    rows: dict[str, dict[int, Standing]] = {}
    for standing in session.scalars(
        select(Standing).where(
            Standing.suite == suite,
            Standing.protocol == protocol,
            Standing.encoder_id.in_(ids),
            Standing.score.is_not(None),
        )
    ):
        rows.setdefault(standing.domain, {})[standing.encoder_id] = standing
    lines = []
    for domain, own in sorted(rows.items()):
        places = [own.get(key) for key in ids]
        if len(own) < 2:
            continue
        first = places[0]
        differences = [
            None
            if place is None or first is None or place.score is None or first.score is None
            else _difference(
                replicates_of(place.replicates or b""),
                replicates_of(first.replicates or b""),
                place.score,
                first.score,
                "accuracy",
            )
            for place in places[1:]
        ]
        lines.append(
            Comparison(
                domain,
                protocol,
                domain,
                "chance-normalised score",
                any(place.simulated for place in own.values()),
                any(place.other_size for place in own.values()),
                tuple(None if place is None else place.score for place in places),
                tuple(None if place is None else place.low for place in places),
                tuple(None if place is None else place.high for place in places),
                tuple(differences),
            )
        )
    return lines


def _replicates(session: Session, ids: Sequence[int]) -> dict[int, np.ndarray]:  # type: ignore[type-arg]
    found = {}
    for start in range(0, len(ids), 500):
        rows = session.execute(
            select(ResultPayload.result_id, ResultPayload.replicates).where(
                ResultPayload.result_id.in_(ids[start : start + 500])
            )
        )
        found.update({key: replicates_of(drawn) for key, drawn in rows})
    return found


def _difference(
    a: np.ndarray,  # type: ignore[type-arg]
    b: np.ndarray,  # type: ignore[type-arg]
    value_a: float,
    value_b: float,
    metric: str,
) -> Difference:
    value, low, high, p = paired_difference(a, b, value_a, value_b)
    return Difference(
        value,
        None if math.isnan(low) else low,
        None if math.isnan(high) else high,
        p,
        bool(p < LEVEL and value != 0),
        (value > 0) == higher_is_better(metric) and value != 0,
    )
