"""A weighted sample in memory that stands for a training set too large for it.

A sample is spread evenly over the samples and evenly over the classes, so that a rare class is in
it, and, once there are predictors, over the samples that these are wrong about (where penalties are
weak and classes far apart, such samples are all that curves the loss) and over the largest samples,
which are all that knows of a feature that is seldom active. Weights make the mean loss of
the sample an unbiased estimate of the whole set's. Its curvature is what the solver in `together`
takes steps by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmark.probe import arrays
from benchmark.probe.arrays import Array
from benchmark.probe.features import Features
from benchmark.probe.objective import BinaryLoss, Block, Objective, SoftmaxLoss
from benchmark.probe.streamed import Streamed

ROWS_PER_COLUMN = 64  # samples per feature, or per class if there are more of those
LEAST_ROWS = 4096
SHARE = 32  # a sample is this part of a set, if that is more, but not
MOST = 4  # times as many samples
LARGEST = 1 << 27  # values of a sample
WORTH = 8  # times the sample that a set must hold for the detour to pay
SEED = 0x5A3B1E  # of no data: drawn labels must not come from the same numbers
_DRAWN_AT_ONCE = 1 << 16


def rows_wanted(n: int, width: int, classes: int) -> int:
    """Of n samples, how many settle the curvature of `classes` columns over `width` features."""
    least = max(LEAST_ROWS, ROWS_PER_COLUMN * max(width, classes))
    return max(least, min(n // SHARE, MOST * least, LARGEST // width))


def suits(n: int, width: int, classes: int) -> bool:
    """Whether a set of n samples is worth a sample, and the sample fits."""
    rows = rows_wanted(n, width, classes)
    return n >= WORTH * rows and rows * width <= LARGEST


@dataclass
class Hardness:
    """How far predictions of the set are off, by some predictors, or another measure of what a
    sample must not lack: (n, L), float16."""

    residuals: np.ndarray
    totals: np.ndarray

    @classmethod
    def unseen(cls, n: int, predictors: int) -> Hardness:
        """To be filled by `see`."""
        return cls(np.zeros((n, predictors), dtype=np.float16), np.zeros(predictors))

    def see(self, rows: slice, residuals: np.ndarray) -> None:
        """Residuals (L, n) of some samples."""
        self.residuals[rows] = np.minimum(residuals.T, 6e4)  # float16 ends at 65,504
        self.totals += residuals.sum(1, dtype=np.float64)

    def shares(self, rows: slice) -> np.ndarray:
        """The samples' part of all that the predictors are off, mean over these (n,)."""
        totals = np.where(self.totals > 0, self.totals, np.inf) * len(self.totals)
        return (self.residuals[rows] / totals).sum(1)


def draw(
    y: np.ndarray, rows: int, hardness: Hardness | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Places (m,), increasing, and weights (m,) of mean 1 of at most about `rows` samples.

    y: labels (n,), or weights of the classes (n, C). Half of the sample is spread evenly over
    samples, half over classes; with `hardness`, these are a quarter each, half are hard samples.
    Each is drawn by itself with a probability of its own; the same y gives the same sample.
    """
    rng = np.random.default_rng([SEED, len(y)])
    part = rows / (2 if hardness is None else 4)
    mass = np.bincount(y) if y.ndim == 1 else y.sum(0, dtype=np.float64)
    of_class = part / (np.count_nonzero(mass > 0) * np.where(mass > 0, mass, np.inf))
    places, chances = [], []
    step = max(1, _DRAWN_AT_ONCE * len(y) // y.size)
    for start in range(0, len(y), step):
        some = y[start : start + step]
        chance = of_class[some] if y.ndim == 1 else (some * of_class).max(1)
        chance += part / len(y)
        if hardness is not None:
            chance += rows / 2 * hardness.shares(slice(start, start + step))
        chance = np.minimum(chance, 1.0)
        hit = np.flatnonzero(rng.random(len(some)) < chance)
        places.append(start + hit)
        chances.append(chance[hit])
    weights = 1.0 / np.concatenate(chances)
    return np.concatenate(places), weights / weights.mean()


class _Sample(Objective):
    """A loss of weighted samples, with an offset of its gradient."""

    weights: Array
    offset: Array | float = 0.0

    def gradient(self, theta: Array, penalty: float, which: Array | None = None) -> Array:
        return super().gradient(theta, penalty, which) + self.offset

    def subtract_targets(self, p: Any, rows: slice, which: Any) -> None:
        super().subtract_targets(p, rows, which)
        p *= self.weights[rows]

    def spread(self, theta: Array, block: Block) -> Array:
        weight = super().spread(theta, block)
        weight *= self.weights[:: self._stride][block.rows]
        return weight


class SampledSoftmax(_Sample, SoftmaxLoss):
    """Softmax loss of a weighted sample."""


class SampledBinary(_Sample, BinaryLoss):
    """The logistic loss of a weighted sample: one column."""


def sampled(
    whole: Streamed, features: Features, hardness: Hardness | None = None
) -> SampledSoftmax | SampledBinary:
    """The objective of a sample of `whole`, whose features are `features`."""
    width, columns = features.z.shape[1], whole.fitted.fitted
    places, weights = draw(whole.y, rows_wanted(whole.count, width, columns), hardness)
    z = whole.stream.sample(places)
    targets = whole.fitted.encode(whole.y[places], z.dtype, z.device)
    taken = Features(z, features.basis, None, features.mean, features.inverse_scale)
    objective: SampledSoftmax | SampledBinary
    if whole.joint:
        objective = SampledSoftmax(taken, targets, columns)
    else:
        objective = SampledBinary(taken, targets)
    given = torch.from_numpy(weights).to(z.device, z.dtype)
    objective.weights = arrays.same_kind(given, objective.samples)
    return objective
