"""Group folds: no group is ever split, classes are balanced over folds as far as groups allow."""

from __future__ import annotations

import numpy as np

from benchmark.errors import SslBenchError


def group_folds(
    labels: np.ndarray | None, groups: np.ndarray | None, n: int, *, folds: int, seed: int
) -> list[np.ndarray]:
    """Indices held out in each fold: disjoint, sorted, together 0..n-1.

    labels: (n,) classes or (n, C) label weights to balance, None to balance sizes only.
    groups: (n,) group of each sample, None for every sample on its own. Fewer groups than
    folds give fewer folds; fewer than two groups cannot be cross-validated (`SslBenchError`).
    Groups are dealt out from the largest to the smallest, each to the fold that it leaves most
    balanced (as scikit-learn's StratifiedGroupKFold does); single samples are dealt in turn.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        codes, sizes = np.arange(n), np.ones(n, dtype=np.int64)
    else:
        codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
        sizes = np.bincount(codes)
    folds = min(folds, len(sizes))
    if folds < 2:
        raise SslBenchError(
            f"cross-validation needs at least 2 groups, the training data holds {len(sizes)}; "
            "give a validation split, or a single penalty."
        )
    order = rng.permutation(len(sizes))
    if sizes.max() == 1 and (labels is None or labels.ndim == 1):
        assigned = _deal(labels, codes, order, folds)
    else:
        order = order[np.argsort(-sizes[order], kind="stable")]
        assigned = _balance(_label_counts(labels, codes, sizes), order, folds)
    held_out = [np.flatnonzero(assigned[codes] == f) for f in range(folds)]
    return [rows for rows in held_out if len(rows)]


def _deal(
    labels: np.ndarray | None, codes: np.ndarray, order: np.ndarray, folds: int
) -> np.ndarray:
    """Deal single-sample groups in turn, class by class."""
    if labels is not None:
        of_group = np.empty(len(codes), dtype=labels.dtype)
        of_group[codes] = labels
        order = order[np.argsort(of_group[order], kind="stable")]
    assigned = np.empty(len(order), dtype=np.int64)
    assigned[order] = np.arange(len(order)) % folds
    return assigned


def _label_counts(labels: np.ndarray | None, codes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(groups, columns): label weights in each group, the group's size as the last column."""
    columns = [sizes[:, None].astype(np.float64)]
    if labels is not None:
        if labels.ndim == 1:
            present, labels = np.unique(labels, return_inverse=True)
            counts = np.zeros((len(sizes), len(present)))
            np.add.at(counts, (codes, labels.reshape(-1)), 1.0)
        else:
            counts = np.zeros((len(sizes), labels.shape[1]))
            np.add.at(counts, codes, labels.astype(np.float64))
        columns.insert(0, counts)
    return np.concatenate(columns, axis=1)


def _balance(counts: np.ndarray, order: np.ndarray, folds: int) -> np.ndarray:
    share = counts / np.maximum(counts.sum(0), 1e-12)
    # Size counts as much as all labels together, so that no fold stays empty.
    weight = np.full(counts.shape[1], 1.0 / max(1, counts.shape[1] - 1))
    weight[-1] = 1.0
    filled = np.zeros((folds, counts.shape[1]))
    assigned = np.empty(len(order), dtype=np.int64)
    for g in order:
        # Adding s to fold f raises the sum of squares by 2 f s + s²: the least is the fairest.
        best = int(np.argmin((filled * (share[g] * weight)).sum(1)))
        filled[best] += share[g]
        assigned[g] = best
    return assigned
