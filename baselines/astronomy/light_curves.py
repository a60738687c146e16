"""Statistics of multi-band light curves, for a whole batch at once.

The statistics are the classical ones of variable-star and transient work: moments, von Neumann's
ratio, Stetson's K and percentile ratios (Richards et al. 2011, ApJ 733, 10), structure functions,
colours, the curve folded on its brightest point, and a periodogram (Lomb 1976; Scargle 1982).
Every function takes banded curves and returns float64 features; padding is masked throughout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

EPS = 1e-9
LAGS = (1.0, 4.0, 12.0, 40.0, 120.0)  # days, upper edges of the structure function
PHASES = (-150.0, -60.0, -25.0, -8.0, 8.0, 25.0, 60.0, 150.0, 400.0)  # days from the peak
FREQUENCIES = (4.0, 2.0, 1.0, 0.5, 1 / 6, 0.05, 1 / 60, 1 / 200, 1 / 600)  # cycles a day, falling
GRID, TICK = 32_768, 0.05  # periodogram: points, days


@dataclass(frozen=True)
class Curves:
    """A batch by band: `time`, `flux`, `error` (B, K, M) float64, `seen` (B, K, M) bool."""

    time: Tensor
    flux: Tensor
    error: Tensor
    seen: Tensor

    @property
    def count(self) -> Tensor:
        """(B, K) observations."""
        return self.seen.sum(-1).double()

    def mean(self, values: Tensor) -> Tensor:
        """(B, K, M) -> (B, K) mean over the observations, 0 in an empty band."""
        return torch.where(self.seen, values, 0.0).sum(-1) / self.count.clamp(min=1)


def by_band(photometry: Tensor, lengths: Tensor, bands: int) -> Curves:
    """(B, L, 4) with (B,) valid observations -> a batch by band; other band indices are dropped."""
    batch, steps, _ = photometry.shape
    valid = torch.arange(steps, device=photometry.device) < lengths[:, None]
    band = torch.where(valid, photometry[..., 3].round().long(), -1)
    member = band[:, :, None] == torch.arange(bands, device=photometry.device)  # B, L, K
    place = member.cumsum(1) - 1
    width = max(int(member.sum(1).max()), 1)
    row, step, column = member.nonzero(as_tuple=True)
    index = (row, column, place[row, step, column])
    arrays = []
    for channel in range(3):
        array = torch.zeros(batch, bands, width, dtype=torch.float64, device=photometry.device)
        array[index] = photometry[row, step, channel].double()
        arrays.append(array)
    seen = torch.zeros(batch, bands, width, dtype=torch.bool, device=photometry.device)
    seen[index] = True
    return Curves(arrays[0], arrays[1], arrays[2], seen)


def quantile(curves: Curves, values: Tensor, q: float) -> Tensor:
    """(B, K, M) -> (B, K): the q-quantile over the observations (linear), 0 in an empty band."""
    ordered = torch.where(curves.seen, values, math.inf).sort(-1).values
    ordered = torch.where(ordered.isinf(), 0.0, ordered)
    position = q * (curves.count - 1).clamp(min=0)
    low = position.floor().long()
    high = torch.minimum(low + 1, (curves.count - 1).clamp(min=0).long())
    weight = position - low
    pick = [ordered.gather(-1, index[..., None])[..., 0] for index in (low, high)]
    return pick[0] * (1 - weight) + pick[1] * weight


def moments(curves: Curves) -> Tensor:
    """(B, K, 16): level, spread, shape and smoothness of each band."""
    flux, seen = curves.flux, curves.seen
    mean = curves.mean(flux)
    residual = torch.where(seen, flux - mean[..., None], 0.0)
    variance = curves.mean(residual**2)
    std = (variance + EPS).sqrt()
    scaled = residual / std[..., None]
    noise = curves.mean(curves.error**2)
    q = {p: quantile(curves, flux, p / 100) for p in (5, 25, 40, 50, 60, 75, 95)}
    spread = (q[95] - q[5]).clamp(min=EPS)
    top = torch.where(seen, flux, -math.inf).amax(-1)
    bottom = torch.where(seen, flux, math.inf).amin(-1)
    filled = curves.count > 0
    deviation = torch.where(seen, (flux - q[50][..., None]).abs(), 0.0)
    pairs = (curves.count - 1).clamp(min=1)
    steps = torch.where(seen[..., 1:], flux[..., 1:] - flux[..., :-1], 0.0)
    signal = flux / curves.error.clamp(min=EPS)
    delta = torch.where(seen, residual / curves.error.clamp(min=EPS), 0.0)
    features = [
        curves.count.log1p(),
        torch.asinh(mean),
        torch.asinh(std),
        torch.asinh(torch.where(filled, top, 0.0) - q[50]),
        torch.asinh(q[50] - torch.where(filled, bottom, 0.0)),
        torch.asinh(curves.mean(scaled**3)),
        torch.log1p(curves.mean(scaled**4)),
        torch.log(((steps**2).sum(-1) / pairs + EPS) / (variance + EPS)),  # von Neumann
        torch.log((variance + EPS) / (noise + EPS)),
        torch.asinh(quantile(curves, signal, 1.0)),
        curves.mean((scaled.abs() > 1).double()),
        curves.mean((signal.abs() > 5).double()),
        (q[60] - q[40]) / spread,
        (q[75] - q[25]) / spread,
        quantile(curves, deviation, 0.5) / std,
        curves.mean(delta.abs()) / (curves.mean(delta**2) + EPS).sqrt(),  # Stetson's K
    ]
    return torch.where(filled[..., None], torch.stack(features, -1), 0.0)


def structure(curves: Curves) -> Tensor:
    """(B, K, len(LAGS)): log of half the mean squared difference at a lag over the variance."""
    residual = torch.where(curves.seen, curves.flux - curves.mean(curves.flux)[..., None], 0.0)
    variance = curves.mean(residual**2) + EPS
    # In order of time the partners of an observation up to a lag are a run, and the sum over a run
    # of (x - y)^2 comes from running sums: no matrix of all pairs, whatever the curve's length.
    time, order = torch.where(curves.seen, curves.time, math.inf).sort(-1)
    value, seen = residual.gather(-1, order), time.isfinite()
    first, second = (torch.nn.functional.pad(v.cumsum(-1), (1, 0)) for v in (value, value**2))
    start = torch.arange(1, time.shape[-1] + 1, device=time.device).expand(time.shape)
    features, low = [], (torch.zeros_like(variance), torch.zeros_like(variance))
    for high in LAGS:
        end = torch.searchsorted(time, time + high).maximum(start)  # of the run of pairs
        number = torch.where(seen, end - start, 0)
        linear = first.gather(-1, end) - first.gather(-1, start)
        square = second.gather(-1, end) - second.gather(-1, start)
        square = (number * value**2 - 2 * value * linear + square) * seen
        below = (number.sum(-1).double(), square.sum(-1))
        count, total = below[0] - low[0], (below[1] - low[1]).clamp(min=0)
        # two pairs' worth of "no information": the ratio is 1 where a lag is never observed
        features.append(torch.log((total / 2 / variance + 2) / (count + 2) + 1e-4))
        low = below
    return torch.stack(features, -1)


def around_peak(curves: Curves) -> Tensor:
    """(B, K * (len(PHASES) - 1) + 2 K + 2): flux by phase from the brightest point, colours.

    Fluxes are taken from each band's 10% quantile and divided by the largest excess of any band;
    a phase is the inverse-variance mean shrunk to 0 where nothing was observed.
    """
    base = quantile(curves, curves.flux, 0.1)
    excess = torch.where(curves.seen, curves.flux - base[..., None], 0.0)
    error = torch.where(curves.seen, curves.error, 1.0).clamp(min=EPS)
    significance = torch.where(curves.seen, excess / error, -math.inf)
    peak = significance.flatten(1).argmax(1)
    origin = curves.time.flatten(1).gather(1, peak[:, None])
    phase = curves.time - origin[..., None]
    sure = torch.where(curves.seen, excess - curves.error, 0.0)
    scale = sure.flatten(1).amax(1).clamp(min=EPS)[:, None, None]
    weight = torch.where(curves.seen, 1 / ((error / scale) ** 2 + 0.01), 0.0)
    height = torch.where(curves.seen, (excess / scale).clamp(-3, 3), 0.0)
    features = []
    for low, high in pairwise(PHASES):
        inside = weight * ((phase >= low) & (phase < high))
        features.append((inside * height).sum(-1) / (inside.sum(-1) + 5))
    near = torch.where(curves.seen & (phase.abs() < 8), excess, 0.0).amax(-1)
    share = near / near.sum(-1, keepdim=True).clamp(min=EPS)
    colour = torch.asinh(near / 10)
    # how long the curve stays above half of its height, and how lopsided it is, in days
    weight = torch.where(curves.seen & (height > 0.5), 1.0, 0.0)
    total = weight.sum((1, 2)).clamp(min=1)
    centre = (weight * phase).sum((1, 2)) / total
    width = ((weight * (phase - centre[:, None, None]) ** 2).sum((1, 2)) / total).sqrt()
    shape = torch.stack([torch.asinh(centre / 10), torch.log1p(width)], -1)
    return torch.cat([torch.stack(features, -1).flatten(1), share, colour, shape], -1)


def transform(ticks: Tensor, values: Tensor) -> Tensor:
    """(B, n) values at (B, n) ticks -> (B, GRID / 2 + 1) Fourier sums over them.

    The values are spread linearly over a regular grid (extirpolation, Press & Rybicki 1989, ApJ
    338, 277) that wraps around, which leaves the grid's own frequencies untouched.
    """
    low = ticks.floor()
    part = ticks - low
    grid = torch.zeros(len(ticks), GRID, dtype=torch.float64, device=ticks.device)
    for offset, share in ((0, 1 - part), (1, part)):
        grid.scatter_add_(1, (low.long() + offset) % GRID, values * share)
    return torch.fft.rfft(grid.float())


def periodogram(curves: Curves) -> tuple[Tensor, Tensor]:
    """Lomb-Scargle power (B, F) in [0, 1] of all bands at frequencies (F,) in cycles a day.

    Each band is standardised and weighted by the share of its variance that is not noise; the sums
    of squared sines and cosines come from the weights at twice the frequency (Zechmeister &
    Kuerster 2009, A&A 496, 577, eq. 4 with the mean taken out beforehand).
    """
    residual = torch.where(curves.seen, curves.flux - curves.mean(curves.flux)[..., None], 0.0)
    variance = curves.mean(residual**2) + EPS
    real = (1 - curves.mean(curves.error**2) / variance).clamp(min=1e-3)
    weight = torch.where(curves.seen, real[..., None], 0.0).flatten(1)
    weight = weight / weight.sum(1, keepdim=True).clamp(min=EPS)
    value = (residual / variance.sqrt()[..., None]).flatten(1)
    ticks = curves.time.flatten(1) / TICK
    top = math.ceil(FREQUENCIES[0] * GRID * TICK)
    doubled = transform(ticks, weight)[:, 2 : 2 * top + 1 : 2]
    once = transform(ticks, weight * value)[:, 1 : top + 1]
    c, s, cs = once.real, -once.imag, -doubled.imag / 2
    cc, ss = (1 + doubled.real) / 2, (1 - doubled.real) / 2
    determinant = (cc * ss - cs**2).clamp(min=1e-3)
    energy = (weight * value**2).sum(1, keepdim=True).clamp(min=EPS)
    power = ((ss * c**2 + cc * s**2 - 2 * cs * c * s) / determinant).double() / energy
    frequency = torch.arange(1, top + 1, device=ticks.device, dtype=torch.float64) / (GRID * TICK)
    return power, frequency


def periods(curves: Curves) -> Tensor:
    """(B, len(FREQUENCIES) + 1): largest power by range of frequency, the strongest, its power."""
    power, frequency = periodogram(curves)
    features = [
        power[:, (frequency <= high) & (frequency > low)].amax(1)
        for high, low in pairwise(FREQUENCIES)
    ]
    best = power.max(1)
    return torch.stack([*features, frequency[best.indices].log(), best.values], -1)


def light_curve_statistics(photometry: Tensor, lengths: Tensor, bands: int) -> Tensor:
    """(B, L, 4), (B,) -> (B, D) float64; D depends on the number of bands alone."""
    curves = by_band(photometry, lengths, bands)
    parts = [moments(curves), structure(curves), around_peak(curves), periods(curves)]
    return torch.cat([part.flatten(1) for part in parts], -1)
