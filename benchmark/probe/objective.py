"""Regularised logistic losses: gradients and class-wise moments, in blocks of samples.

Parameters are one matrix theta (C, r + 1): a row per class, the intercept last. The objective is
mean loss + penalty / 2 |weights|², with penalty = 1 / (C n) for scikit-learn's C. Samples are read
once for a gradient: logits and residuals of a block stay in the cache, none is kept. Logits are
laid out class by class, (C, block): products and softmax of few classes run several times faster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from benchmark.probe import arrays
from benchmark.probe.arrays import Array
from benchmark.probe.features import Features

MOMENT_ROWS = 4096  # samples that settle the curvature,
MOMENT_ROWS_PER_CLASS = 32  # of many classes more
CPU_BLOCK = 1 << 19  # values of a block of samples, or of their logits, that stay in the cache
CUDA_BLOCK = 1 << 26


@dataclass
class Block:
    """Consecutive samples as `arrays.suited` gives them, their transpose, and their place."""

    samples: Array
    transposed: Array
    rows: slice


def block_rows(widest: int, *, cuda: bool) -> int:
    """Samples in a block whose widest row, features or logits, has `widest` values."""
    if cuda:
        return max(1, CUDA_BLOCK // widest)
    return max(512, min(2048, CPU_BLOCK // widest))


class Objective:
    """What both losses share; a subclass turns logits into probabilities and residuals.

    `joint` is True where the rows of theta are one optimisation problem (softmax) and
    False where each row is its own (one-vs-rest). theta and all results are arrays of the kind
    of `zero`.
    """

    joint: bool

    def __init__(self, features: Features, columns: int) -> None:
        self.columns = columns
        samples = arrays.suited(features.z, columns)
        self.samples = samples
        self.count = len(samples)
        self.basis: Array | None = (
            None if features.basis is None else arrays.same_kind(features.basis, samples)
        )
        self.variance = features.variance
        self.module = arrays.module(samples)
        width = features.z.shape[1]
        self.zero = arrays.zeros((columns, width + 1), samples)
        self.block = min(self.count, block_rows(max(width, columns), cuda=features.z.is_cuda))
        self.buffers = [arrays.zeros((columns * self.block,), samples) for _ in range(2)]
        self.penalised = arrays.zeros((1, width + 1), samples)
        self.penalised[0, :-1] = 1
        self._stand_ins: list[Block] | None = None
        self._blocks: list[Block] | None = None

    def each_block(self) -> Iterable[Block]:
        """All samples, block by block."""
        if self._blocks is None:
            self._blocks = self._cut(self.samples)
        return self._blocks

    def spaced(self, stride: int) -> Array:
        """Every `stride`-th sample."""
        return self.samples if stride == 1 else arrays.copy(self.samples[::stride])

    def _cut(self, samples: Array) -> list[Block]:
        blocks = []
        for start in range(0, len(samples), self.block):
            part = samples[start : start + self.block]
            place = slice(start, start + len(part))
            blocks.append(Block(part, arrays.transposed(part), place))
        return blocks

    def probabilities(self, logits: Array, out: Array) -> Array:
        """Probabilities of logits, (C, n) or for several thetas (K, C, n), written to `out`."""
        raise NotImplementedError

    def subtract_targets(self, p: Array, rows: slice, which: Array | None) -> None:
        """Turn probabilities of the samples `rows` into d loss / d logits, in place."""
        raise NotImplementedError

    def _predict(self, theta: Array, block: Block) -> Array:
        """Probabilities (C, n) of a block; the next call overwrites them."""
        shape = (len(theta), len(block.samples))
        logits, out = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in self.buffers)
        return self.probabilities(arrays.affine(theta, block.transposed, logits), out)

    def gradient(self, theta: Array, penalty: float, which: Array | None = None) -> Array:
        """Gradient at theta, both (C, r + 1); or (k, r + 1), the rows `which` (k,) alone."""
        total = theta * (self.penalised * (penalty * self.count))
        for block in self.each_block():
            residual = self._predict(theta, block)
            self.subtract_targets(residual, block.rows, which)
            arrays.add_products(total, residual, block.samples)
        total *= 1.0 / self.count
        if self.joint:
            # All classes shifted alike change nothing: what is left there is rounding.
            total -= total.sum(0) * (1.0 / self.columns)
        return total

    def spread(self, theta: Array, block: Block) -> Array:
        """p (1 - p), (C, n), of a block of the samples that stand for all."""
        weight = self._predict(theta, block)
        weight -= weight * weight
        return weight

    def moments(self, theta: Array) -> tuple[Array, Array, Array]:
        """Curvature of each class, p (1 - p), as a weight of the samples.

        Returns the mean weight (C, 1) and, in the eigenbasis, the weighted mean (C, r) and
        variance (C, r) of the features; over a part of the samples where there are many.
        """
        theta = self._in_eigenbasis(theta)
        first, second = self.zero * 0, self.zero * 0
        for block in self._sample():
            weight = self.spread(theta, block)
            arrays.add_products(first, weight, block.samples)
            arrays.add_products(second, weight, block.samples * block.samples)
        mass = first[:, -1:].clip(1e-12 * self.stand_ins)
        mean = first[:, :-1] / mass
        variance = (second[:, :-1] / mass - mean * mean).clip(0.0)
        return mass / self.stand_ins, mean, variance

    def curvature(self, theta: Array) -> Array:
        """Hessian of the mean loss within each class, (C, r + 1, r + 1) in the eigenbasis; over
        a part of the samples where there are many."""
        theta = self._in_eigenbasis(theta)
        width = theta.shape[1]
        total = arrays.zeros((len(theta), width, width), theta)
        for block in self._sample():
            weight = self.spread(theta, block)
            arrays.add_weighted_grams(total, weight.clip(0.0), block.samples)
        total *= 1.0 / self.stand_ins
        return total

    def _in_eigenbasis(self, rows: Array) -> Array:
        """Rows of columns, and perhaps one more for the intercept, with those of the eigenbasis."""
        if self.basis is None:
            return rows
        width = len(self.basis)
        return self.module.concatenate((rows[:, :width] @ self.basis, rows[:, width:]), 1)

    @property
    def stand_ins(self) -> int:
        """Number of samples that the curvature is taken from."""
        return -(-self.count // self._stride)

    @property
    def _stride(self) -> int:
        wanted = max(MOMENT_ROWS, MOMENT_ROWS_PER_CLASS * self.columns)
        return max(1, self.count // wanted)

    def _sample(self) -> list[Block]:
        """The samples that stand for all in `moments` and `curvature`, in the eigenbasis."""
        if self._stand_ins is None:
            self._stand_ins = self._cut(self._in_eigenbasis(self.spaced(self._stride)))
        return self._stand_ins


class SoftmaxLoss(Objective):
    """Multinomial logistic loss with integer labels (n,) or soft targets (n, C) summing to 1."""

    joint = True

    def __init__(self, features: Features, targets: torch.Tensor, columns: int) -> None:
        super().__init__(features, columns)
        self.soft: Array | None = None
        if targets.ndim == 2:
            self.soft = arrays.same_kind(targets.T.contiguous(), self.samples)
            return
        labels = arrays.same_kind(targets, self.samples)
        self.minus = arrays.zeros((self.block,), self.samples) - 1
        # Where each sample's class stands in the flattened logits of its block.
        self.places = []
        for block in self.each_block():
            n = len(block.samples)
            place = arrays.same_kind(torch.arange(n, device=targets.device), self.samples)
            self.places.append(labels[block.rows] * n + place)

    def probabilities(self, logits: Array, out: Array) -> Array:
        return arrays.softmax(logits, out)

    def subtract_targets(self, p: Array, rows: slice, which: Array | None) -> None:
        if self.soft is not None:
            p -= self.soft[:, rows]
        else:
            place = self.places[rows.start // self.block]
            arrays.add_at(p, place, self.minus[: len(place)])


class BinaryLoss(Objective):
    """One logistic loss per column, with targets (n, C) in [0, 1]."""

    joint = False

    def __init__(self, features: Features, targets: torch.Tensor) -> None:
        super().__init__(features, targets.shape[1])
        self.targets = arrays.same_kind(targets.T.contiguous(), self.samples)

    def probabilities(self, logits: Array, out: Array) -> Array:
        return arrays.sigmoid(logits, out)

    def subtract_targets(self, p: Array, rows: slice, which: Array | None) -> None:
        targets = self.targets[:, rows]
        p -= targets if which is None else targets[which]
