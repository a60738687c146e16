"""Point-MAE: masked autoencoding of point patches; its encoder, frozen.

Pang, Wang, Tay, Liu, Tian, Yuan, Masked autoencoders for point cloud self-supervised learning,
ECCV 2022, https://arxiv.org/abs/2203.06604; layout of the checkpoints as in the authors'
Pang-Yatian/Point-MAE (`pretrain.pth`, entry `base_model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from baselines.pointcloud.point_mae_transformer import Blocks, PatchEmbedding, position_mlp
from baselines.pointcloud.sampling import patches_of
from benchmark.checkpoint import fit, tensors_of

# the half of the autoencoder that only pretraining needs
DECODER = r"^(MAE_decoder|decoder_pos_embed|increase_dim)\.|^mask_token$"


class PointMAE(nn.Module):
    """Points (B, N, 3) -> mean and maximum over the tokens, concatenated: (B, 2 trans_dim).

    Nothing is masked. `patches` are the tokens with the centres they stand at.

    Args:
        num_group: patches per cloud.
        group_size: points per patch.
        encoder_dims: width of the patch embedding, equal to `trans_dim`.
        trans_dim: width of the transformer.
        depth: transformer blocks.
        num_heads: attention heads.
    """

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 1024, "normalise": "unit-sphere"}

    def __init__(
        self,
        num_group: int = 64,
        group_size: int = 32,
        encoder_dims: int = 384,
        trans_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
    ) -> None:
        super().__init__()
        self.num_group, self.group_size = num_group, group_size
        self.encoder = PatchEmbedding(3, (128, 256, 512, encoder_dims))
        self.pos_embed = position_mlp(128, trans_dim)
        self.blocks = Blocks(trans_dim, depth, num_heads)
        self.norm = nn.LayerNorm(trans_dim)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        tokens = self.tokens(points)
        return torch.cat([tokens.mean(1), tokens.amax(1)], -1).float()

    def tokens(self, points: torch.Tensor) -> torch.Tensor:
        """One token per patch, after the last norm: (B, N, 3) -> (B, num_group, trans_dim)."""
        return self._placed_tokens(points)[0]

    def patches(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tokens and the centres of their patches, (B, num_group, 3)."""
        tokens, centres = self._placed_tokens(points)
        return {"values": tokens.float(), "centres": centres}

    def _placed_tokens(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        patches, centres, _ = patches_of(points.float(), self.num_group, self.group_size)
        hidden = self.blocks(self.encoder(patches), self.pos_embed(centres))
        return self.norm(hidden), centres

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load `module.MAE_encoder.*` of a pretraining checkpoint; the decoder is left out."""
        prefixes = ("module.", "MAE_encoder.")
        fit(self, tensors_of(entries, inside=("base_model",), prefixes=prefixes, drop=DECODER))
