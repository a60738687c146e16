"""The control of astronomy: randomly initialised networks of the usual shape, one per tower."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

METADATA = 64  # most catalogue values taken


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, halving the length (He et al. 2016), in one dimension or,
    with 3 x 3 kernels, in two."""

    def __init__(self, channels_in: int, channels: int, dimensions: int = 1) -> None:
        super().__init__()
        convolution: Any = nn.Conv1d if dimensions == 1 else nn.Conv2d
        kernel = 7 if dimensions == 1 else 3
        half = kernel // 2
        self.convolve = nn.Sequential(
            convolution(channels_in, channels, kernel, stride=2, padding=half, bias=False),
            nn.GroupNorm(1, channels),
            nn.ReLU(),
            convolution(channels, channels, kernel, padding=half, bias=False),
            nn.GroupNorm(1, channels),
        )
        self.shortcut = convolution(channels_in, channels, 1, stride=2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(self.convolve(features) + self.shortcut(features))


class RandomTransformer(nn.Module):
    """Transformer over observations, 1-D ResNet over wavelengths, MLP over catalogue values, 2-D
    ResNet over pixels.

    The embedding is the concatenation of the towers that are given, `width` numbers each; the
    shape of the first three is that of AstroM3's (Rizhko & Bloom 2024, arXiv:2411.08842) in small.
    """

    modality: ClassVar[str] = "astronomy"
    input: ClassVar[dict[str, Any]] = {
        "towers": ("photometry", "spectrum", "metadata", "image"),
        "spectrum_points": 128,
        "size": 128,
    }
    angular: Tensor

    def __init__(self, width: int = 64, depth: int = 2, heads: int = 2, bands: int = 6) -> None:
        super().__init__()
        self.bands = bands
        periods = torch.logspace(math.log10(0.1), math.log10(2000), 16)  # days
        self.register_buffer("angular", 2 * math.pi / periods, persistent=False)
        self.observation = nn.Linear(2 * 16 + 3 + bands, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.resnet = nn.Sequential(
            ResidualBlock(1, width // 4),
            ResidualBlock(width // 4, width // 2),
            ResidualBlock(width // 2, width),
        )
        self.mlp = nn.Sequential(
            nn.Linear(2 * METADATA, 2 * width),
            nn.LayerNorm(2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.pixels = nn.Sequential(
            ResidualBlock(3, width // 4, dimensions=2),
            ResidualBlock(width // 4, width // 2, dimensions=2),
            ResidualBlock(width // 2, width, dimensions=2),
        )

    def forward(
        self,
        photometry: Tensor | None = None,
        lengths: Tensor | None = None,
        spectrum: Tensor | None = None,
        metadata: Tensor | None = None,
        image: Tensor | None = None,
    ) -> Tensor:
        """Any subset of (B, L, 4) with (B,), (B, 2, W), (B, F) and (B, 3, S, S) -> (B, width per
        tower)."""
        parts = []
        if photometry is not None and lengths is not None:
            parts.append(self.light_curve(photometry, lengths))
        if spectrum is not None:
            flux = spectrum[:, 1:]
            spread = flux.std(-1, keepdim=True) + 1e-6
            parts.append(self.resnet((flux - flux.mean(-1, keepdim=True)) / spread).mean(-1))
        if metadata is not None:
            parts.append(self.mlp(self.catalogue(metadata)))
        if image is not None:
            parts.append(self.pixels(image).mean((2, 3)))
        return torch.cat(parts, -1)

    def light_curve(self, photometry: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, 4), (B,) -> (B, width): mean over the valid observations."""
        valid = torch.arange(photometry.shape[1], device=lengths.device) < lengths[:, None]
        time, flux, error, band = photometry.unbind(-1)
        spread = torch.where(valid, flux.abs(), 0.0).sum(1) / lengths.clamp(min=1)
        angle = time[..., None] * self.angular
        observations = torch.cat(
            [
                angle.sin(),
                angle.cos(),
                (flux / (spread[:, None] + 1e-6)).clamp(-10, 10)[..., None],
                torch.asinh(flux)[..., None],
                torch.asinh(error)[..., None],
                nn.functional.one_hot(band.long().clamp(0, self.bands - 1), self.bands).float(),
            ],
            -1,
        )
        hidden = self.transformer(self.observation(observations), src_key_padding_mask=~valid)
        return (hidden * valid[..., None]).sum(1) / lengths.clamp(min=1)[:, None]

    def catalogue(self, metadata: Tensor) -> Tensor:
        """(B, F) with NaN -> (B, 2 * METADATA): values and what is missing, zero beyond F."""
        if metadata.shape[1] > METADATA:
            raise ValueError(
                f"metadata has {metadata.shape[1]} values; at most {METADATA} are taken"
            )
        missing = metadata.isnan()
        value = torch.asinh(torch.where(missing, 0.0, metadata))
        room = (0, METADATA - metadata.shape[1])
        return torch.cat(
            [nn.functional.pad(value, room), nn.functional.pad(missing.float(), room)], -1
        )
