"""The classical encoder of astronomy: statistics of light curves, spectra, catalogues, images."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.astronomy.galaxy_images import image_statistics
from baselines.astronomy.light_curves import light_curve_statistics
from baselines.astronomy.spectra import spectrum_statistics


def metadata_statistics(metadata: Tensor) -> Tensor:
    """(B, F), NaN where missing -> (B, 2 F): asinh of the values, what is missing.

    A missing value is 0; its flag lets a linear probe give it a level of its own.
    """
    missing = metadata.isnan()
    value = torch.asinh(torch.where(missing, 0.0, metadata.double()))
    return torch.cat([value, missing.double()], -1)


class AstroStatistics(torch.nn.Module):
    """Concatenated statistics of whichever towers are given, in a fixed order.

    Args:
        bands: photometric bands told apart; observations in others are left out.
    """

    modality: ClassVar[str] = "astronomy"
    input: ClassVar[dict[str, Any]] = {
        "towers": ("photometry", "spectrum", "metadata", "image"),
        "size": 128,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
    }

    def __init__(self, bands: int = 6) -> None:
        super().__init__()
        self.bands = bands

    def forward(
        self,
        photometry: Tensor | None = None,
        lengths: Tensor | None = None,
        spectrum: Tensor | None = None,
        metadata: Tensor | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """Any subset of (B, L, 4) with (B,), (B, 2, W), (B, F) and (B, 3, S, S) -> (B, D)."""
        parts = []
        if photometry is not None and lengths is not None:
            parts.append(light_curve_statistics(photometry, lengths, self.bands))
        if spectrum is not None:
            parts.append(spectrum_statistics(spectrum))
        if metadata is not None:
            parts.append(metadata_statistics(metadata))
        if image is not None:
            parts.append(image_statistics(image))
        return torch.cat(parts, -1).float()
