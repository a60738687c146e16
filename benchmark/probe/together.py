"""Logistic regression on a set too large for memory, with passes that all penalties share.

The whole path is first solved on a weighted sample. Then, round by round, one pass over the set
gives the gradients at the present point of every penalty that is not solved yet. The next point of
a penalty is found on the sample: the sample's loss, with the linear term that makes its gradient
that of the whole set, is minimised from the point that the gradients seen so far extrapolate to
(the least residual of their affine hull). That is the approximate Newton step of DANE (Shamir,
Srebro, Zhang 2014, "Communication-efficient distributed optimization using an approximate
Newton-type method") with Anderson's acceleration (Walker, Ni 2011). A point counts only if its
gradient on the whole set is smaller; what this does not solve within a few rounds, L-BFGS on the
whole set finishes. So the sample decides how fast a solution is found, never which one: the
tolerance is that of `path`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.probe import arrays
from benchmark.probe.arrays import Array
from benchmark.probe.features import Features
from benchmark.probe.objective import Block
from benchmark.probe.path import (
    POLISH,
    PathSolver,
    Point,
    Solution,
    coarse_path,
    solve_one,
    solve_path,
)
from benchmark.probe.sample import Hardness, sampled
from benchmark.probe.streamed import Streamed

COLUMNS = 512  # logit columns of a pass: a product of so many is as fast as it gets
SHARED = 4  # penalties that must share a pass for it to pay
APART = 2e-3  # mean residual of the weakest penalty, below which classes are
COARSE = 4  # of so many penalties one is solved before the others
FINE = 18  # penalties from which the others are near enough
LEVELS = 3  # penalties whose solutions say which samples are hard
ROUNDS = 16
NEAR = 10.0  # tolerances from which L-BFGS takes over where the rounds ended
MEMORY = 6  # rounds that a point is extrapolated from
PATIENCE = 3  # rounds in which a gradient must halve
FIRST_TOL = 1e-2  # of the sample's path: closer to the sample is no closer to the set
INNER = 0.1  # of the gradient on the set, which a step on the sample leaves,
INNER_ITERATIONS = 30  # if it can in so many
RANK = 1e-6  # singular values, relative, of what the gradients seen span


@dataclass
class _State:
    """Points (K, C, r + 1) of K penalties, their gradients, and the norms (K,) of these."""

    theta: torch.Tensor
    gradient: torch.Tensor
    norm: np.ndarray
    rounds: np.ndarray  # passes (K,) in which a penalty took part


class SharedPasses:
    """Solves one streamed objective, softmax or of one column, for many penalties.

    tol: of the norm of a gradient, relative to that at zero; max_iter: passes for each penalty.
    """

    def __init__(
        self, objective: Streamed, features: Features, *, tol: float, max_iter: int
    ) -> None:
        self.objective, self.features, self.tol, self.max_iter = objective, features, tol, max_iter
        self.eps = float(torch.finfo(objective.zero.dtype).eps)
        self.scale = 1.0  # norm of the gradient at zero
        self.finisher: PathSolver | None = None
        self.finished_at = 0.0  # the penalty of the finisher's memory

    def _take(self, hardness: Hardness | None) -> None:
        """A sample and its solver."""
        self.sample = sampled(self.objective, self.features, hardness)
        self.solver = PathSolver(
            self.sample, tol=FIRST_TOL, max_iter=INNER_ITERATIONS, blocks=False
        )
        self.at = 0.0  # the penalty of the solver's memory

    def _survey(self, penalties: Sequence[float]) -> bool:
        """Solve decreasing penalties on a first sample, see what their solutions are wrong about,
        and take a sample for that; False if they are wrong about nothing, or nowhere finite.

        Where classes are apart, a weak penalty meets the tolerance far from its optimum, unless it
        is approached from stronger ones.
        """
        self._take(None)
        levels = sorted({round((len(penalties) - 1) * (k + 1) / LEVELS) for k in range(LEVELS)})
        found = [self._on_sample(penalty) for penalty in penalties]
        theta = torch.stack([torch.zeros_like(found[0]), *(found[k] for k in levels)])
        hardness = Hardness.unseen(self.objective.count, len(levels) + 1)

        def see(block: Block, residual: torch.Tensor) -> None:
            size = block.samples.square().mean(1)[None]  # a rare feature's few samples are large
            off = torch.cat((residual[1:].abs().sum(1), size))
            hardness.see(block.rows, off.cpu().numpy())

        gradient = self._gradients(theta, [0.0, *(penalties[k] for k in levels)], see)
        self.scale = max(float(_norms(gradient)[0]), 10 * self.eps)
        del self.sample, self.solver  # one at a time in memory
        wrong = hardness.totals[len(levels) - 1] / self.objective.count
        if not (np.isfinite(hardness.totals).all() and wrong > APART):
            return False
        self._take(hardness)
        return True

    def pays(self, penalties: int) -> bool:
        """Whether so many penalties are solved sooner together than one after the other."""
        return min(penalties, COLUMNS // self.objective.columns) >= SHARED

    def path(self, penalties: Sequence[float]) -> Iterator[Solution]:
        """Solutions for decreasing penalties: of some of them, which tell where to look for the
        others, as many at a time as may share a pass."""
        given, penalties = penalties, sorted({float(p) for p in penalties}, reverse=True)
        if not self._survey(penalties):
            yield from solve_path(self.objective, given, tol=self.tol, max_iter=self.max_iter)
            return
        every = range(len(penalties))
        coarse = sorted({*every[:: COARSE if len(every) >= FINE else 1], every[-1]})
        starts = {k: self._on_sample(penalties[k]) for k in coarse}
        found = self._in_groups(starts, penalties)
        logs = np.log(penalties)
        starts = {k: _interpolated(k, found, logs) for k in every if k not in found}
        found |= self._in_groups(starts, penalties)
        del self.sample, self.solver
        yield from (found[penalties.index(float(p))] for p in given)

    def _in_groups(
        self, starts: dict[int, torch.Tensor], penalties: Sequence[float]
    ) -> dict[int, Solution]:
        """Solutions of those penalties that have a start (C, r + 1)."""
        found: dict[int, Solution] = {}
        together, numbers = COLUMNS // self.objective.columns, list(starts)
        for first in range(0, len(numbers), together):
            group = numbers[first : first + together]
            some = [penalties[k] for k in group]
            state = self._solved(torch.stack([starts[k] for k in group]), some, self.tol)
            found |= zip(group, self._finished(state, some), strict=True)
        return found

    def one(self, penalty: float) -> Solution:
        """The solution for one penalty, to a fraction of the tolerance if it can be had."""
        way = [*coarse_path(penalty, self.objective.variance), penalty]
        made = 0
        if self._survey(way):
            *_, start = (self._on_sample(each) for each in way)
            state = self._solved(start[None], [penalty], POLISH * self.tol)
            found = self._solution(state, 0)
            del self.sample, self.solver
            if found.converged:
                return found
            made = found.iterations
        solution = solve_one(self.objective, penalty, tol=self.tol, max_iter=self.max_iter)
        solution.iterations += made
        return solution

    def _finished(self, state: _State, penalties: Sequence[float]) -> Iterator[Solution]:
        """The solutions of a group of penalties, by L-BFGS where the rounds found none."""
        last: list[Point] = []
        for number, penalty in enumerate(penalties):
            solution = self._solution(state, number)
            left = self.max_iter - solution.iterations
            if solution.converged:
                last = [*last[-1:], Point(penalty, state.theta[number], state.gradient[number])]
            elif left > 0:
                if self.finisher is None:
                    self.finisher = PathSolver(self.objective, tol=self.tol, max_iter=left)
                solver, rounds = self.finisher, solution.iterations
                solver.max_iter = left
                near = state.norm[number] <= NEAR * self._target(self.tol)
                solver.previous = last
                at = last[-1].penalty if last else penalty
                solver.memory.shift(at - self.finished_at)
                self.finished_at = penalty
                start = None if len(last) == 2 and not near else state.theta[number]
                solution = solver.solve(penalty, start=start)
                solution.iterations += rounds
                last = solver.previous
            yield solution

    def _solution(self, state: _State, number: int) -> Solution:
        norm = float(state.norm[number])
        return Solution(
            state.theta[number].T.contiguous(),
            norm <= self._target(self.tol),
            int(state.rounds[number]),
            norm / self.scale,
        )

    def _target(self, tol: float) -> float:
        return max(tol * self.scale, 2 * self.eps)

    def _solved(self, theta: torch.Tensor, penalties: Sequence[float], tol: float) -> _State:
        """Rounds from theta (K, C, r + 1) on until tol is met, or they no longer help."""
        gradient = self._gradients(theta, penalties)
        rounds = np.full(len(theta), 2)  # with the survey
        state = _State(theta, gradient, _norms(gradient), rounds)
        target = self._target(tol)
        steps: deque[torch.Tensor] = deque(maxlen=MEMORY)
        changes: deque[torch.Tensor] = deque(maxlen=MEMORY)
        norms = [state.norm.copy()]
        for turn in range(min(ROUNDS, max(0, self.max_iter - 2))):
            open_ = ~(state.norm <= target)
            if turn >= PATIENCE:
                open_ &= state.norm < 0.5 * norms[turn - PATIENCE]
            # to and fro: the solver's memory fits the penalty that it had last
            order = np.flatnonzero(open_)[:: -1 if turn % 2 == 0 else 1]
            if not len(order):
                break
            base, residual = state.theta, state.gradient
            if steps:
                both = (torch.stack([*some]) for some in (steps, changes))
                base, residual = _extrapolated(state, *both)
            moved = [self._step(base[k], residual[k], penalties[k], INNER * target) for k in order]
            places = torch.from_numpy(order.copy()).to(theta.device)
            there = torch.stack(moved)
            gradient = self._gradients(there, [penalties[k] for k in order])
            norm = _norms(gradient)
            finite = np.flatnonzero(np.isfinite(norm))
            for memory, now, before in (
                (steps, there, state.theta),
                (changes, gradient, state.gradient),
            ):
                change = torch.zeros_like(before)
                change[places[finite]] = now[finite] - before[places[finite]]
                memory.append(change)
            better = norm < state.norm[order]
            chosen, which = (
                places[torch.from_numpy(better).to(theta.device)],
                np.flatnonzero(better),
            )
            state.theta[chosen] = there[which]
            state.gradient[chosen] = gradient[which]
            state.norm[order[better]] = norm[better]
            state.rounds[order] += 1
            norms.append(state.norm.copy())
        return state

    def _gradients(
        self,
        theta: torch.Tensor,
        penalties: Sequence[float],
        see: Callable[[Block, torch.Tensor], None] | None = None,
    ) -> torch.Tensor:
        weights = torch.tensor(penalties, dtype=theta.dtype, device=theta.device)
        return self.objective.gradients(theta, weights, see)

    def _on_sample(
        self, penalty: float, start: Array | None = None, tol: float | None = None
    ) -> torch.Tensor:
        """The sample's solution (C, r + 1), by a solver that remembers the last ones."""
        if not self.solver.previous:
            self.solver.memory.shift(penalty - self.at)
        self.at = penalty
        solution = self.solver.solve(penalty, start=start, tol=tol)
        return arrays.tensor(solution.theta.T).contiguous()  # sums onto columns are slow

    def _step(
        self, base: torch.Tensor, gradient: torch.Tensor, penalty: float, least: float
    ) -> torch.Tensor:
        """Minimise the sample's loss, so tilted that its gradient at `base` is `gradient`, until a
        part of that is left, or the norm `least`."""
        sample, solver = self.sample, self.solver
        solver.previous = []  # of another offset
        start = arrays.same_kind(base, sample.zero)
        sample.offset = arrays.same_kind(gradient, sample.zero) - sample.gradient(start, penalty)
        aim = max(INNER * float(gradient.norm()), least)
        found = self._on_sample(penalty, start, aim / float(solver.scale[0]))
        sample.offset = 0.0
        return found


def _interpolated(number: int, found: dict[int, Solution], logs: np.ndarray) -> torch.Tensor:
    """What a cubic through the solutions on both sides has at a penalty, by its logarithm:
    (C, r + 1). found: some of the penalties, the first and the last among them."""
    below = sorted(k for k in found if k < number)[-2:]
    nearest = [*below, *sorted(k for k in found if k > number)[: 4 - len(below)]]
    theta = torch.zeros_like(found[nearest[0]].theta)
    for k in nearest:
        others = [logs[j] for j in nearest if j != k]
        part = np.prod([(logs[number] - x) / (logs[k] - x) for x in others])
        theta += found[k].theta * float(part)
    return theta.T.contiguous()


def _norms(gradient: torch.Tensor) -> np.ndarray:
    return torch.linalg.vector_norm(gradient.double(), dim=(1, 2)).cpu().numpy()


def _extrapolated(
    state: _State, steps: torch.Tensor, changes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Point and gradient, both (K, C, r + 1), of the least residual that combinations of the steps
    and changes (m, K, C, r + 1) promise."""
    y, g = changes.double().flatten(2), state.gradient.double().flatten(1)
    gram = torch.einsum("mkx,nkx->kmn", y, y)
    size = torch.diagonal(gram, dim1=1, dim2=2).sqrt()
    size = torch.where(size > 0, size, 1.0)
    inverse = torch.linalg.pinv(
        gram / (size[:, :, None] * size[:, None, :]), rtol=RANK, hermitian=True
    )
    right = torch.einsum("mkx,kx->km", y, g) / size
    part = (inverse @ right[:, :, None])[:, :, 0] / size  # (K, m)
    base = state.theta - torch.einsum("km,mkcx->kcx", part.to(steps.dtype), steps)
    residual = g - torch.einsum("km,mkx->kx", part, y)
    return base, residual.to(steps.dtype).view_as(base)
