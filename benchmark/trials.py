"""Error rates of verification trials under group weights, for many weightings at once.

A trial compares two examples. In a bootstrap resample of groups (speakers) its weight is the
product of the counts of the two groups, and the count itself where both examples are of one group:
what drawing the groups and trying all listed trials among the draws gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[Any]
TARGET_PRIOR = 0.01  # of min_dcf: Nagrani, Chung & Zisserman 2017 (VoxCeleb), costs of 1
_BLOCK = 4_000_000  # elements of one (segments, resamples) array


class Trials:
    """Scores of T trials: `scores` (T,), higher for the same class; `same` (T,) bool; `pairs`
    (T, 2) the group codes of the two examples, below `groups`.

    `eer` is where the false-rejection and false-acceptance rates meet on the linearly interpolated
    ROC; `min_dcf` the smallest detection cost over thresholds at a target prior of 0.01, relative
    to that of accepting or rejecting everything; `auroc` the area. All are NaN in a resample
    without trials of both kinds.
    """

    def __init__(self, scores: Array, same: Array, pairs: Array, groups: int) -> None:
        low, high = np.sort(np.asarray(pairs, dtype=np.int64), axis=1).T
        distinct, column = np.unique(low * groups + high, return_inverse=True)
        self.first, self.second = np.divmod(distinct, groups)
        segment = _segments(np.asarray(scores), np.asarray(same, dtype=bool))
        shape = int(segment.max()) + 1, len(distinct)
        self.tables = [
            csr_matrix((np.ones(chosen.sum()), (segment[chosen], column[chosen])), shape)
            for chosen in (same, ~same)
        ]

    def __call__(self, counts: Array) -> dict[str, Array]:
        parts = [self._rates(counts[rows]) for rows in self._blocks(len(counts))]
        names = ("eer", "min_dcf", "auroc")
        return dict(zip(names, np.concatenate(parts, axis=1), strict=True))

    def _blocks(self, resamples: int) -> list[slice]:
        step = max(1, _BLOCK // max(self.tables[0].shape))
        return [slice(start, start + step) for start in range(0, resamples, step)]

    def _rates(self, counts: Array) -> Array:
        """(3, b): the three metrics of some resamples (b, G)."""
        drawn = np.ascontiguousarray(counts.T, dtype=np.float64)
        once = (self.first == self.second)[:, None]
        weights = drawn[self.first] * np.where(once, 1.0, drawn[self.second])
        hits, misses = (table @ weights for table in self.tables)  # (S, b) each
        positives, negatives = hits.sum(0), misses.sum(0)
        both = (positives > 0) & (negatives > 0)
        hits /= np.where(both, positives, 1.0)
        misses /= np.where(both, negatives, 1.0)
        rejected = 1 - np.cumsum(hits, 0)
        accepted = np.cumsum(misses, 0)
        auroc = 1 - (misses * (rejected + hits / 2)).sum(0)
        cost = TARGET_PRIOR * rejected + (1 - TARGET_PRIOR) * accepted
        min_dcf = np.minimum(cost.min(0) / min(TARGET_PRIOR, 1 - TARGET_PRIOR), 1.0)
        values = np.stack((_crossing(accepted, rejected), min_dcf, auroc))
        return np.where(both, values, np.nan)


def _segments(scores: Array, same: Array) -> Array:
    """Index of each trial in descending score order. Tied trials share one, and so do neighbouring
    thresholds with trials of one kind only: the ROC is straight there, and no metric changes."""
    _, tie = np.unique(-scores, return_inverse=True)
    kind = np.zeros(tie.max() + 1, dtype=np.int64)
    kind[tie[same]] = 1
    kind[np.unique(tie[~same])] += 2
    new = np.ones(len(kind), dtype=np.int64)
    new[1:] = (kind[1:] != kind[:-1]) | (kind[1:] == 3)
    merged: Array = (np.cumsum(new) - 1)[tie]
    return merged


def _crossing(accepted: Array, rejected: Array) -> Array:
    """False-acceptance rate (b,) where the two rates (S, b), linear in between, are equal; before
    the first threshold nothing is accepted and everything rejected."""
    columns = np.arange(accepted.shape[1])
    after = (accepted >= rejected - 1e-12).argmax(0)
    before = np.maximum(after - 1, 0)
    low = np.where(after > 0, accepted[before, columns], 0.0)
    gap = np.where(after > 0, low - rejected[before, columns], -1.0)
    high, end = accepted[after, columns], accepted[after, columns] - rejected[after, columns]
    share = np.divide(-gap, end - gap, out=np.ones_like(gap), where=end > gap)
    crossing: Array = low + np.clip(share, 0, 1) * (high - low)
    return crossing
