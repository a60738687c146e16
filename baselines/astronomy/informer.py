"""The Informer encoder of AstroM3: sparse attention over a light curve of fixed length.

ProbSparse self-attention (Zhou et al. 2021, AAAI, https://arxiv.org/abs/2012.07436, section 3.2)
as AstroM3 uses it (https://github.com/MeriDK/AstroM3, `src/informer.py`), which departs from the
paper in three ways that its weights were trained with:

- the context (B, heads, L, d) is read as (B, L, heads * d) as it lies in memory, so that a row of
  the output holds neighbouring steps of one head instead of one step of all heads;
- the sparsity measure divides the sum over the sampled keys by the number of all keys;
- padded steps are attended to like any other and only set to zero at the end.

Module names are those of the published weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LONGEST = 5000  # rows of the position table in the published weights


class PositionTable(nn.Module):
    """Sinusoids of the step number (Vaswani et al. 2017, section 3.5), kept with the weights."""

    pe: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        step = torch.arange(LONGEST, dtype=torch.float32)[:, None]
        rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1e4) / width))
        table = torch.stack([torch.sin(step * rate), torch.cos(step * rate)], -1).flatten(1)
        self.register_buffer("pe", table[None, :, :width])

    def forward(self, steps: int) -> Tensor:
        """(1, steps, width)."""
        return self.pe[:, :steps]


class SparseAttention(nn.Module):
    """ProbSparse self-attention: the queries that differ most from uniform attention attend, all
    others receive the mean of the values."""

    def __init__(self, width: int, heads: int, factor: int) -> None:
        super().__init__()
        self.heads = heads
        self.factor = factor
        self.query_projection = nn.Linear(width, width)
        self.key_projection = nn.Linear(width, width)
        self.value_projection = nn.Linear(width, width)
        self.out_projection = nn.Linear(width, width)

    def forward(self, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(B, L, width) -> (B, L, width); the sampled keys come from the (CPU) generator.

        One sample serves all examples and heads, so an example's result does not depend on its
        batch.
        """
        batch, length, width = hidden.shape
        query, key, value = (
            projection(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query_projection, self.key_projection, self.value_projection)
        )
        chosen = min(self.factor * math.ceil(math.log(length)), length)
        sample = torch.randint(length, (length, chosen), generator=generator).to(hidden.device)
        score = torch.einsum("bhle,bhlke->bhlk", query, key[:, :, sample])
        sparsity = score.amax(-1) - score.sum(-1) / length
        top = (
            sparsity.topk(chosen, sorted=False).indices[..., None].expand(-1, -1, -1, key.shape[3])
        )
        attended = F.scaled_dot_product_attention(query.gather(2, top), key, value)
        context = value.mean(2, keepdim=True).expand_as(value).scatter(2, top, attended)
        result: Tensor = self.out_projection(context.reshape(batch, length, width))
        return result


class InformerLayer(nn.Module):
    """Sparse attention and a position-wise feed-forward network, each followed by its norm."""

    def __init__(self, width: int, heads: int, hidden: int, factor: int, activation: str) -> None:
        super().__init__()
        self.attention = SparseAttention(width, heads, factor)
        self.conv1 = nn.Conv1d(width, hidden, 1)
        self.conv2 = nn.Conv1d(hidden, width, 1)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.activation = F.relu if activation == "relu" else F.gelu

    def forward(self, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        hidden = self.norm1(hidden + self.attention(hidden, generator))
        wide = self.activation(self.conv1(hidden.transpose(1, 2)))
        result: Tensor = self.norm2(hidden + self.conv2(wide).transpose(1, 2))
        return result


class InformerStack(nn.Module):
    """Layers one after the other, then a norm."""

    def __init__(self, layers: Sequence[InformerLayer], width: int) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, generator: torch.Generator) -> Tensor:
        """(B, L, width) -> (B, L, width)."""
        for layer in self.attn_layers:
            hidden = layer(hidden, generator)
        result: Tensor = self.norm(hidden)
        return result


class Informer(nn.Module):
    """Embeds (B, L, channels) with a circular convolution and encodes it.

    Args:
        channels: columns of a step; width, heads, layers, hidden: of the transformer;
        factor: keys sampled and queries chosen per unit of ln L; activation: "gelu" or "relu".
    """

    def __init__(
        self,
        channels: int = 9,
        width: int = 128,
        heads: int = 4,
        layers: int = 8,
        hidden: int = 512,
        factor: int = 1,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        convolution = nn.Conv1d(channels, width, 3, padding=1, padding_mode="circular", bias=False)
        self.enc_embedding = nn.ModuleDict(
            {
                "value_embedding": nn.ModuleDict({"tokenConv": convolution}),
                "position_embedding": PositionTable(width),
            }
        )
        blocks = [InformerLayer(width, heads, hidden, factor, activation) for _ in range(layers)]
        self.encoder = InformerStack(blocks, width)

    def forward(self, steps: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """(B, L, channels), (B, L) with 1 where observed -> (B, L, width), zero where not.

        Runs in float32 throughout: which queries are chosen is a discontinuous function of the
        scores, so a rounding to 16 bit anywhere before would change whole rows of the context.
        """
        with torch.autocast(steps.device.type, enabled=False):
            convolution = self.enc_embedding["value_embedding"]["tokenConv"]  # type: ignore[index]
            hidden = convolution(steps.float().transpose(1, 2)).transpose(1, 2)
            hidden = hidden + self.enc_embedding["position_embedding"](steps.shape[1])
            result: Tensor = self.encoder(hidden, generator) * mask[..., None]
            return result
