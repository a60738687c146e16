"""Colour and texture of tissue: stain statistics, local binary patterns, co-occurrence matrices.

The three classical descriptors of H&E tiles, in torch over the whole batch; tests hold them against
scikit-image's `rgb2hed`, `local_binary_pattern` and `graycomatrix`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from baselines.histopathology.texture_descriptors import (
    cooccurrence,
    cooccurrence_properties,
    local_binary_patterns,
)

# Ruifrok & Johnston 2001: optical density of haematoxylin, eosin, DAB (rows) in R, G, B
HED = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
CELL = 4  # pixels, side of a patch
LEVELS = 12  # grey levels of the co-occurrence matrices
OFFSETS = tuple((d * y, d * x) for d in (1, 3) for y, x in ((0, 1), (1, 1), (1, 0), (1, -1)))


def separate_stains(image: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] -> (B, 3, H, W) haematoxylin, eosin, DAB as `skimage.rgb2hed`.

    Beer-Lambert's law solved for the concentrations; negative ones are set to zero.
    """
    inverse = torch.linalg.inv(torch.tensor(HED, dtype=torch.float64)).to(image)
    density = image.clamp_min(1e-6).log() / torch.log(torch.tensor(1e-6)).to(image)
    return torch.einsum("bchw,cs->bshw", density, inverse).clamp_min(0)


def _moments(planes: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 7 C): mean, standard deviation, skewness, four quantiles."""
    flat = planes.flatten(2)
    mean = flat.mean(2, keepdim=True)
    centred = flat - mean
    std = centred.square().mean(2, keepdim=True).sqrt()
    skew = (centred**3).mean(2, keepdim=True) / (std**3 + 1e-9)
    at = torch.tensor([0.05, 0.25, 0.75, 0.95], device=planes.device)
    # every third pixel of a row is enough for quantiles and three times quicker
    quantiles = flat[:, :, ::3].quantile(at, dim=2).movedim(0, 2)
    return torch.cat([mean, std, skew, quantiles], 2).flatten(1)


def _grey_levels(plane: Tensor) -> Tensor:
    """(B, H, W) -> integer levels: two standard deviations either side of the tile's mean.

    Levels are relative to the tile, so that the strength of the stain does not enter.
    """
    mean = plane.mean((1, 2), keepdim=True)
    std = plane.std((1, 2), keepdim=True)
    scaled = (plane - mean) / (4 * std + 1e-6) + 0.5
    return (scaled * LEVELS).long().clamp(0, LEVELS - 1)


class TissueTexture(torch.nn.Module):
    """Stain statistics, uniform LBP and Haralick's co-occurrence features of a tile."""

    modality = "histopathology"
    input: ClassVar[dict[str, object]] = {"size": 96, "mean": (0, 0, 0), "std": (1, 1, 1)}

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, 81) features."""
        image = image.float()
        stains = separate_stains(image) * 10  # concentrations near 1
        luminance = (image * image.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
        features = [_moments(torch.cat([image, stains[:, :2]], 1))]
        for plane in (stains[:, 0], luminance):
            matrices = cooccurrence(_grey_levels(plane), LEVELS, OFFSETS)
            properties = cooccurrence_properties(matrices)  # (B, offsets, 6)
            near, far = properties[:, :4], properties[:, 4:]
            features += [near.mean(1), far.mean(1)]
            features.append(near.amax(1)[:, :1] - near.amin(1)[:, :1])  # anisotropy of contrast
        for radius in (1, 2):
            features.append(local_binary_patterns((luminance * 255).round(), radius))
        return torch.cat(features, 1)

    def patches(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, H / 4, W / 4, 30) local colour and structure."""
        image = image.float()
        stains = separate_stains(image) * 10
        planes = torch.cat([image, stains[:, :2]], 1)
        mean = avg_pool2d(planes, CELL)
        std = (avg_pool2d(planes.square(), CELL) - mean.square()).clamp_min(0).sqrt()
        around = [avg_pool2d(mean, k, 1, k // 2, count_include_pad=False) for k in (3, 7)]
        whole = mean.mean((2, 3), keepdim=True)
        spread = (planes - planes.mean((2, 3), keepdim=True)).square().mean((2, 3), keepdim=True)
        # against the tile's own mean: what is dark or blue for this stain
        relative = (mean - whole) / (spread.sqrt() + 1e-3)
        parts = [mean, std, *around, relative, relative.square()]
        return torch.cat(parts, 1).movedim(1, -1)
