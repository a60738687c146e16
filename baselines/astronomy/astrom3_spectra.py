"""Spectra as AstroM3 wants them, and the network that encodes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.errors import EncoderError

FIRST, STEP, POINTS = 3850.0, 2.0, 2575  # Angstrom; up to 8998, `src/dataset.py` of AstroM3
NANOMETRES, MICROMETRES = 10.0, 1e4  # Angstrom


def angstroms(wavelength: Tensor) -> Tensor:
    """(B, W) wavelengths, zero where padded -> Angstrom.

    The unit is read off the longest one: below 100 they are micrometres, below 2,500 nanometres.
    """
    longest = wavelength.amax(-1, keepdim=True)
    unit = torch.where(longest < 2500, NANOMETRES, 1.0)
    return wavelength * torch.where(longest < 100, MICROMETRES, unit)


def interpolate(grid: Tensor, at: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation of (B, W) values given at (B, W) on a grid (G,) -> (B, G).

    The first and the last value hold beyond the ends, as in `numpy.interp`. Positions ascend; those
    at infinity are padding and not used.
    """
    count = at.isfinite().sum(-1, keepdim=True).clamp(min=1)
    above = torch.searchsorted(at, grid.expand(len(at), -1).contiguous())
    above = torch.minimum(above, count - 1)
    below = (above - 1).clamp(min=0)
    left, right = at.gather(1, below), at.gather(1, above)
    width = right - left
    part = torch.where(width > 0, (grid - left) / torch.where(width > 0, width, 1.0), 1.0)
    low, high = values.gather(1, below), values.gather(1, above)
    return low + (high - low) * part.clamp(0, 1)


def prepare_spectra(spectrum: Tensor, points: int = POINTS) -> Tensor:
    """(B, 2, W) wavelength and flux, or (B, 3, W) with the flux error -> (B, 3, points) float32.

    Channels: flux minus its mean over the median absolute deviation of the non-zero flux, error
    over the same (0 where none is given), log10 of that deviation; on the grid 3,850, 3,852, ...
    Angstrom. Where the deviation is zero the standard deviation takes its place, and 1 where that
    is zero too.
    """
    values = spectrum.double()
    wavelength = angstroms(values[:, 0])
    order = torch.where(wavelength > 0, wavelength, math.inf).sort(-1)  # padding has wavelength 0
    grid = FIRST + STEP * torch.arange(points, dtype=torch.float64, device=values.device)
    flux = interpolate(grid, order.values, values[:, 1].gather(1, order.indices))
    error = torch.zeros_like(flux)
    if spectrum.shape[1] > 2:
        error = interpolate(grid, order.values, values[:, 2].gather(1, order.indices))
    present = torch.where(flux != 0, flux, math.nan)
    centre = present.nanquantile(0.5, -1, keepdim=True)
    mad = (present - centre).abs().nanquantile(0.5, -1, keepdim=True).nan_to_num(0.0)
    mad = torch.where(mad > 0, mad, flux.std(-1, correction=0, keepdim=True))
    mad = torch.where(mad > 0, mad, 1.0)
    scaled = (flux - flux.mean(-1, keepdim=True)) / mad
    return torch.stack([scaled, error / mad, mad.log10().expand_as(flux)], 1).float()


class GalSpecNet(nn.Module):
    """Convolutions with max pooling between them (Wu et al. 2024, MNRAS 527, 1163), flattened.

    The layers are numbered as in AstroM3's weights. `features` is the length of the output for
    spectra of `points`.
    """

    def __init__(
        self,
        channels: Sequence[int] = (3, 64, 64, 32, 32),
        kernel: int = 3,
        pool: int = 4,
        points: int = POINTS,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        length = points
        for index in range(len(channels) - 1):
            layers += [nn.Conv1d(channels[index], channels[index + 1], kernel), nn.ReLU()]
            length -= kernel - 1
            if index < len(channels) - 2:
                layers.append(nn.MaxPool1d(pool))
                length //= pool
        if length < 1:
            raise EncoderError(f"{points} wavelengths are too few for {len(channels) - 1} layers")
        self.layers = nn.Sequential(*layers)
        self.features = channels[-1] * length

    def forward(self, spectra: Tensor) -> Tensor:
        """(B, channels, points) -> (B, features)."""
        result: Tensor = self.layers(spectra).flatten(1)
        return result
