"""Self-ViT: a DINO vision transformer on tiles, for multiple-instance learning on slides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.histopathology.tile_vit import TileViT, block_tokens
from benchmark.checkpoint import fit, tensors_of


class SelfViT(TileViT):
    """Self-ViT-MIL's tile encoder (Gul et al. 2022, https://arxiv.org/abs/2210.09021).

    Source: github.com/gokberkgul/self-learning-transformer-mil, `src/vit/save_embeddings.py` (the
    feature and the normalisation) and `train_dino.py` (the checkpoint). The embedding joins the
    class tokens of the last four blocks and the mean patch token of the last, each after the final
    norm. A slide is a bag of such tiles.
    """

    BLOCKS = 4  # whose class tokens are joined

    def __init__(
        self,
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
            mean=(0.6223, 0.4763, 0.6009),
            std=(0.2012, 0.2190, 0.1722),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) standardised RGB -> (B, 5 x width)."""
        blocks = block_tokens(self.vit, image, self.BLOCKS)
        return torch.cat([*(token for _, token in blocks), blocks[-1][0].mean(1)], 1)

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The teacher's backbone of a DINO checkpoint, or the backbone alone.

        DINO saves `student` and `teacher` beside the optimiser's state; the projection head of
        pretraining is left out.
        """
        tensors = tensors_of(
            entries, inside=("teacher",), prefixes=("module.", "backbone."), drop=r"^head\."
        )
        fit(self.vit, tensors)
