"""The text tower of CONCH and its vocabulary."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from benchmark.errors import EncoderError
from benchmark.paths import cache_root, explained, file_sha256, replacing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, START, END, SPECIAL = 0, 1, 2, 7  # ids; the first seven are no text
COMMIT = "141cc09c7d4ff33d8eda562bd75169b457f71a62"
VOCABULARY = "conch_byte_level_bpe_uncased.json"
VOCABULARY_URL = (
    f"https://raw.githubusercontent.com/mahmoodlab/CONCH/{COMMIT}/conch/open_clip_custom/"
    f"tokenizers/{VOCABULARY}"
)
VOCABULARY_SHA256 = "a3861e67c64d32670eb6725a8e52d7dbdd2a06646a4a3c7463052ae7110760fb"


class TextTower(nn.Module):
    """Causal transformer whose text embedding is read at an appended class token.

    Source: `TextTransformer` of `conch/open_clip_custom/transformer.py` in
    github.com/mahmoodlab/CONCH, after CoCa (Yu et al. 2022, https://arxiv.org/abs/2205.01917). Key
    names are the published ones.
    """

    def __init__(
        self, vocabulary: int, context: int, width: int, depth: int, heads: int, dimension: int
    ) -> None:
        super().__init__()
        self.context = context  # tokens, the class token included
        self.cls_emb = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(context, width))
        self.text_projection = nn.Parameter(torch.empty(width, dimension))
        self.token_embedding = nn.Embedding(vocabulary, width)
        blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(depth))
        self.transformer = nn.ModuleDict({"resblocks": blocks})
        self.ln_final = nn.LayerNorm(width)
        for parameter in (self.cls_emb, self.positional_embedding):
            nn.init.normal_(parameter, std=0.01)
        nn.init.normal_(self.text_projection, std=width**-0.5)
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, context - 1) ids padded with 0 -> (N, dimension)."""
        words = self.token_embedding(tokens)
        states = torch.cat([words, self.cls_emb.expand(len(tokens), 1, -1)], 1)
        states = states + self.positional_embedding
        visible = self._visible(tokens)
        blocks: Any = self.transformer["resblocks"]
        for block in blocks:
            states = block(states, visible)
        embedding: Tensor = self.ln_final(states[:, -1]) @ self.text_projection
        return embedding

    def _visible(self, tokens: Tensor) -> Tensor:
        """(N, 1, context, context), true where a query (row) sees a key.

        The published weights were trained with a mask for the class token that stands one place too
        far right: it sees the first token, and token j + 1 where token j is no padding. So it sees
        one padding token, and itself only after a text of full length.
        """
        size = self.context
        causal = torch.ones(size, size, dtype=torch.bool, device=tokens.device).tril()
        visible = causal.repeat(len(tokens), 1, 1, 1)
        visible[:, 0, -1, 1:] = tokens != PAD
        return visible


class TextBlock(nn.Module):
    """Pre-norm block with the parameter names of `torch.nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": nn.GELU()}
        self.mlp = nn.ModuleDict({**layers, "c_proj": nn.Linear(4 * width, width)})

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """(N, T, width), mask (N, 1, T, T) -> (N, T, width)."""
        states = states + self.attn(self.ln_1(states), visible)
        hidden = self.mlp["gelu"](self.mlp["c_fc"](self.ln_2(states)))
        mixed: Tensor = states + self.mlp["c_proj"](hidden)
        return mixed


class SelfAttention(nn.Module):
    """Masked self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.in_proj_weight, std=width**-0.5)

    def forward(self, states: Tensor, visible: Tensor) -> Tensor:
        """(N, T, width), mask (N, 1, T, T) -> (N, T, width)."""
        joint = nn.functional.linear(states, self.in_proj_weight, self.in_proj_bias)
        query, key, value = joint.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=visible)
        output: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return output


def byte_tokens(texts: list[str], length: int) -> Tensor:
    """A trivial tokenizer for tests of the architecture: one id per byte, (N, length)."""
    rows = torch.full((len(texts), length), PAD)
    for row, text in zip(rows, texts, strict=True):
        ids = [SPECIAL + byte for byte in text.lower().encode()][: length - 2]
        row[: len(ids) + 2] = torch.tensor([START, *ids, END])
    return rows


def read_vocabulary(path: Path) -> Tokenizer:
    """A vocabulary file in the format of the package tokenizers."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def vocabulary_tokens(texts: list[str], length: int, words: Tokenizer) -> Tensor:
    """Ids by a vocabulary, (N, length).

    Its own template adds the start and the end token; longer texts are cut before the end.
    """
    words.enable_truncation(length)
    words.enable_padding(length=length, pad_id=PAD, pad_token="<pad>")
    return torch.tensor([encoding.ids for encoding in words.encode_batch(texts)])


def published_vocabulary() -> Path:
    """The authors' vocabulary file, downloaded once from their repository and checked.

    Raises:
        EncoderError: it is not here and cannot be downloaded, or is another file.
    """
    path = cache_root() / "published" / "conch" / VOCABULARY
    if not path.is_file():
        content = _download()
        if hashlib.sha256(content).hexdigest() != VOCABULARY_SHA256:
            raise EncoderError(f"{VOCABULARY_URL} is not the published file: download it by hand")
        with explained(path.parent), replacing(path) as scratch:
            scratch.write_bytes(content)
    elif file_sha256(path) != VOCABULARY_SHA256:
        raise EncoderError(f"{path} is damaged or another file: delete it and run again")
    return path


def _download() -> bytes:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    try:
        if HF_HUB_OFFLINE:  # meant for every download of weights and what belongs to them
            raise OSError("HF_HUB_OFFLINE is set")
        with urlopen(VOCABULARY_URL, timeout=30) as response:
            content: bytes = response.read()
            return content
    except OSError as error:
        path = cache_root() / "published" / "conch" / VOCABULARY
        raise EncoderError(
            f"conch needs its vocabulary for texts, which is not here and cannot be downloaded "
            f"({error}): save {VOCABULARY_URL} as {path}"
        ) from None
