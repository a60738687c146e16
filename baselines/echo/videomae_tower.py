"""What the VideoMAE encoders share: the transformer, which frames it sees, and its outputs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def videomae_transformer(
    *,
    size: int,
    frames: int,
    tubelet: int,
    patch: int,
    channels: int,
    dimension: int,
    depth: int,
    heads: int,
    mlp_dimension: int,
    final_norm: bool,
    epsilon: float,
) -> Any:
    """transformers' VideoMAE encoder (Tong et al., NeurIPS 2022, arXiv:2203.12602), untrained.

    Its sinusoidal position embedding, a bare tensor there, becomes a buffer, so that a checkpoint
    may bring its own and `to(device)` moves it.
    """
    from transformers import VideoMAEConfig, VideoMAEModel

    config = VideoMAEConfig(
        image_size=size,
        num_frames=frames,
        tubelet_size=tubelet,
        patch_size=patch,
        num_channels=channels,
        hidden_size=dimension,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=mlp_dimension,
        use_mean_pooling=not final_norm,
        layer_norm_eps=epsilon,
    )
    config._attn_implementation = "sdpa"
    model = VideoMAEModel(config)
    table = model.embeddings.position_embeddings
    del model.embeddings.position_embeddings
    model.embeddings.register_buffer("position_embeddings", table)
    return model


def first_frames(video: Tensor, lengths: Tensor | None, frames: int) -> Tensor:
    """(B, C, T, H, W), (B,) valid frames -> (B, frames, C, H, W).

    A clip that is too short repeats its own last valid frame, as VideoMAE's loader of evaluation
    clips does, whatever the batch was padded to.
    """
    steps = torch.arange(frames, device=video.device)[None]
    if lengths is None:
        last = torch.full((len(video), 1), video.shape[2] - 1, device=video.device)
    else:
        last = (lengths.to(video.device)[:, None] - 1).clamp(min=0)
    rows = torch.arange(len(video), device=video.device)[:, None]
    return video.transpose(1, 2)[rows, torch.minimum(steps, last)]


class VideoMAETower(nn.Module):
    """Clip embedding, layer means and patch tokens of a VideoMAE transformer.

    A subclass builds `self.model` and says how tokens are normalised and pooled.
    """

    modality: ClassVar[str] = "echo"
    model: Any  # of `videomae_transformer`
    input: dict[str, Any]
    leading = 0  # tokens before those of the patches

    def pool(self, tokens: Tensor) -> Tensor:
        """Tokens of the last block (B, N, D) -> (B, D)."""
        raise NotImplementedError

    def normalised(self, tokens: Tensor) -> Tensor:
        """Tokens of the last block with the final normalisation, (B, N, D)."""
        raise NotImplementedError

    def embedded(self, clips: Tensor) -> Tensor:
        """(B, T, C, H, W) -> the tokens that the first block sees, (B, N, D)."""
        tokens: Tensor = self.model.embeddings(clips, None)
        return tokens

    def summary(self, tokens: Tensor) -> Tensor:
        """What stands for the clip after any block, before normalisation: (B, N, D) -> (B, D)."""
        return tokens.float().mean(1)

    def forward(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, C, T, H, W), (B,) valid frames -> (B, D)."""
        return self.pool(self._states(video, lengths)[-1]).float()

    def layers(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`summary` of the embedding and of every block's output: (1 + depth, B, D)."""
        return torch.stack([self.summary(state) for state in self._states(video, lengths)])

    def patches(self, video: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tokens of the first tubelet, which holds the clip's first frame: (B, H', W', D)."""
        side = self.model.config.image_size // self.model.config.patch_size
        tokens = self.normalised(self._states(video, lengths)[-1])[:, self.leading :]
        return tokens[:, : side * side].unflatten(1, (side, side)).float()

    def _states(self, video: Tensor, lengths: Tensor | None) -> list[Tensor]:
        clips = first_frames(video, lengths, int(self.model.config.num_frames))
        states = [self.embedded(clips)]
        for block in self.model.encoder.layer:
            states.append(block(states[-1]))
        return states
