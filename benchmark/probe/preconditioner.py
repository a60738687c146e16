"""Curvature model of a logistic loss that can be inverted exactly, class by class.

The Hessian's diagonal block of one class is the second moment of (features, 1) under the weights
p (1 - p), plus the penalty. With the weighted mean m and covariance S of the features and the
mean weight μ it is  w' (μ S + penalty) w + μ (m'w + b)²  for weights w and intercept b. In the
eigenbasis of the features S is taken as diagonal; in (w, m'w + b) the model then is diagonal too.
Böhning's bound (Böhning 1992, "Multinomial logistic regression algorithm") is the same with
p (1 - p) replaced by its largest value; here it follows the path as the predictions sharpen.
"""

from __future__ import annotations

from benchmark.probe import arrays
from benchmark.probe.arrays import Array
from benchmark.probe.objective import Objective

REFRESH = 10  # iterations for which one model is kept


class Preconditioner:
    """Inverse of the model at a recent theta."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.moments: tuple[Array, Array, Array] | None = None
        self.penalty = -1.0
        self.age = 0

    def refresh(self, theta: Array, penalty: float, *, force: bool = False) -> None:
        """The model at theta if it has aged, and for this penalty."""
        self.age += 1
        if self.moments is None or force or self.age > REFRESH:
            self.moments = self.objective.moments(theta)
            self.age = 0
        elif penalty == self.penalty:
            return
        mass, self.mean, variance = self.moments
        self.penalty = penalty
        concatenate = self.objective.module.concatenate
        self.compliance = 1.0 / concatenate((mass * variance + penalty, mass), 1)

    def apply(self, v: Array) -> Array:
        """The inverse times v (C, r + 1)."""
        basis = self.objective.basis
        out = arrays.copy(v)
        weights, bias = out[:, :-1], out[:, -1:]
        if basis is not None:
            weights[:] = v[:, :-1] @ basis
        weights -= self.mean * bias
        out *= self.compliance
        bias -= (self.mean * weights).sum(1)[:, None]
        if basis is not None:
            weights[:] = weights @ basis.T
        if self.objective.joint:
            out -= out.sum(0) * (1.0 / len(out))
        return out
