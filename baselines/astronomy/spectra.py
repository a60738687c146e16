"""Statistics of spectra, batched: binned flux, slopes, curvature and band depths."""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-9
BINS, SEGMENTS = 48, 6


def binned(flux: Tensor, count: Tensor, bins: int) -> Tensor:
    """(B, W), (B,) valid points -> (B, bins): mean flux in equal parts of the valid range.

    The integral of the piecewise constant spectrum is differenced, so that both fewer and more
    bins than points are allowed; points beyond `count` play no part.
    """
    points = torch.arange(flux.shape[1], device=flux.device)
    flux = torch.where(points < count[:, None], flux, 0.0)
    integral = torch.nn.functional.pad(flux.cumsum(1), (1, 0))
    edges = torch.linspace(0, 1, bins + 1, dtype=flux.dtype, device=flux.device) * count[:, None]
    low = edges.floor().long().clamp(max=flux.shape[1] - 1)
    at = integral.gather(1, low) + (edges - low) * flux.gather(1, low)
    return at.diff(dim=1) * bins / count[:, None].clamp(min=1)


def held_ends(flux: Tensor, count: Tensor) -> Tensor:
    """(B, 2): share of points at the start and the end that repeat one value (filled-in gaps)."""
    inner = torch.arange(1, flux.shape[1], device=flux.device) < count[:, None]
    same = (flux.diff(dim=1) == 0) & inner
    first = same.long().cumprod(1).sum(1)
    last = (same | ~inner).long().flip(1).cumprod(1).sum(1) - (~inner).sum(1)
    return torch.stack([first, last], -1).double() / count[:, None].clamp(min=1)


def spectrum_statistics(spectrum: Tensor) -> Tensor:
    """(B, 2, W) wavelength, flux -> (B, D) float64; points of wavelength 0 are padding.

    D does not depend on W. The flux is divided by its mean absolute value; its overall level is
    kept as one feature.
    """
    wavelength, flux = spectrum.double().unbind(1)
    count = (wavelength > 0).sum(1)
    parts = binned(flux, count, BINS)
    scale = binned(flux.abs(), count, BINS).mean(1, keepdim=True).clamp(min=EPS)
    shape = parts / scale
    position = torch.linspace(-1, 1, BINS, dtype=shape.dtype, device=shape.device)
    mean = shape.mean(1, keepdim=True)
    slope = ((shape - mean) * position).sum(1, keepdim=True) / (position**2).sum()
    rest = shape - mean - slope * position
    curvature = (rest * (position**2 - (position**2).mean())).mean(1, keepdim=True)
    pieces = rest.unflatten(1, (SEGMENTS, -1))
    steps = pieces[..., -1] - pieces[..., 0]
    # depth under the straight line between a segment's neighbours' maxima: absorption bands
    top = pieces.amax(-1)
    neighbour = torch.nn.functional.pad(top, (1, 1), mode="replicate")
    depth = (neighbour[:, :-2] + neighbour[:, 2:]) / 2 - pieces.amin(-1)
    deepest = rest.softmax(1) @ position, (-20 * rest).softmax(1) @ position
    rough = shape.diff(n=2, dim=1).abs().mean(1, keepdim=True)
    gaps = held_ends(flux, count)
    features = [
        *(shape, slope, curvature, steps, depth, rest.std(1, keepdim=True)),
        *(torch.stack(deepest, -1), torch.log(rough + 1e-6), torch.log(scale), gaps),
        *(gaps * slope, gaps * curvature),
    ]
    return torch.cat(features, -1)
