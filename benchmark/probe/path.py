"""Logistic regression for a whole penalty path, from the strongest penalty to the weakest.

Each penalty starts from the extrapolation (linear in the logarithm of the penalty) of the two
solutions before it, and inherits their L-BFGS memory, which a change of penalty shifts exactly.
The initial inverse Hessian is a Kronecker model: mean curvature in logit space ⊗ Gram of the
features, plus the penalty. Both factors are diagonal in their eigenbases, so it is inverted
exactly. Where the mean curvature is bounded from above this is Böhning's bound
(Böhning 1992, "Multinomial logistic regression algorithm"), but it follows the path as the
predictions sharpen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmark.probe.lbfgs import Memory
from benchmark.probe.objective import Objective

BACKTRACKS = 12
PATIENCE = 150  # iterations without a smaller gradient: rounding has the last word
POLISH = 0.2  # the final fit goes on to this fraction of the tolerance,
POLISH_ITERATIONS = 60  # unless rounding or slow progress stops it first
REFRESH = 6  # iterations for which one curvature model is kept


@dataclass
class Solution:
    """One point of the path: parameters (r + 1, C) and how they were reached."""

    theta: torch.Tensor
    converged: bool
    iterations: int
    gradient_norm: float = 0.0  # the largest, relative to zero


class Preconditioner:
    """Inverse of (curvature ⊗ spectrum + penalty), refreshed at theta when it has aged."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        spectrum = objective.features.spectrum
        self.spectrum = torch.cat((spectrum, spectrum.new_ones(1))).unsqueeze(1)
        self.curvature: torch.Tensor | None = None
        self.vectors: torch.Tensor | None = None
        self.age = 0

    def refresh(self, theta: torch.Tensor, *, limit: int = REFRESH) -> None:
        self.age += 1
        if self.curvature is not None and self.age <= limit:
            return
        values, self.vectors = self.objective.curvature(theta)
        # Softmax curvature is singular along the constant vector, where no gradient points.
        floor = 1e-2 * values.mean() if self.objective.joint else values.new_tensor(0.0)
        self.curvature = torch.maximum(values, floor.clamp_min(1e-12))
        self.age = 0

    def apply(self, v: torch.Tensor, penalty: float) -> torch.Tensor:
        assert self.curvature is not None
        basis, vectors = self.objective.features.basis, self.vectors
        shrink = self.spectrum * self.curvature
        shrink[:-1] += penalty
        out = v if vectors is None else v @ vectors
        if basis is None:
            out = out / shrink
        else:
            out = torch.cat((basis @ ((basis.T @ out[:-1]) / shrink[:-1]), out[-1:] / shrink[-1:]))
        return out if vectors is None else out @ vectors.T


class PathSolver:
    """Solves one objective for penalties that come in decreasing order.

    tol is relative to the norm of the gradient at zero (per column if the columns are
    independent problems); max_iter counts per penalty.
    """

    def __init__(self, objective: Objective, *, tol: float, max_iter: int) -> None:
        self.objective, self.tol, self.max_iter = objective, tol, max_iter
        z = objective.features.z
        self.zero = torch.zeros(objective.shape, dtype=z.dtype, device=z.device)
        self.memory = Memory(self.zero, joint=objective.joint)
        self.preconditioner = Preconditioner(objective)
        at_zero = self._norm(objective.gradient(self.zero, 0.0))
        # Features that say nothing leave only rounding in the gradient at zero.
        self.scale = at_zero.clamp_min(10 * torch.finfo(z.dtype).eps)
        self.previous: list[tuple[float, torch.Tensor]] = []

    def _norm(self, gradient: torch.Tensor) -> torch.Tensor:
        return self.memory.dot(gradient, gradient).sqrt()

    def solve(
        self, penalty: float, *, start: torch.Tensor | None = None, tol: float | None = None
    ) -> Solution:
        """Minimise at `penalty`, from `start` or from the extrapolated path."""
        tol = self.tol if tol is None else tol
        theta, gradient = self._start(penalty, start)
        if self.previous:
            self.memory.shift(penalty - self.previous[-1][0])
        # Nothing below twice the rounding error of the residuals can be aimed at.
        target = (tol * self.scale).clamp_min(2 * torch.finfo(theta.dtype).eps)
        iterations, best, best_at = 0, float("inf"), 0
        while iterations < self.max_iter:
            norm = self._norm(gradient)
            active = norm > target
            if not bool(active.any()):
                break
            worst = float((norm / target).max())
            if worst < 0.99 * best:
                best, best_at = worst, iterations
            elif iterations - best_at > PATIENCE:
                break
            moved = self._step(theta, gradient, penalty, active)
            if moved is None:
                if self.memory.used == 0:
                    break  # steepest descent fails too: the gradient is at rounding level
                self.memory.clear()
                self.preconditioner.refresh(theta, limit=0)
            else:
                theta, gradient = moved
            iterations += 1
        norm = self._norm(gradient)
        self.previous = [*self.previous[-1:], (penalty, theta)]
        return Solution(
            theta, not bool((norm > target).any()), iterations, float((norm / self.scale).max())
        )

    def _start(
        self, penalty: float, start: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gradient_of = self.objective.gradient
        if start is not None or not self.previous:
            theta = self.zero if start is None else start
            return theta, gradient_of(theta, penalty)
        last_penalty, last = self.previous[-1]
        if len(self.previous) < 2:
            return last, gradient_of(last, penalty)
        before_penalty, before = self.previous[-2]
        logs = torch.tensor([before_penalty, last_penalty, penalty], dtype=torch.float64).log()
        ratio = min(2.0, float((logs[2] - logs[1]) / (logs[1] - logs[0])))
        theta = last + ratio * (last - before)
        return theta, gradient_of(theta, penalty)

    def _trust(self, penalty: float) -> torch.Tensor | float:
        """Factor that fits the curvature model to the last step: the model averages over samples
        and is too soft in the few directions that hard samples dominate."""
        pair = self.memory.last()
        if pair is None:
            return 1.0
        step, change = pair
        modelled = self.memory.dot(change, self.preconditioner.apply(change, penalty))
        seen = self.memory.dot(step, change)
        return torch.where(modelled > 0, seen / modelled, 1.0).clamp(0.001, 1.0)

    def _step(
        self, theta: torch.Tensor, gradient: torch.Tensor, penalty: float, active: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """One L-BFGS step of every active problem; None if one of them finds no descent."""
        memory, objective = self.memory, self.objective
        self.preconditioner.refresh(theta)
        trust = self._trust(penalty)
        direction = memory.direction(
            gradient, lambda v: trust * self.preconditioner.apply(v, penalty)
        )
        direction = torch.where(active, direction, 0)
        slope = memory.dot(gradient, direction)
        if bool((active & ~(slope < 0)).any()):
            return None
        length = torch.ones_like(slope)
        new, trial = theta.clone(), gradient.clone()
        todo = active
        for _ in range(BACKTRACKS):
            which = None
            if not objective.joint and not bool(todo.all()):
                which = todo[0].nonzero().squeeze(1)
            if which is None:
                new = theta + length * direction
                trial = objective.gradient(new, penalty)
            else:
                new[:, which] = theta[:, which] + (length * direction)[:, which]
                trial[:, which] = objective.gradient(new[:, which], penalty, which)
            # The objective is convex along the step, so the slope alone tells an overshoot, and
            # unlike a difference of losses it keeps its digits near the minimum.
            ahead = memory.dot(trial, direction)
            todo = active & ~(ahead <= 0.5 * slope.abs())
            if not bool(todo.any()):
                memory.push(new - theta, trial - gradient)
                return new, trial
            root = slope.abs() / (slope.abs() + ahead)
            length = torch.where(todo, length * root.nan_to_num(0.1).clamp(0.1, 0.7), length)
        return None


def solve_path(
    objective: Objective, penalties: Sequence[float], *, tol: float, max_iter: int
) -> Iterator[Solution]:
    """Solutions for `penalties`, which must be decreasing, one after the other."""
    solver = PathSolver(objective, tol=tol, max_iter=max_iter)
    for penalty in penalties:
        yield solver.solve(penalty)


def solve_one(
    objective: Objective,
    penalty: float,
    *,
    tol: float,
    max_iter: int,
    start: torch.Tensor | None = None,
) -> Solution:
    """The solution for one penalty, from `start` or down a coarse path to it.

    The coarse path matters where classes are separable: a weak penalty solved from zero
    meets the tolerance far from its optimum.
    """
    solver = PathSolver(objective, tol=tol, max_iter=max_iter)
    spectrum = objective.features.spectrum
    iterations, larger = 0, penalty
    while start is None and len(spectrum) and larger < float(spectrum.max()):
        larger *= 10**0.75
    while larger > penalty * 1.01:
        iterations += solver.solve(larger, tol=10 * tol).iterations
        larger /= 10**0.75
    last = solver.solve(penalty, start=start)
    iterations += last.iterations
    if last.converged:
        solver.max_iter = POLISH_ITERATIONS
        polished = solver.solve(penalty, start=last.theta, tol=POLISH * tol)
        if polished.gradient_norm <= last.gradient_norm:
            last = Solution(polished.theta, True, polished.iterations, polished.gradient_norm)
            iterations += polished.iterations
    return Solution(last.theta, last.converged, iterations, last.gradient_norm)
