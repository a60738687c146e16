"""The one-dimensional ResNets of MERL (Liu et al. 2024, https://arxiv.org/abs/2403.06659).

Parameter names are those of the published encoder files (`utils/resnet1d.py` of
cheliu-computation/MERL-ICML2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BOTTLENECK = (50, 101)


class ResidualUnit(nn.Module):
    """Convolutions with batch normalisation around a shortcut (He et al. 2016), in one dimension.

    kernels (3, 3) make the basic block, (1, 3, 1) the bottleneck, which ends in four times
    `width` channels. The stride sits at the first convolution of width 3.
    """

    shortcut: nn.Module

    def __init__(self, channels: int, width: int, stride: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        out = width * (4 if len(kernels) == 3 else 1)
        widths = [channels, *[width] * (len(kernels) - 1), out]
        self.depth = len(kernels)
        strided = kernels.index(3)
        for i, kernel in enumerate(kernels):
            step = stride if i == strided else 1
            conv = nn.Conv1d(widths[i], widths[i + 1], kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm1d(widths[i + 1]))
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv1d(channels, out, 1, stride, bias=False), nn.BatchNorm1d(out)
            )

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, T) -> (B, C', T / stride)."""
        inner = values
        for i in range(1, self.depth + 1):
            inner = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(inner))
            if i < self.depth:
                inner = torch.relu(inner)
        return torch.relu(inner + self.shortcut(values))


class MerlResNet(nn.Module):
    """ResNet of `depth` 18, 34, 50 or 101 over the leads, without pooling after the stem."""

    def __init__(self, depth: int = 18, leads: int = 12, width: int = 64) -> None:
        super().__init__()
        kernels = (1, 3, 1) if depth in BOTTLENECK else (3, 3)
        growth = 4 if depth in BOTTLENECK else 1
        self.conv1 = nn.Conv1d(leads, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        channels = width
        for stage, units in enumerate(STAGES[depth]):
            out = width * 2**stage
            blocks = []
            for unit in range(units):
                stride = 2 if stage > 0 and unit == 0 else 1
                blocks.append(ResidualUnit(channels, out, stride, kernels))
                channels = out * growth
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.width = channels

    def features(self, signal: Tensor) -> Tensor:
        """(B, leads, T) -> (B, width, T / 16): the map of the last stage."""
        values: Tensor = torch.relu(self.bn1(self.conv1(signal)))
        for stage in range(1, 5):
            values = getattr(self, f"layer{stage}")(values)
        return values

    def pool(self, features: Tensor) -> Tensor:
        """(B, width, T') -> (B, width): the mean over time, the input of the authors' probe."""
        return features.mean(2)


class AttentionPool(nn.Module):
    """One query token attends over itself and all steps of a map, as in CLIP's ResNets.

    The reading of `utils/utils_builder.py`: learned positions for the token and `steps` steps, four
    heads, and a linear layer after the attention's own output projection. The token's position is
    added twice there (to the token, then to all rows), and so it was trained.
    """

    def __init__(self, steps: int, width: int, heads: int = 4) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, steps + 1, width) / width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.mhsa = nn.MultiheadAttention(width, heads, batch_first=True)
        self.c_proj = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, steps) -> (B, width)."""
        token = (self.cls_token + self.positional_embedding[:, :1]).expand(len(features), -1, -1)
        tokens = torch.cat([token, features.transpose(1, 2)], 1) + self.positional_embedding
        attention = self.mhsa
        size = attention.embed_dim
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        query = nn.functional.linear(tokens[:, :1], weight[:size], bias[:size])
        pairs = nn.functional.linear(tokens, weight[size:], bias[size:])
        heads = [
            part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for part in (query, *pairs.chunk(2, -1))
        ]
        mixed = nn.functional.scaled_dot_product_attention(*heads)
        pooled: Tensor = self.c_proj(attention.out_proj(mixed.transpose(1, 2).flatten(2)))
        return pooled[:, 0]
