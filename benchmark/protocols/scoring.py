"""From test predictions to `Scores`: metrics, intervals, replicates, per-class values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import bootstrap, resample_groups
from benchmark.classification import Classification, Multilabel, key_weights, scored_classes
from benchmark.errors import SslBenchError
from benchmark.metrics import Regression, check_metric
from benchmark.protocols.contract import Estimate, Scores, Split
from benchmark.task import TaskCard

Array = NDArray[Any]


@dataclass
class Measured:
    """Metrics of one set of predictions with their intervals and bootstrap replicates."""

    estimates: dict[str, Estimate]
    replicates: dict[str, Array]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: list[list[int]] | None = None

    def scores(self, main: str, **parts: Any) -> Scores:
        """As the `Scores` of a protocol.

        Raises:
            SslBenchError: the main metric is undefined on the test split.
        """
        if main not in self.estimates:
            raise SslBenchError(
                f"{main} is undefined on the test split: no class has both positive and negative "
                "test examples; choose another metric on the card"
            )
        ordered = {main: self.estimates[main], **self.estimates}
        return Scores(
            main, ordered, self.replicates[main].astype(np.float32),
            per_class=self.per_class, confusion=self.confusion, **parts,
        )  # fmt: skip


def measure_statistics(
    build: Callable[[Array, int], Callable[[Array], dict[str, Array]]], groups: Array, seed: int
) -> Measured:
    """Bootstrap the statistics that `build(group codes, number of groups)` returns."""
    resamples = resample_groups(groups, seed)
    return Measured(*bootstrap(build(resamples.codes, resamples.groups), resamples))


def measure(
    task: TaskCard, test: Split, predicted: Array, seed: int, threshold: float = 0.5
) -> Measured:
    """Score test predictions of a clip-level task.

    `predicted` is (N, C) probabilities for multiclass and bags, (N, C) scores for multilabel
    (positive above `threshold`), (N,) values for regression. The target's `unscored` classes are
    left out of macro averages.
    """
    check_metric(task.metric, task.target.kind)
    resamples = resample_groups(test.groups, seed)
    shape = resamples.codes, resamples.groups
    if task.target.kind == "regression":
        truth = np.asarray(test.targets, dtype=np.float64)
        return Measured(*bootstrap(Regression(truth, predicted, *shape), resamples))
    statistics: Classification
    truth, scored = np.asarray(test.targets), scored_classes(task.target)
    if task.target.kind == "multilabel":
        statistics = Multilabel(truth, predicted, *shape, threshold, scored)
    else:
        weights = key_weights(task.target.classes) if task.metric == "key_score" else None
        statistics = Classification(truth, predicted, *shape, scored, weights)
    return Measured(
        *bootstrap(statistics, resamples),
        statistics.per_class(task.target.classes),
        statistics.confusion(),
    )
