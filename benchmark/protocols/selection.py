"""The score by which a penalty, a layer or a head is chosen on validation data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import one_hot

Array = NDArray[Any]


def selection_score(metric: str, kind: str) -> Callable[[Any, Any], Array]:
    """A function (decision (n, C, K), y) -> (K,), higher is better, for the metric of a card.

    `kind` is multiclass (y int (n,)), multilabel (y (n, C)) or regression (y (n,) or (n, C)).
    """
    table = {"multiclass": _multiclass, "multilabel": _multilabel, "regression": _regression}
    return lambda decision, y: table[kind](as_array(decision), as_array(y), metric)


def as_array(values: Any) -> Array:
    """A float64 array of a NumPy array or a tensor on any device."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.float64)


def softmax(decision: Array) -> Array:
    """Probabilities from logits (n, C, ...) over axis 1."""
    shifted = np.exp(decision - decision.max(1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(1, keepdims=True)
    return probabilities


def _multiclass(decision: Array, y: Array, metric: str) -> Array:
    classes = decision.shape[1]
    labels = one_hot(y, classes)
    if metric in ("macro_auroc", "macro_ap"):
        return _ranking(softmax(decision), labels, metric)
    predicted = decision.argmax(1)  # (n, K)
    if metric in ("balanced_accuracy", "macro_f1", "frame_macro_f1"):
        return _macro(one_hot(predicted.ravel(), classes).reshape(*predicted.shape, -1),
                      labels[:, None], metric)  # fmt: skip
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


def _multilabel(decision: Array, y: Array, metric: str) -> Array:
    labels = (y > 0).astype(np.float64)
    if metric == "macro_f1":
        predicted = (decision > 0).astype(np.float64).transpose(0, 2, 1)
        return _macro(predicted, labels[:, None], metric)
    return _ranking(decision, labels, metric)


def _ranking(scores: Array, labels: Array, metric: str) -> Array:
    """Macro AUROC or average precision of (n, C, K) scores; 0.5 where no class has both labels."""
    from scipy.stats import rankdata

    kept = (labels.sum(0) > 0) & (labels.sum(0) < len(labels))
    if not kept.any():
        return np.full(scores.shape[2], 0.5)
    scores, labels = scores[:, kept], labels[:, kept, None]
    positives = labels.sum(0)
    if metric == "macro_ap":
        above = rankdata(-scores, axis=0, method="max")  # examples at or above a threshold
        values = np.zeros(scores.shape[1:])
        for c in range(scores.shape[1]):
            chosen = labels[:, c, 0] > 0
            hits = rankdata(-scores[chosen, c], axis=0, method="max")
            values[c] = (hits / above[chosen, c]).mean(0)
        return values.mean(0)
    negatives = len(labels) - positives
    ranks = rankdata(scores, axis=0)
    auroc = ((ranks * labels).sum(0) - positives * (positives + 1) / 2) / (positives * negatives)
    mean: Array = auroc.mean(0)
    return mean


def _regression(decision: Array, y: Array, metric: str) -> Array:
    truth = y.reshape(len(y), -1)[:, :, None]
    if metric == "mae":
        return -np.asarray(abs(decision - truth).mean((0, 1)))
    if metric in ("pearson", "spearman"):
        if metric == "spearman":
            from scipy.stats import rankdata

            decision, truth = rankdata(decision, axis=0), rankdata(truth, axis=0)
        a, b = decision - decision.mean(0), truth - truth.mean(0)
        scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
        return np.divide((a * b).sum(0), scale, out=np.zeros(scale.shape), where=scale > 0).mean(0)
    return -np.asarray(((decision - truth) ** 2).mean((0, 1)))  # r2 up to a monotone map
