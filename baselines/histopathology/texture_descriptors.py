"""Batched texture descriptors: grey-level co-occurrence and local binary patterns."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def cooccurrence(levels: Tensor, count: int, offsets: Sequence[tuple[int, int]]) -> Tensor:
    """(B, H, W) integers below `count` -> (B, offsets, count, count) symmetric, normalised.

    Haralick et al., IEEE Trans. SMC 3, 1973; `offsets` are (rows, columns) with rows >= 0. Equal to
    `skimage.feature.graycomatrix(symmetric=True, normed=True)`.
    """
    batch, height, width = levels.shape
    base = torch.arange(batch, device=levels.device)[:, None, None] * count * count
    matrices = []
    for down, right in offsets:
        left, stop = max(-right, 0), width - max(right, 0)
        here = levels[:, : height - down, left:stop]
        there = levels[:, down:, left + right : stop + right]
        codes = (base + here * count + there).flatten()
        matrices.append(torch.bincount(codes, minlength=batch * count * count))
    pairs = torch.stack([m.view(batch, count, count) for m in matrices], 1)
    both = (pairs + pairs.mT).float()
    return both / both.sum((2, 3), keepdim=True)


def cooccurrence_properties(matrices: Tensor) -> Tensor:
    """(..., L, L) normalised matrices -> (..., 6) properties as in `skimage.feature.graycoprops`.

    Contrast, dissimilarity, homogeneity, energy, correlation, and the entropy (natural logarithm).
    """
    count = matrices.shape[-1]
    level = torch.arange(count, device=matrices.device, dtype=matrices.dtype)
    difference = level[:, None] - level
    marginal = matrices.sum(-1)  # symmetric: the same along both axes
    mean = (marginal * level).sum(-1)
    variance = (marginal * level.square()).sum(-1) - mean.square()
    product = (matrices * level[:, None] * level).sum((-2, -1)) - mean.square()
    # a flat tile correlates perfectly with itself, as in scikit-image
    flat = variance < 1e-5
    correlation = torch.where(flat, torch.ones_like(mean), product / variance.clamp_min(1e-5))

    def total(weight: Tensor) -> Tensor:
        return (matrices * weight).sum((-2, -1))

    return torch.stack(
        [
            total(difference.square()),
            total(difference.abs()),
            total(1 / (1 + difference.square())),
            matrices.square().sum((-2, -1)).sqrt(),
            correlation,
            -torch.special.xlogy(matrices, matrices).sum((-2, -1)),
        ],
        -1,
    )


def _circle(radius: int) -> list[list[tuple[int, int, float]]]:
    """Eight points of a circle, each as (row, column, weight) of the pixels it lies between."""
    points = []
    for point in range(8):
        angle = 2 * math.pi * point / 8
        y = radius - round(radius * math.sin(angle), 5)
        x = radius + round(radius * math.cos(angle), 5)
        rows, columns = {math.floor(y), math.ceil(y)}, {math.floor(x), math.ceil(x)}
        taps = [(r, c, (1 - abs(y - r)) * (1 - abs(x - c))) for r in rows for c in columns]
        points.append(sorted(taps))
    return points


def local_binary_patterns(grey: Tensor, radius: int) -> Tensor:
    """(B, H, W) grey values -> (B, 10) histogram of rotation-invariant uniform patterns.

    Ojala et al., IEEE Trans. PAMI 24, 2002, eight neighbours; `skimage.feature.
    local_binary_pattern(..., 8, radius, "uniform")` inside a border of `radius` pixels. Bin k < 9:
    uniform patterns of k bright neighbours; bin 9: the others.
    """
    height, width = (side - 2 * radius for side in grey.shape[1:])
    # interpolation between equal values is exact only up to rounding
    centre = grey[:, radius : radius + height, radius : radius + width] - 1e-3
    bits = []
    for taps in _circle(radius):
        value = sum(weight * grey[:, r : r + height, c : c + width] for r, c, weight in taps)
        bits.append(value >= centre)
    bright = torch.stack(bits, 1).to(torch.uint8)
    changes = (bright != bright.roll(1, 1)).sum(1, dtype=torch.uint8)
    ones = bright.sum(1, dtype=torch.uint8)
    patterns = torch.where(changes <= 2, ones, torch.full_like(ones, 9)).flatten(1)
    counts = [(patterns == value).float().mean(1) for value in range(10)]
    return torch.stack(counts, 1)
