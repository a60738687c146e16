"""Light curves as AstroM3 wants them, and multi-band light curves taken apart.

The preparation is that of the authors' evaluation (https://github.com/MeriDK/AstroM3,
`src/dataset.py`): repeated rows dropped, sorted by time, flux minus its mean over the median
absolute deviation (MAD), time scaled to [0, 1], a centred cut of 200 observations or zero padding,
and six values repeated at every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from baselines.astronomy.light_curves import by_band
from benchmark.errors import EncoderError

YEAR = 365.0  # days, as in the authors' code
Bands = Literal["mean", "best"]


@dataclass(frozen=True)
class BandCurves:
    """Single-band light curves of a batch, one row each, in time order without repeats.

    `time` (days), `flux`, `error` (P, M) float64, zero beyond `counts` (P,); `example` (P,) is the
    row of the batch that a curve belongs to, `batch` the number of examples.
    """

    time: Tensor
    flux: Tensor
    error: Tensor
    counts: Tensor
    example: Tensor
    batch: int

    @property
    def seen(self) -> Tensor:
        """(P, M) True where there is an observation."""
        steps = torch.arange(self.time.shape[1], device=self.time.device)
        return steps < self.counts[:, None]

    def mean(self, values: Tensor) -> Tensor:
        """(P, M) -> (P,) mean over the observations, 0 for an empty curve."""
        return torch.where(self.seen, values, 0.0).sum(-1) / self.counts.clamp(min=1)

    def median(self, values: Tensor) -> Tensor:
        """(P, M) -> (P,) median over the observations (mean of the middle two), 0 if empty."""
        return torch.where(self.seen, values, math.nan).nanquantile(0.5, -1).nan_to_num(0.0)


def band_curves(photometry: Tensor, lengths: Tensor, bands: Bands) -> BandCurves:
    """(B, L, 4: time, flux, error, band), (B,) -> single-band curves.

    `bands`: "mean" keeps every observed band, "best" the one with most observations (the first of
    equals). An example without observations keeps one empty curve.
    """
    if bands not in ("mean", "best"):
        raise EncoderError(f"bands is {bands!r}: use 'mean' (every band) or 'best' (the fullest)")
    valid = torch.arange(photometry.shape[1], device=lengths.device) < lengths[:, None]
    known, column = photometry[..., 3].round().where(valid, 0.0).unique(return_inverse=True)
    numbered = torch.cat([photometry[..., :3], column[..., None].to(photometry.dtype)], -1)
    curves = by_band(numbered, lengths, len(known))
    counts = curves.seen.sum(-1)
    fullest = torch.zeros_like(counts, dtype=torch.bool)
    fullest.scatter_(1, counts.argmax(1, keepdim=True), True)
    keep = fullest if bands == "best" else (counts > 0) | (fullest & (counts == 0))
    example = keep.nonzero()[:, 0]
    return _in_order(
        BandCurves(
            curves.time[keep],
            curves.flux[keep],
            curves.error[keep],
            counts[keep],
            example,
            len(photometry),
        )
    )


def _in_order(curves: BandCurves) -> BandCurves:
    """Sorted by time, flux and error, exact repeats dropped."""
    seen = curves.seen
    columns = torch.stack([curves.time, curves.flux, curves.error])
    columns = torch.where(seen, columns, math.inf)
    for column in (2, 1, 0):  # the last key sorted by is the first in order
        columns = _take(columns, columns[column].argsort(dim=-1, stable=True))
    repeat = torch.zeros_like(seen)
    repeat[:, 1:] = (columns[:, :, 1:] == columns[:, :, :-1]).all(0)
    repeat &= seen  # after sorting the observations are still the first `counts`
    columns = _take(columns, repeat.byte().argsort(dim=-1, stable=True))
    counts = curves.counts - repeat.sum(-1)
    kept = torch.arange(seen.shape[1], device=seen.device) < counts[:, None]
    time, flux, error = torch.where(kept, columns, 0.0)
    return BandCurves(time, flux, error, counts, curves.example, curves.batch)


def _take(columns: Tensor, order: Tensor) -> Tensor:
    return columns.gather(-1, order.expand_as(columns))


def over_bands(values: Tensor, curves: BandCurves) -> Tensor:
    """(P, D) one row per curve -> (B, D): mean over an example's bands, weighted by their counts.

    An example without observations gets its only curve's row.
    """
    owner = curves.example == torch.arange(curves.batch, device=values.device)[:, None]
    share = owner * curves.counts.clamp(min=1).float()
    with torch.autocast(values.device.type, enabled=False):
        mean: Tensor = (share / share.sum(1, keepdim=True)) @ values.float()
    return mean


def prepare_photometry(
    curves: BandCurves, auxiliary: Tensor | None, length: int = 200
) -> tuple[Tensor, Tensor]:
    """Single-band curves -> the (P, length, 9) input of the Informer and its (P, length) mask.

    Columns: time, flux, error, four catalogue values (amplitude, period, Lafler-Kinman statistic,
    classification score; as the authors normalise them, 0 is the mean), log10 MAD, time span in
    years. `auxiliary` (B, 4) holds the catalogue values, None for zeros. Where the MAD is zero the
    standard deviation takes its place, and 1 where that is zero too.
    """
    centred = curves.flux - curves.mean(curves.flux)[:, None]
    mad = curves.median((curves.flux - curves.median(curves.flux)[:, None]).abs())
    mad = torch.where(mad > 0, mad, curves.mean(centred**2).sqrt())
    mad = torch.where(mad > 0, mad, 1.0)[:, None]
    first = curves.time[:, :1]
    last = torch.where(curves.seen, curves.time, -math.inf).amax(-1, keepdim=True)
    span = torch.where(curves.counts[:, None] > 0, last - first, 0.0)
    scaled = (curves.time - first) / torch.where(span > 0, span, 1.0)
    columns = torch.stack([scaled, centred / mad, curves.error / mad], -1)
    step = torch.arange(length, device=columns.device)
    start = ((curves.counts - length) // 2).clamp(min=0)[:, None]
    place = (start + step).clamp(max=columns.shape[1] - 1)
    mask = step < curves.counts[:, None]
    cut = columns.gather(1, place[..., None].expand(-1, -1, 3)) * mask[..., None]
    if auxiliary is None:
        auxiliary = columns.new_zeros(curves.batch, 4)
    constant = torch.cat([auxiliary[curves.example].double(), mad.log10(), span / YEAR], -1)
    steps = torch.cat([cut, constant[:, None].expand(-1, length, -1)], -1)
    return steps.float(), mask.float()
