"""UNI and UNI 2: DINOv2 vision transformers of the Mahmood Lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from baselines.histopathology.tile_vit import TileViT
from benchmark.checkpoint import fit, tensors_of


class Uni(TileViT):
    """UNI (Chen et al. 2024, https://doi.org/10.1038/s41591-024-02857-3), the class token.

    Source: github.com/mahmoodlab/UNI, `README.md` and `uni/get_encoder/get_encoder.py` (timm's
    ViT-L/16 with LayerScale). UNI 2 adds registers, which have no position, and a gated MLP of two
    halves: `registers=8, gated_mlp=True`.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch: int = 16,
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        registers: int = 0,
        gated_mlp: bool = False,
    ) -> None:
        options: dict[str, Any] = {}
        if gated_mlp:
            from timm.layers import SwiGLUPacked

            options = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
        super().__init__(
            image_size=image_size,
            patch=patch,
            width=width,
            depth=depth,
            heads=heads,
            mlp_ratio=mlp_ratio,
            layer_scale=1e-5,
            reg_tokens=registers,
            no_embed_class=registers > 0,
            dynamic_img_size=True,
            **options,
        )

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The published file: the keys of timm's `VisionTransformer`."""
        fit(self.vit, tensors_of(entries))
