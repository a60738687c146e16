"""Point-NN: a point-cloud network without parameters and without training.

Zhang, Wang, Wang, Gao, Li, Shi, Parameter is not all you need: starting from non-parametric
networks for 3D point cloud analysis, CVPR 2023, https://arxiv.org/abs/2303.08134, section 3;
settings as in the authors' ZrrSkywalker/Point-NN (run_nn_cls.py: alpha 1000, beta 100).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch.nn.functional import gelu

from baselines.pointcloud.sampling import farthest_points, nearest_points, take
from benchmark.errors import EncoderError

NORM = (1 + 1e-5) ** -0.5  # batch normalisation in evaluation mode, never trained
EPS = 1e-5


class PointNN(torch.nn.Module):
    """Points (B, N, 3) -> embedding (B, embed_dim * 2 ** num_stages).

    Each stage halves the points by farthest-point sampling, doubles the width, weighs every
    neighbour's features with the trigonometric embedding of its relative position and pools over
    the neighbourhood. The authors scale relative positions and features by their deviation over
    the whole batch; here it is the deviation over each cloud alone, since an embedding must not
    depend on the other clouds of its batch.

    Args:
        input_points: points that the first stage halves.
        num_stages: stages.
        embed_dim: width of the raw-point embedding, a multiple of 6.
        k_neighbors: points per neighbourhood.
        alpha: base of the wavelengths.
        beta: scale of the coordinates.
    """

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 1024, "normalise": "unit-sphere"}

    def __init__(
        self,
        input_points: int = 1024,
        num_stages: int = 4,
        embed_dim: int = 72,
        k_neighbors: int = 90,
        alpha: float = 1000.0,
        beta: float = 100.0,
    ) -> None:
        super().__init__()
        if embed_dim % 6:
            raise EncoderError(
                f"Point-NN's embed_dim {embed_dim} must be a multiple of 6: a sine and a cosine "
                "for each of three coordinates"
            )
        self.counts = [max(1, input_points >> (stage + 1)) for stage in range(num_stages)]
        self.embed_dim, self.k_neighbors = embed_dim, k_neighbors
        self.alpha, self.beta = alpha, beta

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        # a neighbourhood tensor takes 26 MB per cloud; a CPU is fastest with one at a time
        step = 1 if points.device.type == "cpu" else 8
        with torch.autocast(points.device.type, enabled=False):
            return torch.cat([self._embed(part) for part in points.float().split(step)])

    def _embed(self, centres: torch.Tensor) -> torch.Tensor:
        features = self.position_embedding(centres, self.embed_dim)
        for count in self.counts:
            chosen = farthest_points(centres, count)
            index = nearest_points(centres, take(centres, chosen), self.k_neighbors)
            near, own = take(centres, index), take(features, chosen)[:, :, None]
            centres = take(centres, chosen)
            offsets = _by_deviation(near - centres[:, :, None])
            change = _by_deviation(take(features, index) - own)
            geometry = self.position_embedding(offsets, 2 * features.shape[-1])
            weighted = torch.cat([change, own.expand_as(change)], -1).add_(geometry).mul_(geometry)
            features = gelu(NORM * (weighted.amax(2) + weighted.mean(2)))
        return features.amax(1) + features.mean(1)

    def position_embedding(self, xyz: torch.Tensor, width: int) -> torch.Tensor:
        """Sines and cosines of the coordinates: (..., 3) -> (..., width), equations 4 and 5.

        Frequencies are beta / alpha ** (6 i / width), sine and cosine in turn, x before y before z.
        """
        steps = torch.arange(width // 6, device=xyz.device, dtype=torch.float32)
        angles = self.beta * xyz[..., None] / self.alpha ** (steps / (width // 6))
        return torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)


def _by_deviation(values: torch.Tensor) -> torch.Tensor:
    """Values (B, G, K, C) over their standard deviation in each cloud."""
    return values / (values.flatten(1).std(1) + EPS).view(-1, 1, 1, 1)
