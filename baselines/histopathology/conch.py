"""CONCH: a vision-language model of pathology, contrastive and captioning (CoCa)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from baselines.histopathology.conch_text import (
    TextTower,
    byte_tokens,
    published_vocabulary,
    read_vocabulary,
    vocabulary_tokens,
)
from baselines.histopathology.plip import CLIP_MEAN, CLIP_STD
from baselines.histopathology.tile_vit import block_tokens
from benchmark.checkpoint import fit, tensors_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNUSED = r"^text_decoder\.|^logit_scale$|^visual\.(attn_pool|ln)_caption\."


class Conch(nn.Module):
    """CONCH (Lu et al. 2024, https://doi.org/10.1038/s41591-024-02856-4).

    The image embedding is the one before the contrastive projection, as the authors probe it;
    `joint` and `encode_text` give the contrastive ones. None is normalised. Source:
    github.com/mahmoodlab/CONCH: `model_configs/conch_ViT-B-16.json`, `coca_model.py`,
    `vision_tower.py` and `transformer.py` of `conch/open_clip_custom`, whose key names these are.
    """

    modality = "histopathology"

    def __init__(
        self,
        image_size: int = 448,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        text_width: int = 768,
        text_depth: int = 12,
        text_heads: int = 12,
        vocabulary: int = 32_007,
        context: int = 128,
        dimension: int = 512,
        pooler_heads: int = 8,
        tokenizer: str = "published",
    ) -> None:
        """`tokenizer`: "published" (the authors' vocabulary), "bytes" (for tests of the
        architecture) or the path of a vocabulary file."""
        super().__init__()
        self.input: dict[str, object] = {
            "size": image_size,
            "mean": CLIP_MEAN,
            "std": CLIP_STD,
            "interpolation": "bicubic",
            "crop": True,
        }
        self.tokenizer = tokenizer
        self.visual = VisualTower(image_size, patch, width, depth, heads, dimension, pooler_heads)
        self.text = TextTower(vocabulary, context, text_width, text_depth, text_heads, dimension)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) standardised RGB -> (B, dimension)."""
        embedding: Tensor = self.visual(image)
        return embedding

    def joint(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, dimension), in the space of `encode_text`."""
        return self.forward(image) @ self.visual.proj_contrast

    def patches(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, H / patch, W / patch, width): the ViT's tokens after its norm."""
        trunk = self.visual.trunk
        tokens, _ = block_tokens(trunk, image, 1)[0]
        return tokens.unflatten(1, trunk.patch_embed.dynamic_feat_size(image.shape[-2:]))

    def layers(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (depth, B, width): every block's class token through the ViT's norm."""
        return torch.stack([token for _, token in block_tokens(self.visual.trunk, image)])

    def encode_text(self, texts: list[str]) -> Tensor:
        """N texts -> (N, dimension), in the space of `joint`; longer ones are cut."""
        length = self.text.context - 1
        if self.tokenizer == "bytes":
            tokens = byte_tokens(texts, length)
        else:
            tokens = vocabulary_tokens(texts, length, self._words)
        embedding: Tensor = self.text(tokens.to(self.text.cls_emb.device))
        return embedding

    @cached_property
    def _words(self) -> Tokenizer:
        published = self.tokenizer == "published"
        return read_vocabulary(published_vocabulary() if published else Path(self.tokenizer))

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The published file; what only captioning needs, and the temperature, are left out."""
        fit(self, tensors_of(entries, prefixes=("module.",), drop=UNUSED))


class VisualTower(nn.Module):
    """A ViT whose tokens, class token included, one learned query pools."""

    def __init__(
        self,
        image_size: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        dimension: int,
        pooler_heads: int,
    ) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        self.trunk: Any = VisionTransformer(
            img_size=image_size,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            num_classes=0,
            dynamic_img_size=True,
        )
        self.attn_pool_contrast = AttentionalPooler(width, dimension, pooler_heads)
        self.ln_contrast = nn.LayerNorm(dimension)
        self.proj_contrast = nn.Parameter(width**-0.5 * torch.randn(dimension, dimension))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, dimension), before the projection."""
        pooled = self.attn_pool_contrast(self.trunk.forward_features(image))
        embedding: Tensor = self.ln_contrast(pooled)
        return embedding


class AttentionalPooler(nn.Module):
    """Attention of one learned query over tokens (CoCa, https://arxiv.org/abs/2205.01917)."""

    def __init__(self, width: int, dimension: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, dimension))
        self.attn = CrossAttention(width, dimension, heads)
        self.ln_q = nn.LayerNorm(dimension)
        self.ln_k = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, dimension)."""
        query = self.ln_q(self.query).expand(len(tokens), -1, -1)
        pooled: Tensor = self.attn(query, self.ln_k(tokens))
        return pooled[:, 0]


class CrossAttention(nn.Module):
    """Attention with the parameter names of `torch.nn.MultiheadAttention(kdim=, vdim=)`."""

    def __init__(self, width: int, dimension: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj_weight = nn.Parameter(torch.empty(dimension, dimension))
        self.k_proj_weight = nn.Parameter(torch.empty(dimension, width))
        self.v_proj_weight = nn.Parameter(torch.empty(dimension, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dimension))
        self.out_proj = nn.Linear(dimension, dimension)
        for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            nn.init.xavier_uniform_(weight)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """(B, Q, dimension), (B, N, width) -> (B, Q, dimension)."""
        biases = self.in_proj_bias.chunk(3)
        weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        q, k, v = (
            linear(source, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for source, weight, bias in zip((query, tokens, tokens), weights, biases, strict=True)
        )
        mixed = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        output: Tensor = self.out_proj(mixed)
        return output
