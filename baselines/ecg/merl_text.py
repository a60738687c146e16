"""MERL's text tower: the MedCPT query encoder (Jin et al. 2023, https://arxiv.org/abs/2307.00589).

A BERT of base size; a text is lower-cased, cut to 256 tokens, and read off at the pooled token
(`utils/utils_builder.py` and `utils/zeroshot_val.py` of cheliu-computation/MERL-ICML2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from benchmark.catalog import HubFile
from benchmark.errors import EncoderError
from benchmark.hub import fetch

if TYPE_CHECKING:
    from tokenizers import Tokenizer as WordPieces
    from transformers import BertModel

MAX_TOKENS = 256
VOCABULARY = HubFile(
    repo="ncbi/MedCPT-Query-Encoder",
    file="tokenizer.json",
    revision="d83a36cc6b8e3a5c5e9d9d6ba156808c1643dcbc",
)
Tokens = tuple[Tensor, Tensor]


def medcpt(
    width: int = 768, depth: int = 12, heads: int = 12, vocabulary: int = 30522
) -> BertModel:
    """The untrained MedCPT query encoder, or a smaller one of its kind."""
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            attn_implementation="sdpa",  # type: ignore[call-arg]
        )
    )


class Tokenizer:
    """Texts to padded token numbers: the published vocabulary ("hub"), or bytes, for tests."""

    def __init__(self, kind: Literal["hub", "bytes"]) -> None:
        if kind not in ("hub", "bytes"):
            raise EncoderError(f"merl: tokenizer is {kind!r}; it is 'hub' or 'bytes'")
        self.kind = kind
        self._words: WordPieces | None = None

    def __call__(self, texts: list[str], device: torch.device) -> Tokens:
        """N texts -> token numbers and mask, (N, L) int64 each, L <= 256."""
        lowered = [text.lower() for text in texts]
        rows = self._bytes(lowered) if self.kind == "bytes" else self._word_pieces(lowered)
        longest = max(len(row) for row in rows)
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
        lengths = torch.tensor([len(row) for row in rows], device=device)
        return tokens, (torch.arange(longest, device=device) < lengths[:, None]).long()

    def _bytes(self, texts: list[str]) -> list[list[int]]:
        return [[1, *(b + 3 for b in t.encode()[: MAX_TOKENS - 2]), 2] for t in texts]

    def _word_pieces(self, texts: list[str]) -> list[list[int]]:
        if self._words is None:
            from tokenizers import Tokenizer as WordPieces

            words = WordPieces.from_file(str(fetch(VOCABULARY, "merl's text tower", weights=False)))
            words.no_padding()
            words.enable_truncation(MAX_TOKENS)
            self._words = words
        return [encoding.ids for encoding in self._words.encode_batch(texts)]


def text_projection(width: int, hidden: int, out: int) -> nn.Sequential:
    """The MLP from the pooled token to the joint space."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, out))
