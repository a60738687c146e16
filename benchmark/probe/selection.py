"""Scores that choose the penalty, and the choice itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# (decision (n, C, K), y) -> (K,), higher is better.
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]


def accuracy(decision: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Accuracy (K,) of the largest logit; with soft targets (n, C), the mean target it hits."""
    predicted = decision.argmax(1)  # (n, K)
    if y.ndim == 1:
        return (predicted == y[:, None]).mean(0)
    return np.take_along_axis(y, predicted, axis=1).mean(0)


def negative_log_loss(decision: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean log-likelihood (K,) of labels y (n, C) in {0, 1} under independent sigmoids."""
    logits = decision.astype(np.float64)
    return (y[:, :, None] * logits - np.logaddexp(0.0, logits)).mean((0, 1))


def r2(decision: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficient of determination (K,), averaged over targets; 0 for constant targets."""
    y = (y[:, None] if y.ndim == 1 else y).astype(np.float64)
    residual = ((y[:, :, None] - decision) ** 2).sum(0)  # (T, K)
    total = ((y - y.mean(0)) ** 2).sum(0)[:, None]
    explained = np.where(total > 0, 1.0 - residual / np.where(total > 0, total, 1.0), 0.0)
    return explained.mean(0)


DEFAULT_SCORES: dict[str, Score] = {
    "multiclass": accuracy,
    "multilabel": negative_log_loss,
    "regression": r2,
}


def choose(scores: np.ndarray, penalties: np.ndarray) -> int:
    """Index of the best score; among equals the smallest C, the strongest regularisation."""
    finite = np.where(np.isnan(scores), -np.inf, scores)
    best = np.flatnonzero(finite == finite.max())
    return int(best[np.argmin(penalties[best])])
