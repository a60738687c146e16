"""Logistic regression for a whole penalty path, from the strongest penalty to the weakest.

Each penalty starts from the extrapolation (linear in the logarithm of the penalty) of the two
solutions before it, and inherits their L-BFGS memory, which a change of penalty shifts exactly;
the extrapolation itself is a pair of that memory too. The initial inverse Hessian is the
preconditioner's model of the curvature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.probe import arrays
from benchmark.probe.arrays import Array
from benchmark.probe.lbfgs import Memory
from benchmark.probe.objective import Objective
from benchmark.probe.preconditioner import Preconditioner

BACKTRACKS = 12
FLAT = 0.5  # fraction of the slope that a step may leave beyond the minimum,
STEEP = 0.9  # and short of it
PATIENCE = 150  # iterations without a smaller gradient: rounding has the last word
POLISH = 0.02  # the final fit goes on to this fraction of the tolerance,
POLISH_ITERATIONS = 60  # unless rounding or slow progress stops it first


@dataclass
class Solution:
    """One point of the path: parameters (r + 1, C) and how they were reached."""

    theta: torch.Tensor
    converged: bool
    iterations: int
    gradient_norm: float = 0.0  # the largest, relative to zero


@dataclass
class Point:
    """A solved penalty, as the next one needs it: theta and gradient (C, r + 1)."""

    penalty: float
    theta: Array
    gradient: Array


class PathSolver:
    """Solves one objective for penalties that come in decreasing order.

    tol is relative to the norm of the gradient at zero (per row if the rows are independent
    problems); max_iter counts per penalty; blocks=False for a path of few penalties. What decides
    about steps, one number per problem, is kept in NumPy arrays (problems,).
    """

    def __init__(
        self, objective: Objective, *, tol: float, max_iter: int, blocks: bool = True
    ) -> None:
        self.objective, self.tol, self.max_iter = objective, tol, max_iter
        self.zero = objective.zero
        self.eps = float(objective.module.finfo(self.zero.dtype).eps)
        self.memory = Memory(self.zero, joint=objective.joint)
        self.preconditioner = Preconditioner(objective, blocks=blocks)
        at_zero = self._norm(objective.gradient(self.zero, 0.0))
        # Features that say nothing leave only rounding in the gradient at zero.
        self.scale = np.maximum(at_zero, 10 * self.eps)
        self.previous: list[Point] = []
        self.surprised = False  # the last step had another length than the model said

    def _norm(self, gradient: Array) -> np.ndarray:
        return np.sqrt(self.memory.dot(gradient, gradient))

    def solve(
        self, penalty: float, *, start: Array | None = None, tol: float | None = None
    ) -> Solution:
        """Minimise at `penalty`, from `start` or from the extrapolated path."""
        tol = self.tol if tol is None else tol
        theta = self._start(penalty) if start is None else start
        gradient = self.objective.gradient(theta, penalty)
        self._follow(theta, gradient, penalty)
        # Nothing below twice the rounding error of the residuals can be aimed at.
        target = np.maximum(tol * self.scale, 2 * self.eps)
        iterations, best, best_at = 0, float("inf"), 0
        norm = self._norm(gradient)
        while iterations < self.max_iter:
            relative = norm / target
            worst = relative.max()
            if worst <= 1.0:
                break
            if worst < 0.99 * best:
                best, best_at = worst, iterations
            elif iterations - best_at > PATIENCE:
                break
            active = relative > 1.0
            if self.preconditioner.refresh(theta, penalty, iteration=iterations):
                self.surprised = True  # by a model that has not been tried
            moved = self._step(theta, gradient, penalty, active)
            if moved is not None:
                theta, gradient = moved
                norm = self._norm(gradient)
            elif self.memory.used == 0:
                break  # steepest descent fails too: the gradient is at rounding level
            else:
                self.memory.clear()
                self.preconditioner.refresh(theta, penalty, force=True)
            iterations += 1
        self.preconditioner.solved(iterations)
        self.previous = [*self.previous[-1:], Point(penalty, theta, gradient)]
        return Solution(
            arrays.tensor(theta).T.contiguous(),
            bool((norm <= target).all()),
            iterations,
            float((norm / self.scale).max()),
        )

    def _start(self, penalty: float) -> Array:
        if not self.previous:
            return self.zero
        last = self.previous[-1]
        if len(self.previous) < 2 or self.previous[-2].penalty == last.penalty:
            return last.theta
        before = self.previous[-2]
        pace = math.log(last.penalty / before.penalty)
        ratio = min(2.0, math.log(penalty / last.penalty) / pace)
        return last.theta + (last.theta - before.theta) * ratio

    def _follow(self, theta: Array, gradient: Array, penalty: float) -> None:
        """Bring the memory from the last penalty to this one, with the way here as a pair."""
        if not self.previous or self.previous[-1].penalty == penalty:
            return
        last = self.previous[-1]
        difference = penalty - last.penalty
        self.memory.shift(difference)
        change = gradient - last.gradient
        weights = change[:, :-1]
        weights -= last.theta[:, :-1] * difference
        self.memory.push(theta - last.theta, change)

    def _step(
        self, theta: Array, gradient: Array, penalty: float, active: np.ndarray
    ) -> tuple[Array, Array] | None:
        """One L-BFGS step of every active problem; None if one of them finds no descent."""
        memory = self.memory
        if self.surprised or 0 < memory.used < 3:
            memory.calibrate(self.preconditioner.apply)
        direction = -memory.direction(gradient, self.preconditioner.apply)
        every = bool(active.all())
        if not every:
            direction *= self.memory.column(active)
        slope = memory.dot(gradient, direction)
        if (active & ~(slope < 0)).any():
            return None
        new = theta + direction
        trial = self._gradient(new, penalty, None if every else active, gradient)
        here = memory.dot(trial, direction)
        good = (here <= -FLAT * slope) & (here >= STEEP * slope)
        self.surprised = not good[active].all()
        if self.surprised:
            found = self._search(theta, direction, trial, slope, here, penalty, active & ~good)
            if found is None:
                return None
            direction, trial = found
            new = theta + direction
        memory.push(direction, trial - gradient)
        return new, trial

    def _search(
        self,
        theta: Array,
        direction: Array,
        trial: Array,
        slope: np.ndarray,
        here: np.ndarray,
        penalty: float,
        open_: np.ndarray,
    ) -> tuple[Array, Array] | None:
        """Steps of another length for the problems `open_`, and the gradients after them.

        slope and here (problems,): the slope along the direction before and after a whole step.

        The objective is convex along the step, so the slope alone tells an overshoot, and unlike
        a difference of losses it keeps its digits near the minimum.
        """
        length = np.ones_like(slope)
        low, high = np.zeros_like(slope), np.full_like(slope, np.inf)
        at_low, at_high = slope.copy(), -slope
        for _ in range(BACKTRACKS):
            over = ~(here < 0)
            high, at_high = np.where(over, length, high), np.where(over, here, at_high)
            low, at_low = np.where(over, low, length), np.where(over, at_low, here)
            with np.errstate(invalid="ignore", divide="ignore"):
                part = np.clip(np.nan_to_num(at_low / (at_low - at_high), nan=0.1), 0.1, 0.9)
                beyond = length * np.clip(slope / (slope - here), 2.0, 4.0)
                inside = low + (high - low) * part
            proposed = np.where(np.isinf(high), beyond, inside)
            length = np.where(open_, proposed, length)
            new = theta + direction * self.memory.column(length)
            trial = self._gradient(new, penalty, open_, trial)
            here = np.where(open_, self.memory.dot(trial, direction), here)
            open_ = open_ & ~((here <= -FLAT * slope) & (here >= STEEP * slope))
            if not open_.any():
                return direction * self.memory.column(length), trial
        if (low[open_] == 0).any():
            return None
        # Only steps that are too short are left: any of them is a descent.
        length = np.where(open_, low, length)
        new = theta + direction * self.memory.column(length)
        return new - theta, self._gradient(new, penalty, open_, trial)

    def _gradient(
        self, theta: Array, penalty: float, which: np.ndarray | None, other: Array
    ) -> Array:
        """Gradient at theta of the problems `which`, all if None; `other` of the rest."""
        if which is None or self.objective.joint:
            return self.objective.gradient(theta, penalty)
        rows = np.flatnonzero(which)
        out = arrays.copy(other)
        out[rows] = self.objective.gradient(theta[rows], penalty, rows)
        return out


def solve_path(
    objective: Objective, penalties: Sequence[float], *, tol: float, max_iter: int
) -> Iterator[Solution]:
    """Solutions for `penalties`, which must be decreasing, one after the other."""
    solver = PathSolver(objective, tol=tol, max_iter=max_iter)
    for penalty in penalties:
        yield solver.solve(penalty)


def coarse_path(penalty: float, variance: float) -> Iterator[float]:
    """Decreasing penalties before `penalty`, from one that outweighs features of this variance."""
    larger = penalty
    while larger < variance:
        larger *= 10**1.5
    while larger > penalty * 1.01:
        yield larger
        larger /= 10**1.5


def solve_one(objective: Objective, penalty: float, *, tol: float, max_iter: int) -> Solution:
    """The solution for one penalty, down a coarse path to it.

    The path matters where classes are separable: a weak penalty solved from zero, or from the
    solution on fewer samples, meets the tolerance far from its optimum.
    """
    solver = PathSolver(objective, tol=tol, max_iter=max_iter, blocks=False)
    iterations = 0
    for larger in coarse_path(penalty, objective.variance):
        iterations += solver.solve(larger, tol=10 * tol).iterations
    last = solver.solve(penalty)
    iterations += last.iterations
    if last.converged:
        solver.max_iter = POLISH_ITERATIONS
        start = solver.previous[-1].theta
        polished = solver.solve(penalty, start=start, tol=POLISH * tol)
        if polished.gradient_norm <= last.gradient_norm:
            last = Solution(polished.theta, True, polished.iterations, polished.gradient_norm)
            iterations += polished.iterations
    return Solution(last.theta, last.converged, iterations, last.gradient_norm)
