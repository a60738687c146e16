"""A randomly initialised RegNet: what a standard convolutional architecture gives untrained."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class RandomRegNet(torch.nn.Module):
    """RegNetX-200MF (Radosavovic et al., CVPR 2020) from timm, not trained."""

    modality = "histopathology"
    input: ClassVar[dict[str, object]] = {"size": 96}

    def __init__(self, architecture: str = "regnetx_002") -> None:
        super().__init__()
        import timm

        self.network: Any = timm.create_model(architecture, pretrained=False, num_classes=0)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) standardised RGB -> (B, 632) means of the stem and of the four stages."""
        maps = self.network.forward_intermediates(image, intermediates_only=True)
        return torch.cat([stage.mean((2, 3)) for stage in maps], 1)

    def patches(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / 4, W / 4, 80): the first two stages on the grid of stride 4."""
        fine, coarse = self.network.forward_intermediates(
            image, indices=[1, 2], stop_early=True, intermediates_only=True
        )
        coarse = interpolate(coarse, fine.shape[-2:], mode="bilinear")
        return torch.cat([fine, coarse], 1).movedim(1, -1)
