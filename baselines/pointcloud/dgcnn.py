"""DGCNN: edge convolutions on a graph of nearest neighbours that is drawn anew in every layer.

Wang, Sun, Liu, Sarma, Bronstein, Solomon, Dynamic graph CNN for learning on point clouds, ACM TOG
38(5), 2019, https://arxiv.org/abs/1801.07829: the classification network of section 5.1 up to its
global feature. Parameter names follow the authors' WangYueFt/dgcnn (pytorch/model.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from baselines.pointcloud.sampling import take

SLOPE = 0.2


class DGCNN(nn.Module):
    """Points (B, N, 3) -> maximum and mean over the points, (B, 2 width).

    Args:
        neighbours: k of the nearest-neighbour graphs, the point itself included.
        widths: channels of the four edge convolutions.
        width: channels of the last convolution, before pooling.
    """

    def __init__(
        self, neighbours: int = 20, widths: Sequence[int] = (64, 64, 128, 256), width: int = 1024
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        fans = (3, *widths[:-1])
        self.edges = len(widths)
        for i, (fan, out) in enumerate(zip(fans, widths, strict=True), 1):
            layer = nn.Sequential(
                nn.Conv2d(2 * fan, out, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(SLOPE)
            )
            self.add_module(f"conv{i}", layer)
        last = nn.Sequential(
            nn.Conv1d(sum(widths), width, 1, bias=False),
            nn.BatchNorm1d(width),
            nn.LeakyReLU(SLOPE),
        )
        self.add_module(f"conv{self.edges + 1}", last)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        # the graphs are drawn from features, so the last digit of a feature can change a
        # neighbour: one cloud at a time and float32 keep a cloud's result free of its batch
        with torch.autocast(points.device.type, enabled=False):
            return torch.cat([self._embed(cloud) for cloud in points.float().split(1)])

    def _embed(self, points: torch.Tensor) -> torch.Tensor:
        hidden, levels = points, []
        for i in range(1, self.edges + 1):
            hidden = self._edge_convolution(self.get_submodule(f"conv{i}"), hidden)
            levels.append(hidden)
        last = self.get_submodule(f"conv{self.edges + 1}")
        features = last(torch.cat(levels, -1).mT)
        return torch.cat([features.amax(-1), features.mean(-1)], -1)

    def _edge_convolution(self, layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
        """Features (1, N, C) -> (1, N, C'): maximum over the edges to the k nearest in features.

        The convolution of (neighbour - point, point) is linear, so it is taken at the points and
        summed at the edges: k times less work than at the edges.
        """
        convolution, *norm_and_activation = layer.children()
        inner, outer = convolution.get_parameter("weight").flatten(1).chunk(2, 1)
        index = nearest_features(features, self.neighbours)
        edges = take(features @ inner.mT, index) + (features @ (outer - inner).mT)[:, :, None]
        edges = edges.permute(0, 3, 1, 2)
        for module in norm_and_activation:
            edges = module(edges)
        pooled: torch.Tensor = edges.amax(-1).mT
        return pooled


def nearest_features(features: torch.Tensor, k: int) -> torch.Tensor:
    """Indices (B, N, k) of the k nearest rows of features (B, N, C), each row itself included.

    Fewer rows than k give as many as there are.
    """
    squares = features.square().sum(-1)
    nearness = 2 * features @ features.mT - squares[:, None] - squares[:, :, None]
    return nearness.topk(min(k, features.shape[1])).indices
