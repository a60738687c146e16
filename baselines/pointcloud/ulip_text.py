"""CLIP's text transformer under the parameter names of OpenAI's and ULIP's checkpoints.

Radford et al., Learning transferable visual models from natural language supervision, ICML 2021,
section 2.4; parameter names as in openai/CLIP (clip/model.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention

from benchmark.errors import EncoderError


class TextAttention(nn.Module):
    """Causal multi-head self-attention with one matrix for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        joint = linear(tokens, self.in_proj_weight, self.in_proj_bias)
        split = joint.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        seen = scaled_dot_product_attention(query, key, value, is_causal=True)
        out: torch.Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), CLIP's approximation of GELU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


class TextBlock(nn.Module):
    """Pre-norm transformer block of CLIP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = TextAttention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.ln_1(tokens))
        out: torch.Tensor = tokens + self.mlp(self.ln_2(tokens))
        return out


class TextTransformer(nn.Module):
    """A stack of blocks: (N, L, width) -> (N, L, width)."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise EncoderError(f"a width of {width} does not divide into {heads} attention heads")
        self.resblocks = nn.Sequential(*(TextBlock(width, heads) for _ in range(depth)))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.resblocks(tokens)
        return out


def tokenise(
    texts: Sequence[str], length: int, tokenizer: Literal["clip", "bytes"] = "clip"
) -> torch.Tensor:
    """Token ids (N, length): start, text, end, zeros; the end has the largest id of a vocabulary.

    `clip` is CLIP's byte-pair encoding, whose vocabulary open_clip carries (49,408 tokens);
    `bytes` takes UTF-8 bytes as tokens (258 of them), for models without a language.
    A text that is too long is cut, its end kept.
    """
    if tokenizer == "clip":
        ids: torch.Tensor = _clip_tokenizer()(list(texts), context_length=length)
        return ids
    rows = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in zip(rows, texts, strict=True):
        encoded = [256, *text.encode()[: length - 2], 257]
        row[: len(encoded)] = torch.tensor(encoded)
    return rows


@cache
def _clip_tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
