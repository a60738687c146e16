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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmark.probe.lbfgs import Memory
from benchmark.probe.objective import Objective

BACKTRACKS = 12
PATIENCE = 150  # iterations without a smaller gradient: rounding has the last word
POLISH = 0.2  # the final fit goes on to this fraction of the tolerance,
POLISH_ITERATIONS = 60  # unless rounding or slow progress stops it first
RENEW = 50  # iterations after which the stored logits are computed afresh
REFRESH = 6  # iterations for which one curvature model is kept


@dataclass
class Solution:
    """One point of the path: parameters (r + 1, C) and how they were reached."""

    theta: torch.Tensor
    converged: bool
    iterations: int
    gradient_norm: float = 0.0  # the largest, relative to zero


class Preconditioner:
    """Inverse of (curvature ⊗ spectrum + penalty), refreshed when it has aged."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        spectrum = objective.features.spectrum
        self.spectrum = torch.cat((spectrum, spectrum.new_ones(1)))
        self.curvature: torch.Tensor | None = None
        self.vectors: torch.Tensor | None = None
        self.shrink = self.spectrum
        self.penalty = -1.0
        self.age = 0
        # Eigenvectors of many classes cost as much as a pass over the samples.
        self.limit = max(REFRESH, objective.columns // 40)

    def refresh(self, logits: torch.Tensor, penalty: float, *, force: bool = False) -> None:
        """Curvature at `logits` if it has aged, and the model for this penalty."""
        self.age += 1
        if self.curvature is None or force or self.age > self.limit:
            values, self.vectors = self.objective.curvature(logits)
            # Softmax curvature is singular along the constant vector, where no gradient points.
            floor = 1e-2 * values.mean() if self.objective.joint else values.new_tensor(0.0)
            self.curvature = torch.maximum(values, floor.clamp_min(1e-12))
            self.age = 0
        elif penalty == self.penalty:
            return
        self.penalty = penalty
        self.shrink = self.curvature.unsqueeze(1) * self.spectrum
        self.shrink[:, :-1] += penalty

    def _turned(self, v: torch.Tensor) -> torch.Tensor:
        basis = self.objective.features.basis
        out = v if self.vectors is None else self.vectors.T @ v
        return out if basis is None else torch.cat((out[:, :-1] @ basis, out[:, -1:]), 1)

    def apply(self, v: torch.Tensor) -> torch.Tensor:
        """The inverse times v (C, r + 1)."""
        basis = self.objective.features.basis
        out = self._turned(v) / self.shrink
        if basis is not None:
            out = torch.cat((out[:, :-1] @ basis.T, out[:, -1:]), 1)
        return out if self.vectors is None else self.vectors @ out

    def root(self, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two thetas whose inner product is v · inverse · v."""
        turned = self._turned(v)
        return turned, turned / self.shrink


class PathSolver:
    """Solves one objective for penalties that come in decreasing order.

    tol is relative to the norm of the gradient at zero (per row if the rows are independent
    problems); max_iter counts per penalty. The logits of the current point are stored and those
    of the direction computed once, so that a line search takes no product with the samples.
    """

    def __init__(self, objective: Objective, *, tol: float, max_iter: int) -> None:
        self.objective, self.tol, self.max_iter = objective, tol, max_iter
        z = objective.features.z
        self.zero = torch.zeros(objective.shape, dtype=z.dtype, device=z.device)
        self.memory = Memory(self.zero, joint=objective.joint)
        self.preconditioner = Preconditioner(objective)
        self.logits, self.ahead, self.trial, self.residual = (
            torch.empty((objective.columns, len(z)), dtype=z.dtype, device=z.device)
            for _ in range(4)
        )
        at_zero = self._norm(self._at(self.zero, 0.0))
        # Features that say nothing leave only rounding in the gradient at zero.
        self.scale = at_zero.clamp_min(10 * torch.finfo(z.dtype).eps)
        self.previous: list[tuple[float, torch.Tensor]] = []

    def _norm(self, gradient: torch.Tensor) -> torch.Tensor:
        return self.memory.dot(gradient, gradient).sqrt()

    def _at(self, theta: torch.Tensor, penalty: float) -> torch.Tensor:
        """Gradient at theta from fresh logits."""
        self.objective.logits(theta, self.logits)
        self.objective.residual(self.logits, self.residual)
        return self.objective.gradient(self.residual, theta, penalty)

    def solve(
        self, penalty: float, *, start: torch.Tensor | None = None, tol: float | None = None
    ) -> Solution:
        """Minimise at `penalty`, from `start` or from the extrapolated path."""
        tol = self.tol if tol is None else tol
        theta = self._start(penalty) if start is None else start
        gradient = self._at(theta, penalty)
        if self.previous and penalty != self.previous[-1][0]:
            self.memory.shift(penalty - self.previous[-1][0])
        # Nothing below twice the rounding error of the residuals can be aimed at.
        target = (tol * self.scale).clamp_min(2 * torch.finfo(theta.dtype).eps)
        iterations, best, best_at = 0, float("inf"), 0
        norm = self._norm(gradient)
        while iterations < self.max_iter:
            relative = norm / target
            worst = float(relative.max())
            if worst <= 1.0:
                break
            if worst < 0.99 * best:
                best, best_at = worst, iterations
            elif iterations - best_at > PATIENCE:
                break
            moved = self._step(theta, gradient, penalty, relative > 1.0)
            if moved is None:
                if self.memory.used == 0:
                    break  # steepest descent fails too: the gradient is at rounding level
                self.memory.clear()
                self.preconditioner.refresh(self.logits, penalty, force=True)
            else:
                theta, gradient = moved
            iterations += 1
            if iterations % RENEW == 0:
                gradient = self._at(theta, penalty)  # added-up logits gather rounding errors
            norm = self._norm(gradient)
        self.previous = [*self.previous[-1:], (penalty, theta)]
        return Solution(
            theta.T.contiguous(),
            bool((norm <= target).all()),
            iterations,
            float((norm / self.scale).max()),
        )

    def _start(self, penalty: float) -> torch.Tensor:
        if not self.previous:
            return self.zero
        last_penalty, last = self.previous[-1]
        if len(self.previous) < 2:
            return last
        before_penalty, before = self.previous[-2]
        if before_penalty == last_penalty:
            return last
        ratio = min(2.0, math.log(penalty / last_penalty) / math.log(last_penalty / before_penalty))
        return torch.lerp(before, last, 1.0 + ratio)

    def _trust(self) -> torch.Tensor | float:
        """Factor that fits the curvature model to the last step: the model averages over samples
        and is too soft in the few directions that hard samples dominate."""
        memory = self.memory
        if memory.used == 0 or memory.seen is None:
            return 1.0
        modelled = memory.dot(*self.preconditioner.root(memory.newest()))
        ratio = memory.seen.to(modelled.dtype) / modelled
        return ratio.nan_to_num(1.0, 1.0, 1.0).clamp(0.001, 1.0)

    def _step(
        self, theta: torch.Tensor, gradient: torch.Tensor, penalty: float, active: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """One L-BFGS step of every active problem; None if one of them finds no descent."""
        memory, objective = self.memory, self.objective
        self.preconditioner.refresh(self.logits, penalty)
        trust = self._trust()
        direction = memory.direction(gradient, lambda v: self.preconditioner.apply(v).mul_(trust))
        direction.neg_()
        which = None
        if not objective.joint and not bool(active.all()):
            direction.mul_(active)
            which = active[:, 0].nonzero().squeeze(1)
        slope = memory.dot(gradient, direction)
        if bool((active & ~(slope < 0)).any()):
            return None
        length = self._length(theta, direction, slope, penalty, active, which)
        if length is None:
            return None
        step = direction if isinstance(length, float) else direction.mul_(length)
        new = theta + step
        if which is None:
            trial = objective.gradient(self.residual, new, penalty)
        else:
            trial = gradient.clone()
            trial[which] = objective.gradient(self.residual, new, penalty, which)
        memory.push(step, trial - gradient)
        return new, trial

    def _length(
        self,
        theta: torch.Tensor,
        direction: torch.Tensor,
        slope: torch.Tensor,
        penalty: float,
        active: torch.Tensor,
        which: torch.Tensor | None,
    ) -> torch.Tensor | float | None:
        """Step lengths that leave at most half the slope; moves logits and residual there.

        The objective is convex along the step, so the slope alone tells an overshoot, and unlike
        a difference of losses it keeps its digits near the minimum. 1.0 stands for whole steps.
        """
        dot, objective = self.memory.dot, self.objective
        objective.logits(direction, self.ahead, which)
        weights, along = theta[:, :-1], direction[:, :-1]
        fixed, growing = penalty * dot(weights, along), penalty * dot(along, along)
        length: torch.Tensor | float = 1.0
        low, high = torch.zeros_like(slope), torch.full_like(slope, float("inf"))
        at_low, at_high = slope, slope.neg()
        for _ in range(BACKTRACKS):
            if isinstance(length, float):
                torch.add(self.logits, self.ahead, out=self.trial)
            else:
                torch.addcmul(self.logits, self.ahead, length, out=self.trial)
            objective.residual(self.trial, self.residual)
            here = dot(self.residual, self.ahead) / self.trial.shape[1]
            here = here + fixed + growing * length
            done = ~active | (here.abs() <= 0.5 * slope.abs())
            if bool(done.all()):
                self.logits, self.trial = self.trial, self.logits
                return length
            t = torch.ones_like(slope) * length
            over = ~(here < 0)
            high, at_high = torch.where(over, t, high), torch.where(over, here, at_high)
            low, at_low = torch.where(over, low, t), torch.where(over, at_low, here)
            inside = low + (high - low) * (at_low / (at_low - at_high)).nan_to_num(0.1).clamp(
                0.1, 0.9
            )
            beyond = t * (slope / (slope - here)).clamp(2.0, 4.0)
            proposed = torch.where(high.isinf(), beyond, inside)
            length = torch.where(done, t, proposed)
        if bool((active & (low == 0)).any()):
            return None
        # Only steps that are too short are left: any of them is a descent.
        length = torch.where(done, t, low)
        torch.addcmul(self.logits, self.ahead, length, out=self.trial)
        objective.residual(self.trial, self.residual)
        self.logits, self.trial = self.trial, self.logits
        return length


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
    start = None if start is None else start.T.contiguous()
    while start is None and len(spectrum) and larger < float(spectrum.max()):
        larger *= 10**0.75
    while larger > penalty * 1.01:
        iterations += solver.solve(larger, tol=10 * tol).iterations
        larger /= 10**0.75
    last = solver.solve(penalty, start=start)
    iterations += last.iterations
    if last.converged:
        solver.max_iter = POLISH_ITERATIONS
        polished = solver.solve(penalty, start=last.theta.T.contiguous(), tol=POLISH * tol)
        if polished.gradient_norm <= last.gradient_norm:
            last = Solution(polished.theta, True, polished.iterations, polished.gradient_norm)
            iterations += polished.iterations
    return Solution(last.theta, last.converged, iterations, last.gradient_norm)
