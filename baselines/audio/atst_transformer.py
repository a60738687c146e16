"""The transformer of ATST over patches of all mel bands and 40 ms."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from baselines.audio.spectrogram_transformer import EPS, Block, initialise
from benchmark.errors import EncoderError


class PatchEmbedding(nn.Module):
    """Rectangles of a spectrogram, flattened and projected."""

    def __init__(self, embed_dim: int, patch_h: int, patch_w: int) -> None:
        super().__init__()
        self.shape = (patch_h, patch_w)
        self.patch_embed = nn.Linear(patch_h * patch_w, embed_dim)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 1, H, T) to (B, N, D), frequency running fastest; what fills no patch is left out."""
        patch_h, patch_w = self.shape
        rows, columns = mel.shape[2] // patch_h, mel.shape[3] // patch_w
        cut = mel[:, 0, : rows * patch_h, : columns * patch_w]
        cut = cut.reshape(len(mel), rows, patch_h, columns, patch_w).permute(0, 3, 1, 2, 4)
        projected: Tensor = self.patch_embed(cut.flatten(3).flatten(1, 2))
        return projected


class AtstTransformer(nn.Module):
    """Patches, learned positions and blocks; with a class token (ATST-Clip) or without (-Frame).

    Parameter names are those of the authors' audiossl/models/atst/audio_transformer.py and
    audiossl/methods/atstframe/audio_transformer.py. Positions count from the start of what is
    given ("cut"), at most `spec_w` frames.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        patch_h: int,
        patch_w: int,
        spec_h: int,
        spec_w: int,
        with_class: bool,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise EncoderError(f"ATST: embed_dim {embed_dim} is no multiple of {num_heads} heads")
        self.rows = spec_h // patch_h
        if not self.rows or spec_w < patch_w:
            raise EncoderError(
                f"ATST: a patch of {patch_h} x {patch_w} does not fit into {spec_h} bands x "
                f"{spec_w} frames: make the patch smaller"
            )
        self.with_class = with_class
        self.patch_embed = PatchEmbedding(embed_dim, patch_h, patch_w)
        # ATST-Frame keeps the place of the class token, without using it
        positions = self.rows * (spec_w // patch_w) + 1
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, embed_dim))
        if with_class:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, False) for _ in range(depth))
        norm = nn.LayerNorm(embed_dim, eps=EPS)
        if with_class:
            self.norm = norm
        else:
            self.norm_frame = norm
        initialise(self)

    def patches_in(self, frames: Tensor) -> Tensor:
        """Whole patches in so many spectrogram frames."""
        return self.rows * (frames // self.patch_embed.shape[1])

    def forward(self, mel: Tensor, patches: Tensor, last: int) -> Iterator[Tensor]:
        """Normed tokens (B, [1 +] N, D) after each of the `last` blocks, the class token first.

        mel: (B, 1, H, T); patches (B,): how many of them are valid, the rest are not attended to.
        """
        tokens = self.patch_embed(mel).float()
        begin = 1
        if self.with_class:
            tokens = torch.cat([self.cls_token.expand(len(mel), -1, -1), tokens], 1)
            patches, begin = patches + 1, 0
        tokens = tokens + self.pos_embed[:, begin : begin + tokens.shape[1]]
        # without a valid patch all keys stay, as under the authors' mask of -1e4 for each of them
        place = torch.arange(tokens.shape[1], device=tokens.device)
        keys = (place < patches[:, None]) | (patches == 0)[:, None]
        norm = self.norm if self.with_class else self.norm_frame
        for index, block in enumerate(self.blocks):
            tokens = block(tokens, keys)
            if index >= len(self.blocks) - last:
                yield norm(tokens).float()
