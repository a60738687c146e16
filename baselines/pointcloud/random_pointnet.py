"""PointNet at random initialisation: the control that any pretrained encoder must beat.

Qi, Su, Mo, Guibas, PointNet: Deep learning on point sets for 3D classification and segmentation,
CVPR 2017: the same perceptron on every point (64, 64, 64, 128, 1024 units with ReLU), then the
maximum over the points. Left out is what does nothing before training: the two alignment networks
start as the identity, and so does batch normalisation in evaluation mode.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn


class RandomPointNet(nn.Module):
    """Points (B, N, 3) -> embedding (B, 1024); the order of the points does not matter."""

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 1024, "normalise": "unit-sphere"}

    def __init__(self, widths: tuple[int, ...] = (64, 64, 64, 128, 1024)) -> None:
        super().__init__()
        fans = zip((3, *widths[:-1]), widths, strict=True)
        self.point_mlp = nn.ModuleList(nn.Conv1d(fan, width, 1) for fan, width in fans)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        # one cloud's activations fit in a CPU's cache, a batch's do not: four times faster
        step = 1 if points.device.type == "cpu" else len(points)
        return torch.cat([self._embed(part) for part in points.split(step)])

    def _embed(self, points: torch.Tensor) -> torch.Tensor:
        hidden = points.mT
        for layer in self.point_mlp:
            last = layer is self.point_mlp[-1]
            hidden = layer(hidden)
            # ReLU and maximum commute; the maximum first leaves less to rectify
            hidden = (hidden.amax(-1) if last else hidden).relu()
        return hidden
