"""I2P-MAE: hierarchical masked autoencoding guided by images; its encoder, frozen.

Zhang, Wang, Qiao, Gao, Li, Learning 3D representations from 2D pre-trained models via
image-to-point masked autoencoders, CVPR 2023, https://arxiv.org/abs/2212.06785; features and
checkpoint layout as in the authors' ZrrSkywalker/I2P-MAE (models/I2P_MAE.py, `eval=True`). The
encoder is that of Point-M2AE (Zhang et al., NeurIPS 2022, https://arxiv.org/abs/2205.14401).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import nn

from baselines.pointcloud.point_mae_transformer import Blocks, PatchEmbedding, position_mlp
from baselines.pointcloud.sampling import patches_of, take
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

# what only pretraining needs: the decoder, the two reconstruction heads and CLIP's image tower
PRETRAINING = (
    r"^(h_decoder|decoder_pos_embeds|decoder_norm|token_prop|rec_head_[23]d|clip_model)\."
    r"|^mask_token$"
)


class I2PMAE(nn.Module):
    """Points (B, N, 3) -> maximum over the tokens of the last level, (B, encoder_dims[-1]).

    The feature that the authors give to their linear SVM. Nothing is masked, except that a token
    which no patch of the next level contains is hidden from its own level's attention, as in the
    authors' evaluation. `patches` are the tokens of the last level with the centres they stand at.

    Args:
        num_groups: patches per cloud on each level; patches of a level are made of the centres of
            the level before.
        group_sizes: points per patch on each level.
        encoder_dims: width of each level.
        encoder_depths: transformer blocks on each level.
        num_heads: attention heads.
    """

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 1024, "normalise": "unit-sphere"}

    def __init__(
        self,
        num_groups: Sequence[int] = (512, 256, 64),
        group_sizes: Sequence[int] = (16, 8, 8),
        encoder_dims: Sequence[int] = (96, 192, 384),
        encoder_depths: Sequence[int] = (5, 5, 5),
        num_heads: int = 6,
    ) -> None:
        super().__init__()
        per_level = (num_groups, group_sizes, encoder_dims, encoder_depths)
        if len({len(values) for values in per_level}) > 1:
            raise EncoderError(
                "I2P-MAE needs num_groups, group_sizes, encoder_dims and encoder_depths of one "
                "length: a value for each level"
            )
        self.num_groups, self.group_sizes = tuple(num_groups), tuple(group_sizes)
        widths = tuple(encoder_dims)
        embeddings = [PatchEmbedding(3, (128, 256, 512, widths[0]))]
        embeddings += [PatchEmbedding(a, (a, a, b, b)) for a, b in pairwise(widths)]
        self.token_embed = nn.ModuleList(embeddings)
        self.encoder_pos_embeds = nn.ModuleList(position_mlp(width, width) for width in widths)
        self.encoder_blocks = nn.ModuleList(
            Blocks(width, depth, num_heads)
            for width, depth in zip(widths, encoder_depths, strict=True)
        )
        # all but the last norm serve the decoder alone; they are here so that checkpoints fit whole
        self.encoder_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.tokens(points).amax(1).float()

    def tokens(self, points: torch.Tensor) -> torch.Tensor:
        """Normed tokens of the last level: (B, N, 3) -> (B, num_groups[-1], encoder_dims[-1])."""
        return self._placed_tokens(points)[0]

    def patches(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tokens of the last level and the centres of their patches, (B, num_groups[-1], 3)."""
        tokens, centres = self._placed_tokens(points)
        return {"values": tokens.float(), "centres": centres}

    def _placed_tokens(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        levels = []
        centres = points.float()
        for count, size in zip(self.num_groups, self.group_sizes, strict=True):
            patches, centres, index = patches_of(centres, count, size)
            levels.append((patches, centres, index))
        tokens = self.token_embed[0](levels[0][0])
        for i, (_, centres, index) in enumerate(levels):
            if i:
                tokens = self.token_embed[i](take(tokens, index))
            above = levels[i + 1][2] if i + 1 < len(levels) else None
            mask = None if above is None else self._in_a_patch(above, tokens.shape[1])
            tokens = self.encoder_blocks[i](tokens, self.encoder_pos_embeds[i](centres), mask)
        return self.encoder_norms[-1](tokens), levels[-1][1]

    @staticmethod
    def _in_a_patch(index: torch.Tensor, tokens: int) -> torch.Tensor:
        """Key mask (B, 1, 1, tokens), True where a token is in a patch of index (B, G, K)."""
        seen = torch.zeros(len(index), tokens, dtype=torch.bool, device=index.device)
        return seen.scatter(1, index.flatten(1), True)[:, None, None]

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load `module.h_encoder.*` of a pretraining checkpoint; decoder and CLIP are left out."""
        prefixes = ("module.", "h_encoder.")
        fit(self, tensors_of(entries, inside=("base_model",), prefixes=prefixes, drop=PRETRAINING))
