"""The linear probe: fit a whole penalty path, choose one penalty, refit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from benchmark.errors import SslBenchError
from benchmark.probe.arrays import threads_for
from benchmark.probe.features import Source, check_finite, count
from benchmark.probe.folds import group_folds
from benchmark.probe.logistic import Linear, LogisticFit, Setting, sketch_basis
from benchmark.probe.ridge import (
    Moments,
    RidgePath,
    Standardiser,
    fit_path,
    solve_moments,
)
from benchmark.probe.selection import DEFAULT_SCORES, Score, choose
from benchmark.probe.targets import check_targets

# The grid of DINOv2's linear evaluation with logistic regression (Oquab et al. 2023).
PENALTIES: np.ndarray = 10.0 ** np.linspace(-6, 5, 45)

DECISION_VALUES = 1 << 22  # converted at a time
SCORED_VALUES = 1 << 20  # predictions of several penalties that are scored at a time


@dataclass
class LinearProbe:
    """A fitted probe.

    coef: (D, C) float32 in the original feature space (standardisation folded in).
    intercept: (C,). penalty: the chosen C, inverse strength as in scikit-learn.
    selection: "validation", "5-fold group cross-validation" (with the number of folds there
    were) or "fixed". selection_scores: (K,) in the order of the given penalties, None if fixed.
    converged: the returned fit met the tolerance; iterations: of all fits made for it.
    centre, at_centre: the training mean (D,) and the outputs there (C,); `decision` goes through
    them because features far off centre lose digits in x @ coef + intercept.
    """

    coef: np.ndarray
    intercept: np.ndarray
    penalty: float
    selection: str
    selection_scores: np.ndarray | None
    converged: bool
    iterations: int
    centre: np.ndarray | None = None
    at_centre: np.ndarray | None = None

    def decision(self, x: np.ndarray) -> np.ndarray:
        """Logits or regression outputs (n, C) float32 for embeddings (n, D), block by block."""
        if x.ndim != 2 or x.shape[1] != len(self.coef):
            raise SslBenchError(
                f"embeddings of shape {x.shape} for a probe of {len(self.coef)} features."
            )
        out = np.empty((len(x), self.coef.shape[1]), dtype=np.float32)
        coef = torch.from_numpy(np.ascontiguousarray(self.coef))
        centre = 0.0 if self.centre is None else self.centre
        offset = self.intercept if self.at_centre is None else self.at_centre
        size = max(1, DECISION_VALUES // max(self.coef.shape))
        for start in range(0, len(x), size):
            block = (np.asarray(x[start : start + size], dtype=np.float64) - centre).astype("f4")
            out[start : start + size] = (torch.from_numpy(block) @ coef).numpy() + offset
        return out


@torch.inference_mode()
def fit_probe(
    x: np.ndarray,
    y: np.ndarray,
    *,
    kind: str,
    n_classes: int | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    groups: np.ndarray | None = None,
    score: Score | None = None,
    penalties: np.ndarray | Sequence[float] = PENALTIES,
    folds: int = 5,
    refit: bool = True,
    tol: float = 1e-4,
    max_iter: int = 1000,
    seed: int = 0,
    device: str | torch.device = "cpu",
    name: str = "encoder",
    ids: Sequence[object] | None = None,
) -> LinearProbe:
    """Fit a linear probe on embeddings, choosing the penalty C without any test data.

    x: (N, D) embeddings, perhaps memory-mapped. kind and y: "multiclass" with labels (N,) or
    soft targets (N, C); "multilabel" with (N, C) of 0 and 1, one-vs-rest; "regression" with (N,)
    or (N, T). Objective: C · sum of losses + |W|² / 2 on standardised features, intercept free
    (logistic loss; regression is ridge with alpha = 1 / C).

    The penalty is the best on `validation` = (x, y), and the probe is then refitted on both
    parts (if refit); or the best in group cross-validation, refitted on everything; or the one
    given. `score(decision (n, C, K), y) -> (K,)`, higher is better, is called with any number K of
    penalties; by default accuracy, log-likelihood or R². Equal scores choose the smallest C.

    tol: norm of the gradient relative to its norm at zero. Below 1e-5 everything is computed in
    float64. Classes without a training sample get zero weights and a logit of -10,000.
    Raises `SslBenchError` for NaN or infinite embeddings (naming `name` and the sample from `ids`),
    lengths that differ, impossible targets, fewer than two classes, fewer than two groups.
    """
    if kind not in DEFAULT_SCORES:
        raise SslBenchError(f"kind {kind!r}: must be one of {', '.join(DEFAULT_SCORES)}.")
    grid = np.asarray(penalties, dtype=np.float64).reshape(-1)
    if not len(grid) or not (np.isfinite(grid).all() and (grid > 0).all()):
        raise SslBenchError("penalties: at least one, all positive and finite, expected.")
    x = _embeddings(x, name, ids, "")
    y = np.asarray(y)
    given = (y, None) if validation is None else (y, np.asarray(validation[1]))
    if kind != "regression" and n_classes is None:
        n_classes = _classes(given)
    targets = check_targets(y, kind, len(x), n_classes, f"{name}, training data")
    if groups is not None and len(groups) != len(x):
        raise SslBenchError(f"{name}: {len(x)} embeddings but {len(groups)} groups.")
    train = _Part([(x, None)], targets, y)
    held: _Part | None = None
    if validation is not None:
        x_val = _embeddings(validation[0], name, None, "validation ")
        if x_val.shape[1] != x.shape[1]:
            raise SslBenchError(f"{name}: validation embeddings differ in width from training.")
        y_val = np.asarray(validation[1])
        what = f"{name}, validation data"
        held = _Part(
            [(x_val, None)], check_targets(y_val, kind, len(x_val), n_classes, what), y_val
        )
    if kind == "multiclass":
        seen = np.unique(targets) if targets.ndim == 1 else np.flatnonzero(targets.sum(0))
        if len(seen) < 2:
            raise SslBenchError(
                f"{name}: the training data holds {len(seen)} class; a probe needs two or more."
            )
    setting = Setting(kind, n_classes or 0, tol, max_iter, torch.device(device))
    order = np.argsort(grid, kind="stable")
    score = DEFAULT_SCORES[kind] if score is None else score
    fitter = _Ridge if kind == "regression" else _Logistic
    task = fitter(train, held, grid[order], score, setting, refit)
    with threads_for(x.size * (n_classes or 1)):
        if len(grid) == 1:
            scores, selection, chosen = None, "fixed", 0
        elif held is not None:
            scores, selection = task.validate(), "validation"
            chosen = choose(scores, grid[order])
        else:
            labels = None if kind == "regression" else targets
            parts = group_folds(labels, groups, len(x), folds=folds, seed=seed)
            scores = task.cross_validate(parts)
            selection = f"{len(parts)}-fold group cross-validation"
            chosen = choose(scores, grid[order])
        best = task.final(chosen)
    if scores is not None:
        unsorted = np.empty_like(scores)
        unsorted[order] = scores
        scores = unsorted
    return LinearProbe(
        coef=best.coef.astype(np.float32),
        intercept=best.at_mean - best.mean @ best.coef,
        penalty=float(grid[order][chosen]),
        selection=selection,
        selection_scores=scores,
        converged=best.converged,
        iterations=task.iterations,
        centre=best.mean,
        at_centre=best.at_mean,
    )


def _embeddings(x: np.ndarray, name: str, ids: Sequence[object] | None, part: str) -> np.ndarray:
    if x.ndim != 2 or 0 in x.shape:
        raise SslBenchError(
            f"{name}: {part}embeddings of shape {x.shape}; (samples, features) expected, both > 0."
        )
    check_finite(x, f"{name}, {part}embeddings" if part else name, ids)
    return x


def _classes(targets: tuple[np.ndarray, np.ndarray | None]) -> int:
    first = targets[0]
    if first.ndim == 2:
        return int(first.shape[1])
    return int(max(t.max() for t in targets if t is not None and len(t))) + 1


@dataclass
class _Part:
    """Samples with their checked targets and the targets as the caller gave them."""

    sources: list[Source]
    targets: np.ndarray
    given: np.ndarray

    def take(self, rows: np.ndarray) -> _Part:
        (x, _), *_ = self.sources
        return _Part([(x, rows)], self.targets[rows], self.given[rows])

    def joined(self, other: _Part | None) -> _Part:
        if other is None:
            return self
        if self.targets.ndim != other.targets.ndim:
            raise SslBenchError("training and validation targets differ in shape.")
        return _Part(
            self.sources + other.sources,
            np.concatenate((self.targets, other.targets)),
            self.given,
        )


def _together(held: _Part, outputs: int) -> int:
    """Penalties whose predictions, `outputs` per sample, are scored at once."""
    return max(1, SCORED_VALUES // max(1, count(held.sources) * outputs))


class _Task:
    """A probe being chosen: training part, validation part, penalties in increasing order."""

    def __init__(
        self,
        train: _Part,
        held: _Part | None,
        grid: np.ndarray,
        score: Score,
        setting: Setting,
        refit: bool,
    ) -> None:
        self.train, self.held, self.grid = train, held, grid
        self.score, self.setting, self.refit = score, setting, refit
        self.iterations = 0

    def _scored(self, decision: np.ndarray, given: np.ndarray) -> np.ndarray:
        return np.asarray(self.score(decision, given), dtype=np.float64).reshape(-1)

    def cross_validate(self, folds: list[np.ndarray]) -> np.ndarray:
        """Score (K,) averaged over held-out samples."""
        n = count(self.train.sources)
        total = np.zeros(len(self.grid))
        for rows in folds:
            kept = np.ones(n, dtype=bool)
            kept[rows] = False
            total += len(rows) * self.fold_scores(np.flatnonzero(kept), rows)
        return total / n

    def fold_scores(self, kept: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class _Logistic(_Task):
    basis: torch.Tensor | None = None
    best: Linear | None = None

    def validate(self) -> np.ndarray:
        assert self.held is not None
        return self._path_scores(self.train, self.held, keep=not self.refit)

    def fold_scores(self, kept: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        if self.basis is None:
            self.basis = sketch_basis(self.train.sources, self.setting)
        basis = None if self.basis is not None and len(self.basis) > len(kept) else self.basis
        return self._path_scores(self.train.take(kept), self.train.take(held_out), basis=basis)

    def _path_scores(
        self, train: _Part, held: _Part, *, basis: torch.Tensor | None = None, keep: bool = False
    ) -> np.ndarray:
        size = len(self.grid)
        fit = LogisticFit(train.sources, train.targets, self.setting, penalties=size, basis=basis)
        if self.basis is None:
            self.basis = fit.features.directions  # near enough to those of the refit's samples
        projected = fit.features.project(held.sources)
        scores, best = np.empty(size), -np.inf
        path = fit.path([float(c) for c in self.grid])
        together = _together(held, self.setting.classes)
        for k in range(0, size, together):
            some = list(islice(path, together))
            self.iterations += sum(solution.iterations for solution in some)
            scores[k : k + len(some)] = self._scored(fit.decisions(projected, some), held.given)
            for score, solution in zip(scores[k:], some, strict=False):
                if keep and (self.best is None or score > best):
                    best, self.best = score, fit.linear(solution)
        return scores

    def final(self, chosen: int) -> Linear:
        if self.best is not None:
            return self.best
        part = self.train.joined(self.held) if self.refit else self.train
        basis = self.basis
        fit = LogisticFit(part.sources, part.targets, self.setting, penalties=1, basis=basis)
        solution = fit.one(float(self.grid[chosen]))
        self.iterations += solution.iterations
        return fit.linear(solution)


class _Ridge(_Task):
    def __init__(
        self,
        train: _Part,
        held: _Part | None,
        grid: np.ndarray,
        score: Score,
        setting: Setting,
        refit: bool,
    ) -> None:
        super().__init__(train, held, grid, score, setting, refit)
        self.alphas = torch.from_numpy(1.0 / grid).to(setting.device)
        self.base = Standardiser(train.sources, setting.device)
        self.by_moments = count(train.sources) >= train.sources[0][0].shape[1]
        self.whole: Moments | None = None  # of the training part, once they are known
        self.of_folds: Iterator[Moments] | None = None

    def validate(self) -> np.ndarray:
        assert self.held is not None
        if self.by_moments:
            self.whole = self._moments(self.train)
        return self._scores(self._fit(self.train, self.whole, self.alphas), self.held)

    def cross_validate(self, folds: list[np.ndarray]) -> np.ndarray:
        if self.by_moments:
            # Every fold's Gram is the whole Gram less the held-out part's.
            parts = [self._moments(self.train.take(rows)) for rows in folds]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            self.whole = total
            self.of_folds = iter([total - part for part in parts])
        return super().cross_validate(folds)

    def fold_scores(self, kept: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        part = self.train.take(kept)
        moments = None if self.of_folds is None else next(self.of_folds)
        return self._scores(self._fit(part, moments, self.alphas), self.train.take(held_out))

    def _moments(self, part: _Part) -> Moments:
        return self.base.moments(part.sources, self._targets(part))

    def _targets(self, part: _Part) -> torch.Tensor:
        return torch.from_numpy(part.targets).to(self.setting.device)

    def _fit(self, part: _Part, moments: Moments | None, alphas: torch.Tensor) -> RidgePath:
        if moments is not None:
            return solve_moments(moments, alphas, self.base)
        return fit_path(part.sources, self._targets(part), alphas, self.base)

    def _scores(self, path: RidgePath, held: _Part) -> np.ndarray:
        _, t, size = path.weights.shape
        chunk = _together(held, t)
        scores = []
        for k in range(0, size, chunk):
            some = RidgePath(
                path.weights[:, :, k : k + chunk].contiguous(), path.mean, path.intercept
            )
            scores.append(self._scored(some.decision(held.sources), held.given))
        return np.concatenate(scores)

    def final(self, chosen: int) -> Linear:
        part, moments = self.train, self.whole
        if self.refit and self.held is not None:
            if moments is None:
                part = part.joined(self.held)
            else:
                moments = moments + self._moments(self.held)
        path = self._fit(part, moments, self.alphas[chosen : chosen + 1])
        return Linear(
            path.weights[:, :, 0].cpu().numpy(),
            path.mean.cpu().numpy(),
            path.intercept.cpu().numpy(),
        )
