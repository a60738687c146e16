"""A small VideoMAE with random weights: the control that any trained video encoder must beat."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

FRAMES, SIZE, PATCH, TUBELET = 20, 64, 8, 4
# of the initial weights; with VideoMAE's own 0.02 an untrained token is nearly its position alone
SPREAD = 0.1


class RandomVideoMAE(nn.Module):
    """VideoMAE's encoder (Tong et al., NeurIPS 2022, arXiv:2203.12602), untrained.

    Clips shorter than 20 frames repeat their last frame, as does a single frame.
    """

    modality: ClassVar[str] = "echo"
    input: ClassVar[dict[str, Any]] = {
        "frames": FRAMES,
        "size": SIZE,
        "channels": 1,
        "mean": (0.25,),
        "std": (0.25,),
    }

    def __init__(self, dimension: int = 128, depth: int = 2, heads: int = 4) -> None:
        from transformers import VideoMAEConfig, VideoMAEModel

        super().__init__()
        self.model = VideoMAEModel(
            VideoMAEConfig(
                image_size=SIZE,
                patch_size=PATCH,
                num_channels=1,
                num_frames=FRAMES,
                tubelet_size=TUBELET,
                hidden_size=dimension,
                num_hidden_layers=depth,
                num_attention_heads=heads,
                intermediate_size=4 * dimension,
                use_mean_pooling=False,
                initializer_range=SPREAD,
            )
        )

    def forward(self, video: Tensor, lengths: Tensor) -> Tensor:
        """(B, 1, T, 64, 64), (B,) valid frames -> (B, 2 D): the tokens' mean, and the root mean
        square over places of their deviation in time."""
        tokens: Tensor = self.model(_take(video, lengths, FRAMES)).last_hidden_state
        tokens = tokens.unflatten(1, (FRAMES // TUBELET, -1))
        deviation = tokens.var(1, correction=0).mean(1).sqrt()
        return torch.cat([tokens.mean((1, 2)), deviation], 1)

    def patches(self, video: Tensor, lengths: Tensor) -> Tensor:
        """Tokens of the first four frames (or of one, repeated): (B, 8, 8, D)."""
        side = SIZE // PATCH
        start = self.model.embeddings.patch_embeddings(_take(video, lengths, TUBELET))
        place = self.model.embeddings.position_embeddings[:, : side * side]
        hidden = self.model.encoder(start + place.to(start)).last_hidden_state
        if self.model.layernorm is not None:
            hidden = self.model.layernorm(hidden)
        return hidden.reshape(len(hidden), side, side, -1)


def _take(video: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """(B, C, T, H, W) -> (B, frames, C, H, W): the first valid frames, the last one repeated."""
    steps = torch.arange(frames, device=video.device)[None]
    index = torch.minimum(steps, (lengths.to(video.device)[:, None] - 1).clamp(min=0))
    rows = torch.arange(len(video), device=video.device)[:, None]
    return video.transpose(1, 2)[rows, index]
