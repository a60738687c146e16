"""A vision transformer on tiles with a class token, and renaming of published keys."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import EncoderError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TileViT(nn.Module):
    """timm's `VisionTransformer` (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929).

    `image_size`, `patch` in pixels; `layer_scale` initialises LayerScale (None: there is none);
    `options` are further ones of timm's class.
    """

    modality = "histopathology"

    def __init__(
        self,
        *,
        image_size: int = 224,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = None,
        epsilon: float = 1e-6,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
        **options: Any,
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        self.input: dict[str, object] = {"size": image_size, "mean": mean, "std": std}
        self.vit: Any = VisionTransformer(
            img_size=image_size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            init_values=layer_scale,
            norm_layer=partial(nn.LayerNorm, eps=epsilon),
            num_classes=0,
            **options,
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) standardised RGB -> (B, width): the class token after the final norm."""
        embedding: Tensor = self.vit(image)
        return embedding

    def patches(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / patch, W / patch, width): tokens after the final norm."""
        tokens, _ = block_tokens(self.vit, image, 1)[0]
        return tokens.unflatten(1, self.vit.patch_embed.dynamic_feat_size(image.shape[-2:]))

    def layers(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (depth, B, width): every block's class token through the final norm."""
        return torch.stack([token for _, token in block_tokens(self.vit, image)])


def block_tokens(vit: Any, image: Tensor, last: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """(patch tokens (B, N, D), class token (B, D)) of the `last` blocks, or of all blocks.

    All go through the final norm, as DINO reads intermediate layers
    (https://arxiv.org/abs/2104.14294, `get_intermediate_layers` of its repository).
    """
    blocks = vit.forward_intermediates(
        image,
        indices=last,
        norm=True,
        output_fmt="NLC",
        return_prefix_tokens=True,
        intermediates_only=True,
    )
    return [(tokens, prefix[:, 0]) for tokens, prefix in blocks]


def renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors under the encoder's names; `names` maps published ones to those.

    Keys outside `names` stay as they are, for `fit` to judge.

    Raises:
        EncoderError: keys of `names` that are missing, by their published names.
    """
    missing = [published for published in names if published not in tensors]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise EncoderError(f"missing: {', '.join(missing[:4])}{more}")
    return {names.get(key, key): value for key, value in tensors.items()}
