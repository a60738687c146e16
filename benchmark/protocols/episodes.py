"""Few-shot episodes and the two classifiers that are fitted on them, all episodes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
_BLOCK = 8_000_000  # values of the examples of the episodes that are classified at once
ITERATIONS = 200
TOLERANCE = 1e-4  # on the gradient, relative to the one at the zero start


@dataclass(frozen=True)
class Episodes:
    """E episodes: rows of the support set (E, N, K) in train and of the queries (E, N, Q) in test;
    position along N is the label within the episode."""

    support: Array
    queries: Array


def draw_episodes(
    train: Array,
    test: Array,
    *,
    ways: int,
    shots: int,
    queries: int,
    episodes: int,
    seed: list[int],
) -> Episodes | None:
    """Draw episodes from class labels (N,) of train and test; a label of -1 is never drawn.

    Only classes with at least `shots` training examples and one test example take part; `ways` is
    reduced to their number, None where they are fewer than two. Support examples are distinct;
    queries are too unless a class has fewer than asked for.
    """
    classes = [
        (np.flatnonzero(train == c), np.flatnonzero(test == c)) for c in np.unique(test[test >= 0])
    ]
    classes = [(a, b) for a, b in classes if len(a) >= shots]
    if len(classes) < 2:
        return None
    ways = min(ways, len(classes))
    generator = np.random.default_rng(seed)
    chosen = generator.random((episodes, len(classes))).argsort(1)[:, :ways]
    support = np.zeros((episodes, ways, shots), dtype=np.int64)
    query = np.zeros((episodes, ways, queries), dtype=np.int64)
    for index, (a, b) in enumerate(classes):
        where = np.nonzero(chosen == index)
        number = len(where[0])
        support[where] = a[_sample(generator, number, len(a), shots)]
        query[where] = b[_sample(generator, number, len(b), queries)]
    return Episodes(support, query)


def _sample(generator: np.random.Generator, rows: int, size: int, wanted: int) -> Array:
    """(rows, wanted) indices below `size`, distinct within a row where there are enough."""
    if size < wanted:
        return generator.integers(0, size, (rows, wanted))
    if size <= 50 * wanted:
        return generator.random((rows, size)).argpartition(wanted - 1, axis=1)[:, :wanted]
    return np.stack([generator.choice(size, wanted, replace=False) for _ in range(rows)])


def classify_episodes(
    support: Any, queries: Any, episodes: Episodes, c: float
) -> tuple[Array, Array]:
    """Predictions (E, N * Q) of the nearest centroid and of logistic regression.

    `support` (n, D) and `queries` (m, D) are the features of train and test, tensors or what gives
    one for row numbers (e, r) as (e, r, D). Both classifiers see
    inner products alone. The logistic probe minimises sum of cross-entropies + |W|² / (2 c) without
    intercept: the features are centred and an episode's classes equally large.
    """
    ways, shots = episodes.support.shape[1:]
    rows = torch.from_numpy(episodes.support.reshape(len(episodes.support), -1))
    asked = torch.from_numpy(episodes.queries.reshape(len(rows), -1))
    labels, device = torch.arange(ways).repeat_interleave(shots), support.device
    onehot = torch.nn.functional.one_hot(labels, ways).float().to(device)
    step = max(1, _BLOCK // (support.shape[1] * (rows.shape[1] + asked.shape[1])))
    centroid, logistic = [], []
    for start in range(0, len(rows), step):
        x = support[rows[start : start + step].to(device)]
        q = queries[asked[start : start + step].to(device)]
        gram, cross = x @ x.transpose(1, 2), q @ x.transpose(1, 2)
        mean = onehot / shots
        norms = torch.einsum("nc,enm,mc->ec", mean, gram, mean)
        centroid.append((2 * cross @ mean - norms[:, None]).argmax(2))
        logistic.append((cross @ _logistic_dual(gram, onehot, 1 / c)).argmax(2))
    return torch.cat(centroid).cpu().numpy(), torch.cat(logistic).cpu().numpy()


def _logistic_dual(gram: torch.Tensor, onehot: torch.Tensor, penalty: float) -> torch.Tensor:
    """Coefficients A (E, n, C) of W = Xᵀ A that minimise the penalised cross-entropy.

    Nesterov's method with the constant momentum of strongly convex functions (Nesterov 2004,
    section 2.2.1). The gradient in W is Xᵀ (P - Y + penalty A), so steps on A need the Gram matrix
    alone.
    """
    lipschitz = 0.5 * gram.abs().sum(2).amax(1) + penalty  # row sums bound the largest eigenvalue
    root = (lipschitz / penalty).sqrt()
    momentum = ((root - 1) / (root + 1))[:, None, None]
    step = (1 / lipschitz)[:, None, None]
    alpha = torch.zeros(len(gram), *onehot.shape, device=gram.device)
    ahead, reference = alpha, None
    for _ in range(ITERATIONS):
        residual = torch.softmax(gram @ ahead, 2) - onehot + penalty * ahead
        size = residual.abs().amax()
        reference = size if reference is None else reference
        if size <= TOLERANCE * reference:
            break
        moved = ahead - step * residual
        ahead = moved + momentum * (moved - alpha)
        alpha = moved
    return alpha
