"""DISCOVR: self-supervised video encoder of echocardiograms (Mishra et al., arXiv:2506.11777)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.echo.videomae_tower import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    VideoMAETower,
    videomae_transformer,
)
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

# names here -> names of VideoMAE's fine-tuning layout (models/modeling_finetune.py of the authors)
RENAMED = (
    (r"^model\.encoder\.layer\.(\d+)\.", r"blocks.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.attention\.(query|key|value)\.weight$", ".attn.qkv.weight"),
    (r"\.attention\.attention\.query\.bias$", ".attn.q_bias"),
    (r"\.attention\.attention\.value\.bias$", ".attn.v_bias"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"^model\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^model\.embeddings\.position_embeddings$", "pos_embed"),
)
PARTS = ("query", "key", "value")  # the order in which they are fused


class Discovr(VideoMAETower):
    """`discovr`: 64 frames to the normalised class token, as in the published checkpoints, or to
    the normalised mean over the tokens, where a checkpoint is in VideoMAE's fine-tuning layout.

    The authors read every third frame at 112 x 112 pixels, RGB scaled by ImageNet's statistics
    (config/run_pretraining.sh and data/datasets of github.com/mdivyanshu97/DISCOVR).
    """

    cls_token: nn.Parameter | None

    def __init__(
        self,
        size: int = 112,
        frames: int = 64,
        stride: int = 3,
        tubelet: int = 2,
        patch: int = 16,
        dimension: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
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
            mlp_dimension=int(mlp_ratio * dimension),
            final_norm=False,
            epsilon=1e-6,
        )
        self.fc_norm = nn.LayerNorm(dimension, eps=1e-6)
        self.register_parameter("cls_token", None)  # there when a checkpoint brings one

    def embedded(self, clips: Tensor) -> Tensor:
        """Tokens of the patches, behind the class token where there is one."""
        tokens = super().embedded(clips)
        if self.cls_token is None:
            return tokens
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens), tokens], 1)

    def summary(self, tokens: Tensor) -> Tensor:
        """The class token, or the mean where there is none, (B, N, D) -> (B, D)."""
        return super().summary(tokens) if self.cls_token is None else tokens[:, 0].float()

    def pool(self, tokens: Tensor) -> Tensor:
        """`fc_norm` of `summary`, (B, N, D) -> (B, D)."""
        normalised: Tensor = self.fc_norm(self.summary(tokens))
        return normalised

    def normalised(self, tokens: Tensor) -> Tensor:
        """`fc_norm` of each token, (B, N, D)."""
        normalised: Tensor = self.fc_norm(tokens)
        return normalised

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Weights of a pretraining checkpoint as published (`video_teacher.`, which the authors
        read out, else `encoder.`, with a class token), or in VideoMAE's fine-tuning layout, bare
        or under `module.`, `backbone.` or `encoder.`; the other branches, decoder and heads are
        left out. The position embedding is the sinusoidal one where the file has none.

        Raises:
            EncoderError: keys missing, surplus or of another shape, under their published names.
        """
        tensors = tensors_of(entries, inside=("module",), prefixes=("module.", "backbone."))
        taught = any(key.startswith("video_teacher.") for key in tensors)
        branch = "video_teacher." if taught else "encoder."
        tensors = tensors_of(tensors, only=branch, drop=r"^(head\.|local_pos_embed)")
        pretraining = "cls_token" in tensors and "fc_norm.weight" not in tensors
        try:
            if pretraining:
                tensors = self._with_class_token(tensors)
            fit(self, self._own_names(tensors), optional=("model.embeddings.position_embeddings",))
        except EncoderError as error:
            self.cls_token, self.leading = None, 0  # as it was
            message = re.sub(r"\w+(\.\w+)+", lambda name: published(name[0]), str(error))
            raise EncoderError(
                message.replace("fc_norm.", "norm.") if pretraining else message
            ) from None

    def _with_class_token(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The pretraining layout as the fine-tuning one and a class token: its `norm` is applied
        to that token, its projections may lack biases, its positions begin with the token's."""
        width, tokens = (int(n) for n in self.model.embeddings.position_embeddings.shape[:0:-1])
        rest = {re.sub(r"^norm\.", "fc_norm.", key): value for key, value in tensors.items()}
        if not any(key.endswith((".q_bias", ".v_bias")) for key in rest):
            for index in range(len(self.model.encoder.layer)):
                for part in ("q_bias", "v_bias"):
                    rest[f"blocks.{index}.attn.{part}"] = torch.zeros(width)
        for key, due in (("cls_token", (1, 1, width)), ("pos_embed", (1, tokens + 1, width))):
            if key in rest and tuple(rest[key].shape) != due:
                given = tuple(rest[key].shape)
                raise EncoderError(f"wrong shape: {key} is {given}, should be {due}")
        if "pos_embed" in rest:
            positions = rest["pos_embed"]
            rest["cls_token"] = rest["cls_token"] + positions[:, :1]
            rest["pos_embed"] = positions[:, 1:]
        self.leading = 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        return rest

    def _own_names(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published tensors under the names used here, the fused projections in three; tensors
        that nothing here is named after keep their name."""
        rest = dict(tensors)
        own: dict[str, Tensor] = {}
        width = int(self.model.config.hidden_size)
        for index in range(len(self.model.encoder.layer)):
            key = f"blocks.{index}.attn.qkv.weight"
            if key not in rest:
                raise EncoderError(f"missing: {key}")
            fused = rest.pop(key)
            if fused.shape != (3 * width, width):
                given, due = tuple(fused.shape), (3 * width, width)
                raise EncoderError(f"wrong shape: {key} is {given}, should be {due}")
            attention = f"model.encoder.layer.{index}.attention.attention"
            for part, weight in zip(PARTS, fused.chunk(3), strict=True):
                own[f"{attention}.{part}.weight"] = weight
        for name in self.state_dict():
            if name not in own and published(name) in rest:
                own[name] = rest.pop(published(name))
        return own | rest


def published(name: str) -> str:
    """The name of one of this encoder's tensors in the published layout."""
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
