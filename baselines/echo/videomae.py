"""VideoMAE pretrained on Kinetics-400: the general-video baseline of the echo encoders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from baselines.echo.videomae_tower import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    VideoMAETower,
    videomae_transformer,
)
from benchmark.checkpoint import fit, tensors_of

# of the pretraining model, beside its encoder `videomae.*`
DECODER = r"^(decoder\.|encoder_to_decoder\.|mask_token$)"


class VideoMAE(VideoMAETower):
    """`videomae`: mean over the normalised tokens of 16 frames, every fourth of the clip, the
    sampling of its pretraining on Kinetics (Tong et al., NeurIPS 2022, arXiv:2203.12602)."""

    def __init__(
        self,
        size: int = 224,
        frames: int = 16,
        stride: int = 4,
        tubelet: int = 2,
        patch: int = 16,
        dimension: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_dimension: int = 3072,
    ) -> None:
        super().__init__()
        self.input = {
            "frames": frames,
            "stride": stride,
            "size": size,
            "channels": 3,
            "mean": IMAGENET_MEAN,
            "std": IMAGENET_STD,
        }
        self.model = videomae_transformer(
            size=size,
            frames=frames,
            tubelet=tubelet,
            patch=patch,
            channels=3,
            dimension=dimension,
            depth=depth,
            heads=heads,
            mlp_dimension=mlp_dimension,
            final_norm=True,
            epsilon=1e-12,
        )

    def pool(self, tokens: Tensor) -> Tensor:
        """Mean of the normalised tokens, (B, N, D) -> (B, D)."""
        return self.normalised(tokens).float().mean(1)

    def normalised(self, tokens: Tensor) -> Tensor:
        """The final layer normalisation of each token, (B, N, D)."""
        normalised: Tensor = self.model.layernorm(tokens)
        return normalised

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """A pretraining checkpoint of transformers' VideoMAE (its decoder is left out), with the
        query and value biases of the published file or as transformers names them now.

        Raises:
            EncoderError: keys missing, surplus or of another shape.
        """
        tensors = tensors_of(entries, prefixes=("videomae.",), drop=DECODER)
        renamed = {
            re.sub(
                r"\.(q|v)_bias$",
                lambda bias: ".query.bias" if bias[1] == "q" else ".value.bias",
                key,
            ): value
            for key, value in tensors.items()
        }
        fit(self.model, renamed, optional=("embeddings.position_embeddings",))
