"""Phikon and Phikon-v2: vision transformers of Owkin, published in transformers' layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from baselines.histopathology.tile_vit import TileViT, renamed
from benchmark.checkpoint import fit, tensors_of

PARTS = ("query", "key", "value")

# key endings of one block: transformers' `ViTModel` and `Dinov2Model`, and timm's
_BLOCK = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_BLOCK_V2 = {
    "norm1": "norm1",
    "attention.output.dense": "attn.proj",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


class Phikon(TileViT):
    """Phikon (Filiot et al. 2023, https://doi.org/10.1101/2023.07.21.23292757), the class token.

    iBOT's ViT-B/16, and with `version=2` DINOv2's ViT-L/16 with LayerScale (Filiot et al. 2024,
    https://arxiv.org/abs/2409.09173). The epsilon of the norms is the default of transformers'
    `ViTConfig` and `Dinov2Config`. Source: github.com/owkin/HistoSSLscaling, `README.md`.
    """

    def __init__(
        self,
        version: int = 1,
        image_size: int = 224,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__(
            image_size=image_size,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            mlp_ratio=mlp_ratio,
            layer_scale=1.0 if version == 2 else None,
            epsilon=1e-6 if version == 2 else 1e-12,
        )
        self.version = version

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Keys of transformers' `ViTModel` or `Dinov2Model`, without pooler and mask token."""
        tensors = tensors_of(
            entries,
            prefixes=("vit.", "dinov2."),
            drop=r"^pooler\.|^embeddings\.mask_token$",
        )
        tensors = renamed(tensors, self._names())
        for block in range(len(self.vit.blocks)):
            for kind in ("weight", "bias"):
                parts = [tensors.pop(f"blocks.{block}.attn.{part}.{kind}") for part in PARTS]
                tensors[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat(parts)
        fit(self.vit, tensors)

    def _names(self) -> dict[str, str]:
        """Published names and timm's, with the three parts of `qkv` still apart."""
        names = {
            "embeddings.cls_token": "cls_token",
            "embeddings.position_embeddings": "pos_embed",
        }
        modules = {
            "embeddings.patch_embeddings.projection": "patch_embed.proj",
            "layernorm": "norm",
        }
        endings = _BLOCK_V2 if self.version == 2 else _BLOCK
        for block in range(len(self.vit.blocks)):
            theirs, ours = f"encoder.layer.{block}.", f"blocks.{block}."
            modules |= {theirs + a: ours + b for a, b in endings.items()}
            modules |= {f"{theirs}attention.attention.{p}": f"{ours}attn.{p}" for p in PARTS}
            if self.version == 2:
                for scale in (1, 2):
                    names[f"{theirs}layer_scale{scale}.lambda1"] = f"{ours}ls{scale}.gamma"
        kinds = ("weight", "bias")
        return names | {f"{a}.{k}": f"{b}.{k}" for a, b in modules.items() for k in kinds}
