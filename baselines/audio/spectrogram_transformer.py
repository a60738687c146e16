"""The pre-norm transformer block that SSAST and ATST share, under timm's parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6  # of every layer normalisation, in timm's vision transformers and in ATST


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, embed_dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=qkv_bias)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, tokens: Tensor, keys: Tensor | None) -> Tensor:
        """(B, N, D) to (B, N, D); `keys` (B, N): the tokens that may be attended to."""
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if keys is None else keys[:, None, None]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return attended


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, embed_dim: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, ratio * embed_dim)
        self.fc2 = nn.Linear(ratio * embed_dim, embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        activated: Tensor = self.fc2(nn.functional.gelu(self.fc1(tokens)))
        return activated


class Block(nn.Module):
    """Attention and feed-forward, each on normalised input and added to it (Dosovitskiy et al.
    2021, https://arxiv.org/abs/2010.11929)."""

    def __init__(self, embed_dim: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=EPS)
        self.attn = Attention(embed_dim, num_heads, qkv_bias)
        self.norm2 = nn.LayerNorm(embed_dim, eps=EPS)
        self.mlp = FeedForward(embed_dim)

    def forward(self, tokens: Tensor, keys: Tensor | None = None) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), keys)
        return tokens + self.mlp(self.norm2(tokens))


def initialise(module: nn.Module) -> None:
    """Both systems' start: linear weights and free embeddings from N(0, 0.02) cut at 2, biases
    zero, normalisations one."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        for parameter in layer.parameters(recurse=False):
            if parameter.ndim == 3:  # class tokens and position embeddings, (1, N, D)
                nn.init.trunc_normal_(parameter, std=0.02)


def masked_mean(tokens: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """Sum of (B, N, D) over the `valid` (B, N) tokens, divided by `count` (B,) + 1e-6: (B, D)."""
    kept = torch.where(valid[..., None], tokens, 0.0).sum(1)
    return kept / (count[:, None] + 1e-6)
