"""Rank metrics under example weights, for many weightings at once.

A bootstrap resample of groups is an integer weight per group, so AUROC, average precision and
Spearman's rho of all resamples come from one sort per class and cumulative sums of weights. Ties
are handled as in scikit-learn and scipy (equal scores form one threshold; ranks are mid-ranks).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[Any]
_BLOCK = 4_000_000  # elements of one (segments, resamples) array


def ranking_replicates(
    scores: Array, labels: Array, codes: Array, counts: Array
) -> tuple[Array, Array]:
    """AUROC and average precision per class and resample.

    `scores` (N, C), `labels` (N, C) of 0 / 1, `codes` (N,) group index, `counts` (B, G) how often
    each group was drawn. Gives two (B, C) arrays; NaN where a resample lacks one of the labels.
    Average precision is the sum over thresholds of (R_n - R_{n-1}) P_n, as in scikit-learn.
    """
    auroc = np.full((len(counts), scores.shape[1]), np.nan)
    precision = auroc.copy()
    for column in range(scores.shape[1]):
        positive = labels[:, column] > 0
        if positive.any() and not positive.all():
            segments = _segments(scores[:, column], positive)
            for rows in _blocks(len(counts), segments.max() + 1):
                auroc[rows, column], precision[rows, column] = _areas(
                    segments, positive, codes, counts[rows]
                )
    return auroc, precision


def spearman_replicates(truth: Array, predicted: Array, codes: Array, counts: Array) -> Array:
    """Spearman's rho of (N,) `truth` and `predicted` per resample, (B,); 0 if one is constant."""
    rho = np.zeros(len(counts))
    ties = [np.unique(values, return_inverse=True)[1] for values in (truth, predicted)]
    for rows in _blocks(len(counts), len(truth)):
        weights = np.ascontiguousarray(counts[rows].T, dtype=np.float64)
        product = weights[codes]  # (N, b)
        centre = (product.sum(0) + 1) / 2  # the mean rank, with or without ties
        variances = []
        for tie in ties:
            mass = _sums(tie, codes, np.ones(len(tie)), weights)
            rank = np.cumsum(mass, 0) - mass / 2 + 0.5 - centre
            variances.append((mass * rank**2).sum(0))
            product *= rank[tie]
        scale = np.sqrt(variances[0] * variances[1])
        np.divide(product.sum(0), scale, out=rho[rows], where=scale > 0)
    return rho


def _segments(scores: Array, positive: Array) -> Array:
    """Index of each example in descending score order, tied examples sharing one; neighbouring
    thresholds without a positive are merged, as they add nothing to either area."""
    _, tie = np.unique(-scores, return_inverse=True)
    holds = np.bincount(tie, weights=positive) > 0
    new = np.ones(len(holds), dtype=np.int64)
    new[1:] = holds[1:] | holds[:-1]
    merged: Array = (np.cumsum(new) - 1)[tie]
    return merged


def _areas(segments: Array, positive: Array, codes: Array, counts: Array) -> tuple[Array, Array]:
    weights = np.ascontiguousarray(counts.T, dtype=np.float64)
    hits = _sums(segments, codes, positive, weights)
    misses = _sums(segments, codes, ~positive, weights)
    all_hits, all_misses = np.cumsum(hits, 0), np.cumsum(misses, 0)
    positives, negatives = all_hits[-1], all_misses[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        below = negatives - all_misses + misses / 2
        auroc = (hits * below).sum(0) / (positives * negatives)
        share = np.where(hits > 0, all_hits / (all_hits + all_misses), 0.0)
        precision = (hits * share).sum(0) / positives
    both = (positives > 0) & (negatives > 0)
    return np.where(both, auroc, np.nan), np.where(both, precision, np.nan)


def _sums(segments: Array, codes: Array, values: Array, weights: Array) -> Array:
    """(S, b) sums of `values` (N,) times group weights (G, b) over the segments."""
    chosen = np.flatnonzero(values)
    matrix = csr_matrix(
        (np.asarray(values, dtype=np.float64)[chosen], (segments[chosen], codes[chosen])),
        shape=(int(segments.max()) + 1, len(weights)),
    )
    total: Array = matrix @ weights
    return total


def _blocks(resamples: int, width: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, int(width)))
    for start in range(0, resamples, step):
        yield slice(start, start + step)
