"""The score by which a penalty, a layer or a head is chosen on validation data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.classification import key_weights, scored_classes
from benchmark.metrics import Regression, higher_is_better, one_hot
from benchmark.ranking import ranking_replicates, spearman_replicates

if TYPE_CHECKING:
    from benchmark.task import Target

Array = NDArray[Any]


def selection_score(
    metric: str, kind: str, target: Target | None = None
) -> Callable[[Any, Any], Array]:
    """A function (decision (n, C, K), y) -> (K,), higher is better, for the metric of a card.

    `kind` is multiclass (y int (n,)), multilabel (y (n, C)) or regression (y (n,)). The classes
    that `target` leaves unscored are left out of macro averages.
    """
    if kind == "regression":
        return lambda decision, y: _regression(as_array(decision), as_array(y), metric)
    if metric == "key_score" and target is not None:
        weights = key_weights(target.classes)
        return lambda decision, y: _worth(as_array(decision), as_array(y), weights)
    mask = None if target is None else scored_classes(target)
    scored = slice(None) if mask is None else mask
    table = {"multiclass": _multiclass, "multilabel": _multilabel}
    return lambda decision, y: table[kind](as_array(decision), as_array(y), metric, scored)


def as_array(values: Any) -> Array:
    """A float64 array of a NumPy array or a tensor on any device."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.float64)


def softmax(decision: Array) -> Array:
    """Probabilities from logits (n, C, ...) over axis 1."""
    shifted = np.exp(decision - decision.max(1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(1, keepdims=True)
    return probabilities


def _worth(decision: Array, y: Array, weights: Array) -> Array:
    """Mean (K,) of what each prediction is worth for its truth."""
    mean: Array = weights[y.astype(np.int64)[:, None], decision.argmax(1)].mean(0)
    return mean


def _multiclass(decision: Array, y: Array, metric: str, scored: Array | slice) -> Array:
    classes = decision.shape[1]
    if metric in ("macro_auroc", "macro_ap"):
        return _ranking(softmax(decision)[:, scored], one_hot(y, classes)[:, scored], metric)
    predicted = decision.argmax(1)  # (n, K)
    if metric in ("balanced_accuracy", "macro_f1", "frame_macro_f1"):
        found = one_hot(predicted.ravel(), classes).reshape(*predicted.shape, -1)
        return _macro(found[..., scored], one_hot(y, classes)[:, None, scored], metric)
    accuracy: Array = (predicted == y[:, None]).mean(0)
    return accuracy


def _macro(predicted: Array, labels: Array, metric: str) -> Array:
    """From 0 / 1 arrays (n, K, C) and (n, 1, C)."""
    hits, truth, found = (predicted * labels).sum(0), labels.sum(0), predicted.sum(0)
    above, below = (2 * hits, truth + found) if metric != "balanced_accuracy" else (hits, truth)
    below = np.broadcast_to(below, above.shape)
    ratio = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    mean: Array = ratio.sum(-1) / np.maximum((below > 0).sum(-1), 1)
    return mean


def _multilabel(decision: Array, y: Array, metric: str, scored: Array | slice) -> Array:
    decision, labels = decision[:, scored], (y > 0).astype(np.float64)[:, scored]
    if metric == "macro_f1":
        predicted = (decision > 0).astype(np.float64).transpose(0, 2, 1)
        return _macro(predicted, labels[:, None], metric)
    return _ranking(decision, labels, metric)


def _ranking(scores: Array, labels: Array, metric: str) -> Array:
    """Macro AUROC or average precision of (n, C, K) scores; 0.5 where no class has both labels."""
    columns = []
    for k in range(scores.shape[2]):
        auroc, precision = ranking_replicates(scores[:, :, k], labels, *_one_group(len(labels)))
        values = (precision if metric == "macro_ap" else auroc)[0]
        defined = np.isfinite(values)
        columns.append(values[defined].mean() if defined.any() else 0.5)
    return np.array(columns)


def _one_group(n: int) -> tuple[Array, Array]:
    """Group codes and counts that weigh every example with 1."""
    return np.zeros(n, dtype=np.int64), np.ones((1, 1))


def _regression(decision: Array, y: Array, metric: str) -> Array:
    truth, found = y.reshape(-1), decision[:, 0]  # (n,), (n, K)
    if metric == "r2":
        return -np.asarray(((found - truth[:, None]) ** 2).mean(0))  # a monotone map of it
    if metric == "spearman":
        alone = _one_group(len(truth))
        return np.array([spearman_replicates(truth, column, *alone)[0] for column in found.T])
    one = np.ones((1, 1))
    scores = [Regression(truth, column, _one_group(len(truth))[0], 1)(one) for column in found.T]
    sign = 1.0 if higher_is_better(metric) else -1.0
    return sign * np.array([score[metric][0] for score in scores])
