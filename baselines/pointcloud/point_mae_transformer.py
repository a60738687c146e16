"""Patch embedding and transformer blocks that Point-BERT, Point-MAE and I2P-MAE share.

Parameter names are those of the published checkpoints (Pang-Yatian/Point-MAE models/Point_MAE.py,
ZrrSkywalker/I2P-MAE models/modules.py).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention

from benchmark.errors import EncoderError

CACHED = 64  # patches


class PatchEmbedding(nn.Module):
    """A small PointNet per patch: (B, G, K, in_channels) -> tokens (B, G, out_channels).

    `widths` are those of the four 1×1 convolutions; the third sees every point's features beside
    their maximum over the patch. Yu et al., Point-BERT, section 3.1 (mini-PointNet).
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, last = widths
        self.first_conv = nn.Sequential(
            nn.Conv1d(in_channels, first, 1),
            nn.BatchNorm1d(first),
            nn.ReLU(),
            nn.Conv1d(first, second, 1),
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(2 * second, third, 1),
            nn.BatchNorm1d(third),
            nn.ReLU(),
            nn.Conv1d(third, last, 1),
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        every = patches.flatten(0, 1)
        # the activations of so many patches fit in a CPU's cache, a batch's do not
        step = CACHED if patches.device.type == "cpu" else len(every)
        tokens = torch.cat([self._embed(part) for part in every.split(step)])
        return tokens.unflatten(0, patches.shape[:2])

    def _embed(self, patches: torch.Tensor) -> torch.Tensor:
        """(P, K, in_channels) -> (P, out_channels).

        As the published stack of convolutions computes it, but as products of matrices, with the
        patch's maximum multiplied once per patch instead of once per point."""
        size = patches.shape[1]
        first, first_norm, relu, second = self.first_conv
        features = _dense(second, relu(first_norm(_dense(first, patches.flatten(0, 1)))))
        whole = features.unflatten(0, (-1, size)).amax(1)
        third, third_norm, _, last = self.second_conv
        of_whole, of_point = third.weight[..., 0].chunk(2, 1)  # type: ignore[operator, index]
        hidden = linear(features, of_point).unflatten(0, (-1, size))
        hidden = hidden + linear(whole, of_whole, third.bias)[:, None]  # type: ignore[arg-type]
        tokens = _dense(last, relu(third_norm(hidden.flatten(0, 1))))
        return tokens.unflatten(0, (-1, size)).amax(1)


def _dense(convolution: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """A convolution of one step, (N, C) -> (N, C')."""
    return linear(rows, convolution.weight[..., 0], convolution.bias)  # type: ignore[operator, index, arg-type]


class Attention(nn.Module):
    """Multi-head self-attention without bias on queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens (B, N, width); `mask` (B, 1, 1, N) is True at keys that may be seen."""
        split = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: torch.Tensor = self.proj(seen.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear layers with GELU, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc2(self.act(self.fc1(tokens)))
        return out


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), mask)
        out: torch.Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class Blocks(nn.Module):
    """A stack of blocks; the position embedding is added before every one of them."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise EncoderError(f"a width of {width} does not divide into {heads} attention heads")
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(
        self, tokens: torch.Tensor, position: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        for block in self.blocks:
            tokens = block(tokens + position, mask)
        return tokens


def position_mlp(hidden: int, width: int) -> nn.Sequential:
    """Position embedding of patch centres: (..., 3) -> (..., width)."""
    return nn.Sequential(nn.Linear(3, hidden), nn.GELU(), nn.Linear(hidden, width))
