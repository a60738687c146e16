"""Curvature models of a logistic loss that can be inverted exactly, class by class.

The Hessian's diagonal block of one class is the second moment of (features, 1) under the weights
p (1 - p), plus the penalty. With the weighted mean m and covariance S of the features and the
mean weight μ it is  w' (μ S + penalty) w + μ (m'w + b)²  for weights w and intercept b.

The first model takes S as diagonal in the eigenbasis of the features; in (w, m'w + b) it then is
diagonal too. Böhning's bound (Böhning 1992, "Multinomial logistic regression algorithm") is the
same with p (1 - p) replaced by its largest value; here it follows the path as the predictions
sharpen. The second model is the block itself. It costs as much as many iterations, and is built
once as many have been made that it could have saved, and given up if it does not save them: it
does where penalties are weak and samples few, not where the coupling of classes is what matters.
"""

from __future__ import annotations

import numpy as np

from benchmark.probe import arrays
from benchmark.probe.arrays import Array
from benchmark.probe.objective import Objective

REFRESH = 10  # iterations for which one diagonal model is kept
EASY = 4  # iterations per penalty that no model would save
GAIN = 4.0  # operations of a large matrix product in the time of one of a gradient's
WORTH = 0.7  # of the iterations before, which blocks may leave
STEP = 1 << 20  # operations of a gradient in the time of the rest of an iteration
BLOCK_VALUES = 1 << 24  # numbers in the blocks of all classes


class Preconditioner:
    """Inverse of the model at a recent theta; blocks=False: of the first model always."""

    def __init__(self, objective: Objective, *, blocks: bool) -> None:
        self.objective = objective
        self.moments: tuple[Array, Array, Array] | None = None
        self.blocks: Array | None = None  # inverse (C, r + 1, r + 1) of the second model
        self.penalty = -1.0
        self.age = 0
        self.lost = 0  # iterations that blocks could have saved
        self.before = 0  # iterations that a penalty took without blocks
        self.unproven = 0
        classes, width = objective.zero.shape
        # What the blocks cost, in iterations: weighted products of samples, and their inversion.
        products = classes * width**2 * (objective.stand_ins / GAIN + width)
        self.price = products / (classes * width * objective.count + STEP)
        if not blocks or classes * width**2 > BLOCK_VALUES:
            self.price = float("inf")

    def refresh(
        self, theta: Array, penalty: float, *, iteration: int = 0, force: bool = False
    ) -> bool:
        """The model at theta if it has aged, and for this penalty; True if steps of it have not
        been seen yet. iteration: how many this penalty has taken."""
        self.age += 1
        self.lost += iteration >= EASY
        if self.lost >= self.price or (force and self.blocks is not None):
            self._build_blocks(theta, penalty)
            return True
        if self.blocks is not None:
            return False
        new_kind = self.moments is None
        if self.moments is None or force or self.age > REFRESH:
            self.moments = self.objective.moments(theta)
            self.age = 0
        elif penalty == self.penalty:
            return False
        mass, self.mean, variance = self.moments
        self.penalty = penalty
        concatenate = self.objective.module.concatenate
        self.compliance = 1.0 / concatenate((mass * variance + penalty, mass), 1)
        return new_kind

    def solved(self, iterations: int) -> None:
        """A penalty took so many iterations: were the blocks worth it?"""
        if self.blocks is None:
            self.before = iterations
        elif self.unproven:
            self.unproven -= 1
            self.before = max(self.before, iterations) if self.unproven else self.before
            if not self.unproven and iterations > WORTH * self.before:
                self.blocks, self.moments, self.price = None, None, float("inf")

    def _build_blocks(self, theta: Array, penalty: float) -> None:
        if self.blocks is None:
            self.unproven = 2  # the penalty that is being solved, and the first that is not
        self.lost = 0
        objective = self.objective
        blocks = arrays.numbers(objective.curvature(theta))
        diagonal = np.einsum("cii->ci", blocks)  # a view
        # Too few samples must not decide a direction's curvature, nor rounding its sign.
        if objective.stand_ins < objective.count:
            kept = diagonal.copy()
            blocks *= max(0.0, 1.0 - blocks.shape[1] / objective.stand_ins)
            diagonal[:] = kept
        eps = float(objective.module.finfo(theta.dtype).eps)
        diagonal += 10 * eps * diagonal.max(1, keepdims=True) + 1e-12
        diagonal[:, :-1] += penalty
        self.blocks = arrays.convert(np.linalg.inv(blocks), theta)

    def apply(self, v: Array) -> Array:
        """The inverse times v (C, r + 1)."""
        basis = self.objective.basis
        out = arrays.copy(v)
        weights, bias = out[:, :-1], out[:, -1:]
        if basis is not None:
            weights[:] = v[:, :-1] @ basis
        if self.blocks is not None:
            out = self.objective.module.matmul(self.blocks, out[:, :, None])[:, :, 0]
            weights = out[:, :-1]
        else:
            weights -= self.mean * bias
            out *= self.compliance
            bias -= (self.mean * weights).sum(1)[:, None]
        if basis is not None:
            weights[:] = weights @ basis.T
        if self.objective.joint:
            out -= out.sum(0) * (1.0 / len(out))
        return out
