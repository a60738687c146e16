"""Metrics as sufficient statistics per group.

Each class below holds one split's truth and predictions, and maps group counts (B, G) to metric ->
(B,) values: counts of one give the point estimate, bootstrap counts the replicates, all at once.
Definitions are those of scikit-learn, mir_eval and sed_eval; the tests compare with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError

Array = NDArray[Any]

LOWER_IS_BETTER = frozenset({"mae", "eer", "min_dcf"})
METRICS = {
    "accuracy": "multiclass",
    "balanced_accuracy": "multiclass",
    "macro_f1": "multiclass multilabel",
    "macro_auroc": "multiclass multilabel",
    "macro_ap": "multiclass multilabel",
    "key_score": "multiclass",
    "r2": "regression",
    "mae": "regression",
    "pearson": "regression",
    "spearman": "regression",
    "frame_macro_f1": "frames",
    "onset_f1": "frames",
    "event_f1": "frames",
    "event_macro_f1": "frames",
    "beat_f1": "frames",
    "psds": "frames",
    "dice": "segmentation",
    "miou": "segmentation",
    "instance_miou": "segmentation",
    "class_miou": "segmentation",
    "eer": "pairs",
    "min_dcf": "pairs",
}


def higher_is_better(metric: str) -> bool:
    """Direction of a metric; `mae@10%` and `mae (best layer)` are read as `mae`."""
    return metric.partition("@")[0].partition(" ")[0] not in LOWER_IS_BETTER


def check_metric(metric: str, kind: str) -> str:
    """`metric` if it scores targets of `kind`.

    Raises:
        SslBenchError: unknown metric, or one of another target kind.
    """
    kind = "multiclass" if kind == "bags" else kind
    fitting = [name for name, kinds in METRICS.items() if kind in kinds.split()]
    if metric not in fitting:
        raise SslBenchError(
            f"the card's `metric` {metric!r} does not score {kind} targets; "
            f"choose one of: {', '.join(fitting)}"
        )
    return metric


def ratio(above: Array, below: Array) -> Array:
    """above / below, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)


def mean_of_defined(values: Array) -> Array:
    """Mean over the last axis of what is not NaN; NaN where nothing is defined."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1).astype(np.float64))


def group_sums(codes: Array, groups: int, values: Array) -> Array:
    """Sum (N, M) `values` over examples of each group: (G, M)."""
    from scipy.sparse import csr_matrix

    rows = np.arange(len(codes))
    sums: Array = csr_matrix((np.ones(len(codes)), (codes, rows)), (groups, len(codes))) @ values
    return sums


def one_hot(labels: Array, classes: int) -> Array:
    """(N,) class indices to (N, C) of 0 / 1; an index outside the classes gives a row of 0."""
    return (np.asarray(labels)[:, None] == np.arange(classes)).astype(np.float64)


@dataclass
class Counts:
    """Truth, prediction and hit counts per group and class, each (G, C): everything that accuracy,
    balanced accuracy (mean recall over the classes that occur) and F1 (macro over the classes that
    occur in truth or prediction) need, as in scikit-learn. Also for matched events."""

    hits: Array
    truth: Array
    predicted: Array

    def totals(self, counts: Array) -> tuple[Array, Array, Array]:
        return counts @ self.hits, counts @ self.truth, counts @ self.predicted

    def f1(self, counts: Array) -> Array:
        """Per class: (B, C), NaN where a class is neither in truth nor prediction."""
        hits, truth, predicted = self.totals(counts)
        return ratio(2 * hits, truth + predicted)

    def macro_f1(self, counts: Array) -> Array:
        return mean_of_defined(self.f1(counts))

    def micro_f1(self, counts: Array) -> Array:
        """F1 of counts pooled over classes; 0 where there is nothing to find and nothing found
        (mir_eval's convention for empty lists)."""
        hits, truth, predicted = (total.sum(-1) for total in self.totals(counts))
        return np.nan_to_num(ratio(2 * hits, truth + predicted))

    def micro_precision(self, counts: Array) -> Array:
        """Share of the predictions that are hits, pooled over classes; NaN without predictions."""
        hits, _, predicted = (total.sum(-1) for total in self.totals(counts))
        return ratio(hits, predicted)

    def accuracy(self, counts: Array) -> Array:
        """Share of the truth that is hit, pooled over classes (for events: recall)."""
        hits, truth, _ = self.totals(counts)
        return ratio(hits.sum(-1), truth.sum(-1))

    def recall(self, counts: Array) -> Array:
        hits, truth, _ = self.totals(counts)
        return ratio(hits, truth)

    @classmethod
    def of_labels(cls, truth: Array, predicted: Array, codes: Array, groups: int) -> Counts:
        """From (N, C) matrices of 0 / 1."""
        return cls(*(group_sums(codes, groups, m) for m in (truth * predicted, truth, predicted)))


class Regression:
    """Regression scores of (N,) `truth` and `predicted`, from moment sums.

    A constant truth gives r2 of 1 for perfect predictions and 0 otherwise (scikit-learn's
    `force_finite`); a constant truth or prediction gives correlations of 0.
    """

    def __init__(self, truth: Array, predicted: Array, codes: Array, groups: int) -> None:
        y, p = (np.asarray(v, dtype=np.float64) for v in (truth, predicted))
        self.truth, self.predicted, self.codes = y, p, codes
        self.tiny = (1e-12 * max(float(abs(y).max()), 1e-100)) ** 2  # rounding error of a square
        a, b = y - y.mean(), p - p.mean()  # centred, so that differences of sums keep digits
        columns = (np.ones_like(y), a, b, a * a, b * b, a * b, abs(y - p), (y - p) ** 2)
        self.sums = group_sums(codes, groups, np.stack(columns, 1))

    def __call__(self, counts: Array) -> dict[str, Array]:
        from benchmark.ranking import spearman_replicates

        n, y, p, yy, pp, yp, distance, error = (counts @ self.sums).T
        spread, predicted_spread = yy - y * y / n, pp - p * p / n
        varies = (spread > self.tiny * n) & (spread > 1e-12 * yy)
        r2 = np.where(error <= self.tiny * n, 1.0, 0.0)
        np.divide(spread - error, spread, out=r2, where=varies)
        scale = np.sqrt(np.clip(spread * predicted_spread, 0, None))
        pearson = np.zeros_like(r2)
        shown = varies & (predicted_spread > 1e-12 * pp) & (scale > 0)
        np.divide(yp - y * p / n, scale, out=pearson, where=shown)
        return {
            "r2": r2,
            "mae": distance / n,
            "pearson": np.clip(pearson, -1, 1),
            "spearman": spearman_replicates(self.truth, self.predicted, self.codes, counts),
        }
