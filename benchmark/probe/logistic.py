"""Logistic probes on one training set: from raw samples to a path of linear classifiers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.probe.features import Source, count, eigenbasis, prepare, statistics
from benchmark.probe.objective import BinaryLoss, Objective, SoftmaxLoss
from benchmark.probe.path import Solution, solve_one, solve_path
from benchmark.probe.sample import suits
from benchmark.probe.streamed import (
    Stream,
    StreamedBinary,
    StreamedSoftmax,
    prepare_stream,
    too_large,
)
from benchmark.probe.targets import columns_of
from benchmark.probe.together import SharedPasses


@dataclass(frozen=True)
class Setting:
    """What all fits of one probe share."""

    kind: str
    classes: int
    tol: float
    max_iter: int
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """float32 sums cannot meet relative gradients far below 1e-5."""
        return torch.float32 if self.tol >= 1e-5 else torch.float64


@dataclass
class Linear:
    """A linear predictor: (x - mean) @ coef + at_mean, float64; coef (D, C)."""

    coef: np.ndarray
    mean: np.ndarray
    at_mean: np.ndarray
    converged: bool = True
    iterations: int = 0


def sketch_basis(sources: Sequence[Source], setting: Setting) -> torch.Tensor | None:
    """An approximate eigenbasis (D, D) to share between folds; None for D > n."""
    width = sources[0][0].shape[1]
    if width > count(sources):
        return None
    thin: list[Source] = []
    step = max(1, count(sources) // (6 * width))
    for x, rows in sources:
        thin.append((x, np.arange(0, len(x), step) if rows is None else rows[::step]))
    mean, scale = statistics(thin)
    x = np.concatenate([a if rows is None else a[rows] for a, rows in thin]).astype(np.float64)
    x = (x - mean) * np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return eigenbasis(torch.from_numpy(x).to(setting.device, setting.dtype))


class LogisticFit:
    """One training set, ready to be solved for any penalty C (scikit-learn's meaning)."""

    def __init__(
        self,
        sources: Sequence[Source],
        y: np.ndarray,
        setting: Setting,
        *,
        penalties: int,
        basis: torch.Tensor | None = None,
    ) -> None:
        self.setting = setting
        self.n = count(sources)
        self.columns = columns_of(y, setting.kind, setting.classes)
        fitted = self.columns.fitted
        passes = 30 + 6 * penalties  # what a path takes, measured
        self.objective: Objective | None = None
        self.shared: SharedPasses | None = None
        joint = setting.kind == "multiclass" and not self.columns.binary
        if too_large(sources):
            self.features = prepare_stream(
                sources, basis=basis, dtype=setting.dtype, device=setting.device
            )
            if fitted:
                loss = StreamedSoftmax if joint else StreamedBinary
                self.objective = whole = loss(self.features, self.columns, y)
                one = joint or fitted == 1  # problem, not one per label
                if one and suits(self.n, sources[0][0].shape[1], fitted):
                    self.shared = SharedPasses(
                        whole, self.features, tol=setting.tol, max_iter=setting.max_iter
                    )
            return
        self.features = prepare(
            sources,
            passes_times_columns=passes * fitted,
            basis=basis,
            dtype=setting.dtype,
            device=setting.device,
        )
        if fitted:
            targets = self.columns.encode(y, setting.dtype, setting.device)
            self.objective = (
                SoftmaxLoss(self.features, targets, fitted)
                if joint
                else BinaryLoss(self.features, targets)
            )

    def path(self, penalties: Sequence[float]) -> Iterator[Solution]:
        """Solutions for increasing C."""
        if self.objective is None:
            return iter([self._constant()] * len(penalties))
        weights = [1.0 / (c * self.n) for c in penalties]
        if self.shared is not None and self.shared.pays(len(weights)):
            return self.shared.path(weights)
        return solve_path(
            self.objective, weights, tol=self.setting.tol, max_iter=self.setting.max_iter
        )

    def one(self, penalty: float) -> Solution:
        """The solution for one C."""
        if self.objective is None:
            return self._constant()
        weight, setting = 1.0 / (penalty * self.n), self.setting
        if self.shared is not None:
            return self.shared.one(weight)
        return solve_one(self.objective, weight, tol=setting.tol, max_iter=setting.max_iter)

    def decisions(
        self, projected: torch.Tensor | Stream, solutions: Sequence[Solution]
    ) -> np.ndarray:
        """Logits (n, C, K) in float32, of samples from `features.project` and K solutions."""
        thetas = [self.columns.expand(solution.theta) for solution in solutions]
        theta = thetas[0] if len(thetas) == 1 else torch.cat(thetas, 1)
        # Class by class: a product with few columns is several times faster this way round.
        offset, weights = theta[-1].unsqueeze(1), theta[:-1].T.contiguous()
        out = np.empty((len(solutions), len(weights) // len(solutions), len(projected)), np.float32)
        flat = out.reshape(len(weights), len(projected))
        whole = [(0, projected)] if isinstance(projected, torch.Tensor) else projected.chunks()
        for start, chunk in whole:
            logits = torch.addmm(offset, weights, chunk.T)
            flat[:, start : start + len(chunk)] = logits.cpu().numpy()
        return out.transpose(2, 1, 0)

    def linear(self, solution: Solution) -> Linear:
        """The solution as a predictor of raw samples."""
        weights, at_mean = self.features.unfold(self.columns.expand(solution.theta))
        if self.columns.kind == "multiclass" and not self.columns.binary and self.columns.fitted:
            # Rounding leaves a common part in all classes, which no probability depends on.
            active = self.columns.active
            weights[:, active] -= weights[:, active].mean(1, keepdims=True)
        coef = weights * self.features.inverse_scale[:, None]
        return Linear(coef, self.features.mean, at_mean, solution.converged, solution.iterations)

    def _constant(self) -> Solution:
        z = self.features.z
        theta = torch.zeros((z.shape[1] + 1, 0), dtype=z.dtype, device=z.device)
        return Solution(theta, True, 0)
