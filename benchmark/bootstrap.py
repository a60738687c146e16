"""Uncertainty: group bootstrap, paired comparison, rank intervals, aggregation.

Groups (patients, speakers, source recordings) are resampled, never examples: examples of one group
are not independent. The resamples depend on the test groups and the seed alone, so two encoders on
one task, or one encoder on two tasks over the same patients, see the same resamples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.metrics import higher_is_better
from benchmark.protocols.contract import RESAMPLES, Estimate

Array = NDArray[Any]
LEVEL = 0.05


@dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of G groups: `codes` (N,) group of each example, `counts` (B, G)."""

    codes: Array
    counts: Array

    @property
    def groups(self) -> int:
        return self.counts.shape[1]


def resample_groups(groups: Array, seed: int = 0, resamples: int = RESAMPLES) -> Resamples:
    """Draw G of the G groups with replacement, `resamples` times.

    `groups` (N,) are names. The draw depends on the set of names and the seed, not on their order.
    """
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    digest = hashlib.sha256("\0".join([str(seed), *names.tolist()]).encode()).digest()
    generator = np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))
    size = len(names)
    drawn = generator.integers(0, size, (resamples, size), dtype=np.int64)
    drawn += size * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)
    return Resamples(codes, counts.astype(np.float32))


def seed_from(*parts: object) -> list[int]:
    """A seed for `numpy.random.default_rng` that depends on the text of `parts` alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return [int(word) for word in np.frombuffer(digest, dtype=np.uint32)]


def interval(value: float, replicates: Array) -> Estimate:
    """The percentile interval of `replicates` (B,), 95%; NaN where they are: no interval."""
    low, high = np.percentile(replicates, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
    return Estimate(float(value), float(low), float(high))


def bootstrap(
    statistics: Callable[[Array], dict[str, Array]], resamples: Resamples
) -> tuple[dict[str, Estimate], dict[str, Array]]:
    """Point estimates with intervals, and the replicates, of every metric in `statistics`.

    `statistics` maps group counts (B, G) to metric -> (B,) values. A resample in which a metric is
    undefined (no class with both labels is left) counts as the point estimate; a metric that is
    undefined on the whole split is left out. A single group says nothing about others: every
    resample would be the sample itself, so replicates and interval are NaN.
    """
    whole = statistics(np.ones((1, resamples.groups)))
    several = resamples.groups > 1
    drawn = statistics(resamples.counts) if several else {}
    estimates, replicates = {}, {}
    for name, (value,) in whole.items():
        if np.isfinite(value):
            filled = np.full(len(resamples.counts), np.nan)
            if several:
                filled = np.where(np.isfinite(drawn[name]), drawn[name], value)
            replicates[name] = filled
            estimates[name] = interval(float(value), filled)
    return estimates, replicates


def paired_difference(
    replicates_a: Array, replicates_b: Array, value_a: float, value_b: float
) -> tuple[float, float, float, float]:
    """Compare two encoders on the same resamples: difference a - b, low, high, p.

    p is two-sided: twice the share of resamples on the rarer side of 0, ties on both sides, with
    one added to numerator and denominator (Davison & Hinkley 1997, eq. 4.11). Without replicates
    (NaN: a single test group) low and high are NaN and p is 1.

    Raises:
        SslBenchError: replicates of different numbers of resamples.
    """
    a, b = np.asarray(replicates_a, dtype=np.float64), np.asarray(replicates_b, dtype=np.float64)
    if a.shape != b.shape:
        raise SslBenchError(
            f"results with {a.size} and {b.size} bootstrap resamples cannot be compared: "
            "evaluate both again with the same version"
        )
    differences = a - b
    if np.isnan(differences).any():
        return float(value_a - value_b), float("nan"), float("nan"), 1.0
    low, high = np.percentile(differences, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    p = min(1.0, 2 * (int(rarer) + 1) / (differences.size + 1))
    return float(value_a - value_b), float(low), float(high), p


def rank_intervals(
    values: Sequence[float], replicates: Array, higher_is_better: bool = True
) -> list[tuple[int, int]]:
    """Ranks that the data allow for each of M encoders: (1 + significantly better ones, M - worse).

    `replicates` is (M, B). Encoders that a paired bootstrap does not separate at 5% share ranks;
    no correction for the number of pairs.
    """
    scores, drawn = np.asarray(values, dtype=np.float64), np.asarray(replicates)
    total, resamples = drawn.shape
    comparable = ~np.isnan(drawn).any(1)
    better, worse = np.zeros(total, dtype=int), np.zeros(total, dtype=int)
    low, high = _apart(drawn)
    for i in range(total - 1):  # against all others at once; p as in `paired_difference`
        others = slice(i + 1, total)
        real = (high[others] < low[i]) | (low[others] > high[i])
        near = i + 1 + np.flatnonzero(~real)
        close = drawn[near]
        rarer = np.minimum(_count(close <= drawn[i]), _count(close >= drawn[i]))
        real[near - i - 1] = 2 * (rarer + 1) / (resamples + 1) < LEVEL
        real &= comparable[others] & comparable[i]
        above = real & (scores[others] > scores[i])
        below = real & (scores[others] < scores[i])
        if not higher_is_better:
            above, below = below, above
        better[i] += above.sum()
        worse[i] += below.sum()
        worse[others] += above
        better[others] += below
    return [(1 + int(up), total - int(down)) for up, down in zip(better, worse, strict=True)]


def _apart(drawn: Array) -> tuple[Array, Array]:
    """Ends (M,) of intervals of the replicates (M, B): two encoders whose intervals do not meet are
    separated, whatever their pairs. As many replicates lie below an interval as above it, and those
    of two ends together are still too few for p to reach the level."""
    resamples = drawn.shape[1]
    rarest = int(np.ceil(LEVEL * (resamples + 1) / 2)) - 2  # the most that is significant
    if rarest < 0:
        return np.full(len(drawn), -np.inf), np.full(len(drawn), np.inf)
    out = rarest // 2
    ordered = np.partition(drawn, (out, resamples - 1 - out), axis=1)
    return ordered[:, out], ordered[:, resamples - 1 - out]


def _count(flags: Array) -> Array:
    """True values in each row of (M, B) booleans."""
    counted: Array = np.bitwise_count(np.packbits(flags, axis=1)).sum(1, dtype=np.int64)
    return counted


def normalised(value: Any, chance: float, ceiling: float, metric: str = "accuracy") -> Any:
    """Chance-normalised score (x - chance) / (ceiling - chance): 0 for a guess, 1 at the ceiling.

    `value` is a number or an array. For metrics where lower is better the ceiling is the best
    reachable value (0 for `mae`) and lies below chance; the same formula holds.

    Raises:
        SslBenchError: chance and ceiling in the wrong order for the metric.
    """
    if not (ceiling > chance if higher_is_better(metric) else ceiling < chance):
        side = "above" if higher_is_better(metric) else "below"
        raise SslBenchError(
            f"the card's `ceiling` ({ceiling:g}) must lie {side} its `chance` ({chance:g}) "
            f"for the metric {metric}"
        )
    return (value - chance) / (ceiling - chance)


def borda(values: Array) -> tuple[Array, Array]:
    """Borda points and ranks of M encoders over T tasks.

    `values` (M, T), higher is better, no missing entries. Points are the mean over tasks of the
    number of encoders beaten (a tie counts 1/2): (M,) in [0, M - 1]; rank 1 has the most points,
    equal points share the better rank.
    """
    table = np.asarray(values, dtype=np.float64)
    beaten = np.empty_like(table)
    for column, own in zip(table.T, beaten.T, strict=True):
        known = ~np.isnan(column)  # what is not beats nothing, and nothing beats it
        ordered = np.sort(column[known])
        below = np.searchsorted(ordered, column, "left")
        own[:] = np.where(known, (below + np.searchsorted(ordered, column, "right")) / 2, 0.0)
    points = (beaten - 0.5).mean(1)
    return points, 1 + (points[None] > points[:, None] + 1e-12).sum(1)


@dataclass(frozen=True)
class Aggregate:
    """Mean over domains of the mean over a domain's tasks."""

    total: Estimate
    domains: dict[str, Estimate]
    replicates: Array  # (B,)


def aggregate(scores: Mapping[str, Mapping[str, tuple[float, Array]]]) -> Aggregate:
    """Average chance-normalised scores within each domain, then over domains.

    `scores`: domain -> task -> (value, replicates (B,)). Resamples of different tasks are
    independent unless they share test groups, so averaging replicate by replicate gives the
    distribution of the average.

    Raises:
        SslBenchError: nothing to average.
    """
    domains: dict[str, Estimate] = {}
    means, drawn = [], []
    for domain, tasks in scores.items():
        if tasks:
            mean = float(np.mean([value for value, _ in tasks.values()]))
            replicates = np.mean([np.asarray(r, np.float64) for _, r in tasks.values()], axis=0)
            domains[domain] = interval(mean, replicates)
            means.append(mean)
            drawn.append(replicates)
    if not means:
        raise SslBenchError("there are no scores to aggregate")
    together = np.mean(drawn, axis=0)
    return Aggregate(interval(float(np.mean(means)), together), domains, together)
