"""Point-BERT's encoder, as ULIP uses it: patches, a class token, a transformer.

Yu, Tang, Rao, Huang, Zhou, Lu, Point-BERT: pre-training 3D point cloud transformers with masked
point modeling, CVPR 2022, https://arxiv.org/abs/2111.14819; parameter names as in salesforce/ULIP
(models/pointbert/point_encoder.py, PointTransformer).
"""

from __future__ import annotations

import torch
from torch import nn

from baselines.pointcloud.point_mae_transformer import Blocks, PatchEmbedding, position_mlp
from baselines.pointcloud.sampling import patches_of


class PointBERT(nn.Module):
    """Points (B, N, 3) -> class token and maximum over the patch tokens, (B, 2 trans_dim).

    Args:
        num_group: patches per cloud.
        group_size: points per patch.
        encoder_dims: width of the patch embedding.
        trans_dim: width of the transformer.
        depth: transformer blocks.
        num_heads: attention heads.
    """

    def __init__(
        self,
        num_group: int = 512,
        group_size: int = 32,
        encoder_dims: int = 256,
        trans_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
    ) -> None:
        super().__init__()
        self.num_group, self.group_size = num_group, group_size
        self.encoder = PatchEmbedding(3, (128, 256, 512, encoder_dims))
        self.reduce_dim = nn.Linear(encoder_dims, trans_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, trans_dim))
        self.cls_pos = nn.Parameter(torch.randn(1, 1, trans_dim))
        self.pos_embed = position_mlp(128, trans_dim)
        self.blocks = Blocks(trans_dim, depth, num_heads)
        self.norm = nn.LayerNorm(trans_dim)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.placed_tokens(points)
        return torch.cat([hidden[:, 0], hidden[:, 1:].amax(1)], -1)

    def placed_tokens(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Class token and patch tokens, normed, (B, 1 + num_group, trans_dim), and the centres of
        the patches, (B, num_group, 3), each the farthest from those before it."""
        patches, centres, _ = patches_of(points.float(), self.num_group, self.group_size)
        tokens, position = self.reduce_dim(self.encoder(patches)), self.pos_embed(centres)
        size = (len(points), -1, -1)
        tokens = torch.cat([self.cls_token.expand(size).to(tokens), tokens], 1)
        position = torch.cat([self.cls_pos.expand(size).to(position), position], 1)
        return self.norm(self.blocks(tokens, position)), centres
