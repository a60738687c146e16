"""The one-dimensional ViTs of MERL (Liu et al. 2024, https://arxiv.org/abs/2403.06659).

Blocks carry the parameter names that MERL's (`utils/vit1d.py` of cheliu-computation/MERL-ICML2024)
and ST-MEM's checkpoints share: `block0.attn.norm`, `block0.attn.fn.to_qkv`, `block0.ff.fn.net.0`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZES = {  # width, depth, heads
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "middle": (512, 12, 8),
    "base": (768, 12, 12),
}


class Attention(nn.Module):
    """Multi-head self-attention with one linear layer for queries, keys and values."""

    def __init__(self, width: int, heads: int, head_width: int = 64) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * head_width)
        self.to_out: nn.Module = nn.Identity()
        if not (heads == 1 and head_width == width):
            self.to_out = nn.Sequential(nn.Linear(heads * head_width, width), nn.Dropout(0.0))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        parts = [
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.to_qkv(tokens).chunk(3, -1)
        ]
        mixed = nn.functional.scaled_dot_product_attention(*parts)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers around a GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(0.0),  # keeps the published numbering of the layers
            nn.Linear(hidden, width),
            nn.Dropout(0.0),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        out: Tensor = self.net(tokens)
        return out


class PreNorm(nn.Module):
    """Layer normalisation before `fn`."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        out: Tensor = self.fn(self.norm(tokens))
        return out


class TransformerBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attn = PreNorm(width, Attention(width, heads))
        self.ff = PreNorm(width, Mlp(width, hidden))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        tokens = tokens + self.attn(tokens)
        out: Tensor = tokens + self.ff(tokens)
        return out


class MerlVit(nn.Module):
    """ViT whose patch is `patch` samples of all leads; no class token."""

    def __init__(
        self,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        mlp_width: int | None = None,
        samples: int = 5000,
        patch: int = 50,
        leads: int = 12,
    ) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        self.to_patch_embedding = nn.Conv1d(leads, width, patch, patch, bias=False)
        self.pos_embedding = nn.Parameter(torch.randn(1, samples // patch, width))
        for i in range(depth):
            block = TransformerBlock(width, heads, mlp_width or 4 * width)
            self.add_module(f"block{i}", block)
        self.norm = nn.LayerNorm(width)

    def features(self, signal: Tensor) -> Tensor:
        """(B, leads, samples) -> (B, width, patches): the tokens after the last block."""
        tokens: Tensor = self.to_patch_embedding(signal).transpose(1, 2) + self.pos_embedding
        for i in range(self.depth):
            tokens = getattr(self, f"block{i}")(tokens)
        return tokens.transpose(1, 2)

    def pool(self, features: Tensor) -> Tensor:
        """(B, width, patches) -> (B, width): the norm of the mean, the input of the head."""
        out: Tensor = self.norm(features.mean(2))
        return out
