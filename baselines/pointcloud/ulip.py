"""ULIP: point clouds, images and texts in one space; its point encoder and text tower, frozen.

Xue et al., ULIP: Learning a unified representation of language, images, and point clouds for 3D
understanding, CVPR 2023, https://arxiv.org/abs/2212.05171; layout of the checkpoints as in the
authors' salesforce/ULIP (models/ULIP_models.py, ULIP_PointBERT). The text tower is SLIP's, which is
CLIP's in size and tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from baselines.pointcloud.point_bert import PointBERT
from baselines.pointcloud.ulip_templates import TEMPLATES
from baselines.pointcloud.ulip_text import TextTransformer, tokenise
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

IMAGE_TOWER = r"^visual\.|^image_projection$"
PLACES = 128  # patches that segmentation is given
VOCABULARY = {"clip": 49_408, "bytes": 258}


class ULIP(nn.Module):
    """Points (B, N, 3) and texts -> embeddings of width `embed_dim` in one space, not normalised.

    `patches` are the point encoder's tokens at the first 128 of its centres: farthest points come
    in such an order that any first of them cover the shape, and all 512 would take 13 GB to store
    for ShapeNetPart. `prompt_templates` are the sentences that the authors put class names into for
    zero-shot classification.

    Args:
        num_group, group_size, encoder_dims, trans_dim, depth, num_heads: of the point encoder, see
            `PointBERT`.
        text_width, text_layers, text_heads: of the text tower.
        context_length: tokens per text.
        embed_dim: width of the shared space.
        tokenizer: `clip`, or `bytes` for tests of the architecture without a language.
    """

    modality: ClassVar[str] = "pointcloud"
    input: ClassVar[dict[str, Any]] = {"points": 8192, "normalise": "unit-sphere"}
    prompt_templates: ClassVar[tuple[str, ...]] = TEMPLATES

    def __init__(
        self,
        num_group: int = 512,
        group_size: int = 32,
        encoder_dims: int = 256,
        trans_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        text_width: int = 512,
        text_layers: int = 12,
        text_heads: int = 8,
        context_length: int = 77,
        embed_dim: int = 512,
        tokenizer: Literal["clip", "bytes"] = "clip",
    ) -> None:
        super().__init__()
        if tokenizer not in VOCABULARY:
            raise EncoderError(f"ULIP's tokenizer {tokenizer!r} is not one of: clip, bytes")
        self.tokenizer, self.context_length = tokenizer, context_length
        self.point_encoder = PointBERT(
            num_group, group_size, encoder_dims, trans_dim, depth, num_heads
        )
        self.pc_projection = nn.Parameter(torch.empty(2 * trans_dim, embed_dim))
        self.transformer = TextTransformer(text_width, text_layers, text_heads)
        self.token_embedding = nn.Embedding(VOCABULARY[tokenizer], text_width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, text_width))
        self.ln_final = nn.LayerNorm(text_width)
        self.text_projection = nn.Parameter(torch.empty(text_width, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        nn.init.normal_(self.pc_projection, std=embed_dim**-0.5)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=text_width**-0.5)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return (self.point_encoder(points) @ self.pc_projection).float()

    def patches(self, points: torch.Tensor) -> dict[str, torch.Tensor]:
        """Tokens of Point-BERT (B, G, trans_dim) and their centres (B, G, 3), G at most 128."""
        hidden, centres = self.point_encoder.placed_tokens(points)
        kept = centres[:, :PLACES]
        return {"values": hidden[:, 1 : 1 + kept.shape[1]].float(), "centres": kept}

    def encode_text(self, texts: Sequence[str]) -> torch.Tensor:
        """N texts -> (N, embed_dim), read at the end token."""
        ids = tokenise(texts, self.context_length, self.tokenizer).to(self.text_projection.device)
        tokens = self.token_embedding(ids) + self.positional_embedding
        hidden = self.ln_final(self.transformer(tokens))
        ends = hidden[torch.arange(len(ids), device=ids.device), ids.argmax(1)]
        return (ends @ self.text_projection).float()

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load a published checkpoint (`module.*`); the image tower is left out."""
        inside, prefixes = ("state_dict",), ("module.",)
        fit(self, tensors_of(entries, inside=inside, prefixes=prefixes, drop=IMAGE_TOWER))
