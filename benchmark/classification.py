"""Scores of class probabilities: multiclass and multilabel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.metrics import Counts, group_sums, mean_of_defined, one_hot, ratio

if TYPE_CHECKING:
    from benchmark.task import Target

Array = NDArray[Any]


def scored_classes(target: Target) -> Array | None:
    """(C,) bool of the classes that macro averages are taken over; None: all of them."""
    if not target.unscored:
        return None
    return np.array([name not in target.unscored for name in target.classes])


def key_weights(classes: Sequence[str]) -> Array:
    """(C, C) MIREX scores of naming the key of the column where that of the row is right.

    Raises:
        SslBenchError: a class that `mir_eval.key` does not read as a key.
    """
    from mir_eval.key import weighted_score

    try:
        return np.array([[weighted_score(key, named) for named in classes] for key in classes])
    except (ValueError, KeyError) as error:
        raise SslBenchError(
            f"key_score needs classes named like 'C major' and 'Db minor': {error}"
        ) from None


class Classification:
    """Multiclass scores. `truth` (N,) int, `probabilities` (N, C); the largest one is predicted.

    AUROC and average precision are one-vs-rest, macro over the classes that have both labels.
    With two classes they are those of class 1. Macro averages are taken over the classes that
    `scored` (C,) holds. `weights` (C, C) gives what a prediction (column) is worth for each truth
    (row): `key_score` is its mean.
    """

    scored: Array | slice = slice(None)
    worth: Array | None = None  # (G, 1) sums of weights

    def __init__(
        self, truth: Array, probabilities: Array, codes: Array, groups: int,
        scored: Array | None = None, weights: Array | None = None,
    ) -> None:  # fmt: skip
        classes = probabilities.shape[1]
        self.truth, self.predicted = np.asarray(truth), probabilities.argmax(1)
        self.labels = one_hot(self.truth, classes)
        self.scores, self.codes = probabilities, codes
        self.table = Counts.of_labels(self.labels, one_hot(self.predicted, classes), codes, groups)
        self.ranked: Array | slice = slice(1, 2) if classes == 2 else slice(None)
        if scored is not None:
            self.scored = self.ranked = scored
        if weights is not None:
            self.worth = group_sums(codes, groups, weights[self.truth, self.predicted][:, None])

    def __call__(self, counts: Array) -> dict[str, Array]:
        auroc, precision = self.ranking(counts)
        values = {
            "accuracy": self.table.accuracy(counts),
            "balanced_accuracy": mean_of_defined(self.table.recall(counts)[:, self.scored]),
            "macro_f1": mean_of_defined(self.table.f1(counts)[:, self.scored]),
            "macro_auroc": mean_of_defined(auroc),
            "macro_ap": mean_of_defined(precision),
        }
        if self.worth is not None:
            values["key_score"] = ratio(
                (counts @ self.worth)[:, 0], (counts @ self.table.truth).sum(1)
            )
        return values

    def ranking(self, counts: Array) -> tuple[Array, Array]:
        from benchmark.ranking import ranking_replicates

        scores, labels = self.scores[:, self.ranked], self.labels[:, self.ranked]
        return ranking_replicates(scores, labels, self.codes, counts)

    def per_class(self, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """class -> recall, f1, auroc, ap, support; `left_out: 1` marks a class that the test split
        cannot rank (it lacks positives or negatives), without auroc and ap."""
        from benchmark.ranking import ranking_replicates

        ones = np.ones((1, len(self.table.truth)))
        auroc, precision = ranking_replicates(self.scores, self.labels, self.codes, ones)
        values = {
            "recall": self.table.recall(ones)[0],
            "f1": self.table.f1(ones)[0],
            "auroc": auroc[0],
            "ap": precision[0],
        }
        rows: dict[str, dict[str, float]] = {}
        for index, name in enumerate(names):
            row = {key: float(v[index]) for key, v in values.items() if np.isfinite(v[index])}
            row["support"] = float(self.labels[:, index].sum())
            rows[name] = row if "auroc" in row else {**row, "left_out": 1.0}
        return rows

    def confusion(self) -> list[list[int]] | None:
        size = self.labels.shape[1]
        flat = np.bincount(self.truth * size + self.predicted, minlength=size * size)
        table: list[list[int]] = flat.reshape(size, size).tolist()
        return table


class Multilabel(Classification):
    """Multilabel scores. `truth` (N, C) of 0 / 1, `scores` (N, C); predicted where the score
    exceeds `threshold`."""

    def __init__(
        self, truth: Array, scores: Array, codes: Array, groups: int, threshold: float = 0.5,
        scored: Array | None = None,
    ) -> None:  # fmt: skip
        self.labels, self.scores, self.codes = (np.asarray(truth) > 0).astype(float), scores, codes
        predicted = (scores > threshold).astype(float)
        self.table = Counts.of_labels(self.labels, predicted, codes, groups)
        self.scored = self.ranked = slice(None) if scored is None else scored

    def __call__(self, counts: Array) -> dict[str, Array]:
        auroc, precision = self.ranking(counts)
        return {
            "macro_auroc": mean_of_defined(auroc),
            "macro_ap": mean_of_defined(precision),
            "macro_f1": mean_of_defined(self.table.f1(counts)[:, self.scored]),
        }

    def confusion(self) -> None:
        return None
