"""Statistics of colour images of galaxies: light profiles, colours, arms and bars, asymmetry.

Measured about the centre of the image, where catalogues of cutouts have their galaxy. They stay
the same when the sky is turned by a right angle, but for quantiles, which are of a sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

RINGS = 12  # of equal width, from the centre to the nearest edge
MODES = 4  # of the Fourier series along a ring: 2 has bars and pairs of arms
FAINT = 1e-3  # of full scale: what counts as no light


def image_statistics(image: Tensor) -> Tensor:
    """(B, 3, S, S) RGB in [0, 1] -> (B, 142) float32."""
    with torch.autocast(image.device.type, enabled=False):
        pixels = image.float()
        light = pixels.mean(1)
        sides = (light[:, :3], light[:, -3:], light[:, :, :3], light[:, :, -3:])
        sky = torch.cat([side.flatten(1) for side in sides], 1).median(1).values
        light = light - sky[:, None, None]
        parts = [profiles(pixels), ring_modes(light), shape(light), structure(light)]
        return torch.cat([*parts, channel_moments(pixels)], 1)


def _polar(size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Distance from the centre, 1 at the nearest edge, and angle of every pixel: (S, S) each."""
    axis = (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * 2 / size - 1
    return torch.hypot(axis[:, None], axis[None]), torch.atan2(axis[:, None], axis[None])


def _rings(size: int, like: Tensor) -> Tensor:
    """(S * S, RINGS): 1 where a pixel lies in a ring."""
    radius, _ = _polar(size, like)
    ring = (radius.flatten() * RINGS).long()
    return (ring[:, None] == torch.arange(RINGS, device=like.device)).to(like.dtype)


def profiles(pixels: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, 5 RINGS): mean of each channel in each ring, and two colours there."""
    rings = _rings(pixels.shape[-1], pixels)
    mean = pixels.flatten(2) @ rings / rings.sum(0)
    red, green, blue = mean.unbind(1)
    colours = [(a - b) / (a + b + FAINT) for a, b in ((red, green), (green, blue))]
    return torch.cat([mean.sqrt().flatten(1), *colours], 1)


def ring_modes(light: Tensor) -> Tensor:
    """(B, S, S) -> (B, RINGS MODES): strength of the Fourier modes along each ring, against the
    ring's light."""
    size = light.shape[-1]
    rings = _rings(size, light)
    _, angle = _polar(size, light)
    flux = light.flatten(1)
    total = flux.abs() @ rings + FAINT * rings.sum(0)
    strengths = []
    for mode in range(1, MODES + 1):
        phase = mode * angle.flatten()[:, None]
        parts = [flux @ (rings * wave) for wave in (phase.cos(), phase.sin())]
        strengths.append(torch.hypot(*parts) / total)
    return torch.cat(strengths, 1)


def shape(light: Tensor) -> Tensor:
    """(B, S, S) -> (B, 9): ellipticity, size, radii with 20, 50 and 80% of the light and their
    concentration (Conselice 2003, ApJS 147, 1), Gini coefficient and M20 (Lotz, Primack & Madau
    2004, AJ 128, 163), logarithm of the light."""
    size = light.shape[-1]
    radius, angle = _polar(size, light)
    flux = light.clamp_min(0).flatten(1)
    total = flux.sum(1, keepdim=True) + FAINT
    square = radius.square().flatten()
    spread = flux @ square / total[:, 0]
    twice = 2 * angle.flatten()
    turned = [flux @ (square * wave) for wave in (twice.cos(), twice.sin())]
    ellipticity = torch.hypot(*turned) / total[:, 0] / (spread + FAINT)
    inward = radius.flatten().argsort(stable=True)
    growth = flux[:, inward].cumsum(1) / total
    at = torch.tensor([0.2, 0.5, 0.8], device=light.device, dtype=light.dtype)
    place = torch.searchsorted(growth, at.expand(len(light), 3).contiguous())
    radii = radius.flatten()[inward][place.clamp_max(size * size - 1)]
    concentration = torch.log10((radii[:, 2] + FAINT) / (radii[:, 0] + FAINT))
    ordered, order = flux.sort(1)
    weight = torch.linspace(-1, 1, flux.shape[1], device=light.device, dtype=light.dtype)
    gini = ordered @ weight / total[:, 0]
    brightest = ordered.flip(1)
    taken = brightest.cumsum(1) <= 0.2 * total
    moment = (brightest * square[order.flip(1)] * taken).sum(1)
    m20 = torch.log10((moment + FAINT) / (spread * total[:, 0] + FAINT))
    columns = [ellipticity, spread.sqrt(), *radii.unbind(1), concentration, gini, m20]
    return torch.stack([*columns, total[:, 0].log()], 1)


def structure(light: Tensor) -> Tensor:
    """(B, S, S) -> (B, 10): asymmetry under turns by 180 and 90 degrees, whole and inner half; and
    clumpiness, what smoothing with 2, 4 and 8 pixels removes, in the same two areas."""
    size = light.shape[-1]
    quarter = size // 4
    areas = [light, light[:, quarter : size - quarter, quarter : size - quarter]]
    columns = []
    for area in areas:
        total = area.abs().sum((1, 2)) + FAINT * area[0].numel()
        for turns in (2, 1):
            turned = area.rot90(turns, (1, 2))
            columns.append((area - turned).abs().sum((1, 2)) / (2 * total))
        for width in (2, 4, 8):
            smooth = area[:, None]
            for rows, right in ((width, 0), (0, width)):  # one axis after the other is quicker
                window = (2 * rows + 1, 2 * right + 1)
                smooth = avg_pool2d(smooth, window, 1, (rows, right), count_include_pad=False)
            columns.append((area - smooth[:, 0]).abs().sum((1, 2)) / total)
    return torch.stack(columns, 1)


def channel_moments(pixels: Tensor) -> Tensor:
    """(B, 3, S, S) -> (B, 15): mean, deviation, skewness, median and 99th percentile by channel."""
    flat = pixels.flatten(2)
    mean = flat.mean(2, keepdim=True)
    deviation = (flat - mean).square().mean(2, keepdim=True).sqrt()
    skewness = ((flat - mean) ** 3).mean(2, keepdim=True) / (deviation**3 + FAINT**2)
    ordered = flat[:, :, ::3].sort(2).values  # a third of the pixels is enough for quantiles
    places = [math.floor(share * (ordered.shape[2] - 1)) for share in (0.5, 0.99)]
    return torch.cat([mean, deviation, skewness, ordered[:, :, places]], 2).flatten(1)
