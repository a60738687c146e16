"""Ridge regression for every penalty from one eigendecomposition.

Minimises |y - X w - b|² + alpha |w|² on standardised features, alpha = 1 / C, the meaning of
alpha in scikit-learn's Ridge; the intercept is not penalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.probe.features import Source, blocks, count, statistics

GRAM_COLUMNS = 192  # of a Gram at a time: fewer make slow products, more compute more twice


@dataclass
class Moments:
    """Sums over samples of standardised features x (D,) and targets y (T,), in float64."""

    n: int
    x: torch.Tensor
    y: torch.Tensor
    xx: torch.Tensor
    xy: torch.Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.n - other.n,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.xy - other.xy,
        )


@dataclass
class RidgePath:
    """Solutions for K values of alpha: on features (x - mean) / scale, constant columns 0."""

    weights: torch.Tensor  # (D, T, K), already divided by the scale
    mean: torch.Tensor  # (D,)
    intercept: torch.Tensor  # (T,), the prediction at the mean

    def decision(self, sources: Sequence[Source]) -> np.ndarray:
        """Predictions (n, T, K) for raw samples."""
        d, t, k = self.weights.shape
        flat = self.weights.view(d, t * k)
        made = np.empty((count(sources), t, k), dtype=np.float32)
        start = 0
        for block in blocks(sources):
            x = _in_float64(block, flat.device).sub_(self.mean)
            out = (x @ flat).view(len(x), t, k) + self.intercept.view(1, t, 1)
            made[start : start + len(x)] = out.float().cpu().numpy()
            start += len(x)
        return made


class Standardiser:
    """Brings raw samples to a base scale in which sums of products lose no digits."""

    def __init__(self, sources: Sequence[Source], device: torch.device) -> None:
        mean, scale = statistics(sources)
        self.device = device
        self.mean = torch.from_numpy(mean).to(device)
        self.scale = torch.from_numpy(np.where(scale > 0, scale, 1.0)).to(device)

    def rows(self, sources: Sequence[Source]) -> list[torch.Tensor]:
        """Blocks (n, D) in float64."""
        return [self._standardised(block) for block in blocks(sources)]

    def _standardised(self, block: np.ndarray) -> torch.Tensor:
        return _in_float64(block, self.device).sub_(self.mean).div_(self.scale)

    def moments(self, sources: Sequence[Source], y: torch.Tensor) -> Moments:
        """Moments of samples with targets y (n, T)."""
        d = len(self.mean)
        total = Moments(0, y.new_zeros(d), y.sum(0), y.new_zeros(d, d), y.new_zeros(d, y.shape[1]))
        for block in blocks(sources):
            x = self._standardised(block)
            total.x += x.sum(0)
            for left in range(0, d, GRAM_COLUMNS):  # the other half is the same
                right = left + GRAM_COLUMNS
                total.xx[left:right, :right].addmm_(x[:, left:right].T, x[:, :right])
            total.xy.addmm_(x.T, y[total.n : total.n + len(x)])
            total.n += len(x)
        total.xx = total.xx.tril() + total.xx.tril(-1).T
        return total


def _in_float64(block: np.ndarray, device: torch.device) -> torch.Tensor:
    """A copy in float64."""
    if device.type == "cpu":
        return torch.from_numpy(np.array(block, dtype=np.float64))
    return torch.from_numpy(np.array(block)).to(device).double()  # half as much to send


def _safe_scale(variance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Standard deviation and its inverse, 0 for columns that do not vary (base variance is 1)."""
    scale = torch.where(variance > 1e-14, variance, 0).sqrt()
    return scale, torch.where(scale > 0, 1 / scale, 0)


def solve_moments(moments: Moments, alphas: torch.Tensor, base: Standardiser) -> RidgePath:
    """Ridge for all alphas (K,) from X^T X; the samples' own mean and scale are taken out."""
    n = moments.n
    mean, y_mean = moments.x / n, moments.y / n
    gram = moments.xx - n * torch.outer(mean, mean)
    _, inverse = _safe_scale(gram.diagonal() / n)
    gram = gram * inverse * inverse.unsqueeze(1)
    target = (moments.xy - n * torch.outer(mean, y_mean)) * inverse.unsqueeze(1)
    values, vectors = torch.linalg.eigh(gram)
    shrunk = (vectors.T @ target).unsqueeze(2) / (
        values.clamp_min(0).view(-1, 1, 1) + alphas.view(1, 1, -1)
    )
    weights = torch.einsum("dr,rtk->dtk", vectors, shrunk)
    factor = (inverse / base.scale).view(-1, 1, 1)
    return RidgePath(weights * factor, base.mean + mean * base.scale, y_mean)


def solve_samples(
    sources: Sequence[Source], y: torch.Tensor, alphas: torch.Tensor, base: Standardiser
) -> RidgePath:
    """The same from X Xᵀ (n, n), for fewer samples than features."""
    x = torch.cat(base.rows(sources))
    mean, y_mean = x.mean(0), y.mean(0)
    x = x - mean
    _, inverse = _safe_scale(x.square().mean(0))
    x = x * inverse
    values, vectors = torch.linalg.eigh(x @ x.T)
    shrunk = (vectors.T @ (y - y_mean)).unsqueeze(2) / (
        values.clamp_min(0).view(-1, 1, 1) + alphas.view(1, 1, -1)
    )
    n, t, k = shrunk.shape
    weights = (x.T @ (vectors @ shrunk.view(n, t * k))).view(-1, t, k)
    factor = (inverse / base.scale).view(-1, 1, 1)
    return RidgePath(weights * factor, base.mean + mean * base.scale, y_mean)


def fit_path(
    sources: Sequence[Source], y: torch.Tensor, alphas: torch.Tensor, base: Standardiser
) -> RidgePath:
    """Ridge on the given samples, by whichever Gram is smaller."""
    if count(sources) < len(base.mean):
        return solve_samples(sources, y, alphas, base)
    return solve_moments(base.moments(sources, y), alphas, base)
