"""ATST: Audio Teacher-Student Transformer, for clips (Li & Li 2022) and frames (Li et al. 2024).

Papers https://arxiv.org/abs/2204.12076 and https://arxiv.org/abs/2306.04186, code and checkpoints
github.com/Audio-WestlakeU/audiossl.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.audio.atst_frontend import HOP, MELS, RATE, MinMaxMel
from baselines.audio.atst_transformer import AtstTransformer
from baselines.audio.spectrogram_transformer import masked_mean
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

# The mask token, and the heads that BYOL (or DINO) trains on.
PRETRAINING_ONLY = r"^mask_embed$|^(projector|predictor|head)\."


class Atst(nn.Module):
    """What ATST-Clip and ATST-Frame share: input, chunks and checkpoints.

    A clip longer than `chunk` spectrogram frames is embedded chunk by chunk; a chunk after the
    first counts where more than half of it remains. `blocks`: how many of the last blocks give the
    clip embedding (all, as in the authors' linear evaluation), `frame_blocks`: the frames.
    """

    modality = "audio"
    seconds: float
    with_class: bool

    def __init__(
        self,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        patch_h: int = 64,
        patch_w: int = 4,
        spec_w: int = 1001,
        chunk: int | None = None,
        blocks: int | None = None,
        frame_blocks: int | None = None,
        spec_h: int = MELS,
    ) -> None:
        super().__init__()
        self.depth = depth
        self.blocks = depth if blocks is None else blocks
        self.frame_blocks = self.blocks if frame_blocks is None else frame_blocks
        if not (0 < self.blocks <= depth and 0 < self.frame_blocks <= depth):
            raise EncoderError(f"ATST has {depth} blocks: blocks and frame_blocks are 1 to {depth}")
        self.chunk = spec_w if chunk is None else chunk
        if not patch_w <= self.chunk < spec_w // patch_w * patch_w + patch_w:
            raise EncoderError(
                f"ATST: a chunk of {self.chunk} frames has no place in positions for {spec_w}: "
                f"chunk is {patch_w} to {spec_w}"
            )
        self.input = {"sample_rate": RATE, "seconds": self.seconds}
        self.frame_rate = RATE / (HOP * patch_w)
        self.front_end = MinMaxMel(spec_h, shortest=(patch_w - 1) * HOP)
        self.transformer = AtstTransformer(
            embed_dim, depth, num_heads, patch_h, patch_w, spec_h, spec_w, self.with_class
        )

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) waveforms at 16 kHz, (B,) to (B, D)."""
        return self.embed_mel(*self.front_end(waveform, lengths))

    def layers(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """What forward joins, block by block: (L, B, D)."""
        mel, counts = self.front_end(waveform, lengths)
        return self.block_features(mel, counts, self.depth).flatten(2)

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D), T' = T * frame_rate, rounded up.

        After the last whole patch inside the clip, its token stands.
        """
        mel, counts = self.front_end(waveform, lengths)
        tokens = self.mel_frames(mel, counts)
        whole, rest = counts // self.chunk, counts % self.chunk
        width = self.transformer.patch_embed.shape[1]
        inside = whole * (self.chunk // width) + rest // width
        steps = -(-waveform.shape[1] // (width * HOP))
        index = torch.arange(steps, device=tokens.device).expand(len(tokens), -1)
        index = torch.minimum(index, inside[:, None] - 1)
        return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))

    def embed_mel(self, mel: Tensor, length: Tensor) -> Tensor:
        """Clip embedding (B, D) of spectrograms (B, 1, H, T) with (B,) valid frames."""
        features = self.block_features(mel, length, self.blocks)
        return features.permute(1, 2, 0, 3).flatten(1)

    def mel_frames(self, mel: Tensor, length: Tensor) -> Tensor:
        """Normed tokens of the last `frame_blocks` blocks, joined: (B, T // patch_w, D).

        Patches of several rows (patch_h below the number of bands) are averaged over them.
        """
        parts = []
        for piece, left, _ in self._chunks(mel, length):
            patches = self.transformer.patches_in(left.clamp(max=self.chunk))
            states = list(self.transformer(piece, patches, self.frame_blocks))
            tokens = torch.cat(states, -1)[:, 1 if self.with_class else 0 :]
            parts.append(tokens.unflatten(1, (-1, self.transformer.rows)).mean(2))
        return torch.cat(parts, 1)

    def block_features(self, mel: Tensor, length: Tensor, last: int) -> Tensor:
        """Features of each of the `last` blocks, averaged over chunks: (last, B, parts, D)."""
        total: Tensor | float = 0.0
        weight = torch.zeros_like(length, dtype=torch.float)
        for index, (piece, left, later) in enumerate(self._chunks(mel, length)):
            if index and piece.shape[-1] <= later:
                break  # too short to count for any clip
            counts = (left > later).float()
            total = total + counts[:, None, None] * self._features(piece, left, last)
            weight = weight + counts
        return total / weight.clamp(min=1)[:, None, None]

    def _features(self, piece: Tensor, left: Tensor, last: int) -> Tensor:
        """Features of one chunk (last, B, parts, D); `left` (B,) frames remain from its start."""
        raise NotImplementedError

    def _chunks(self, mel: Tensor, length: Tensor) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Every chunk, the frames that remain from its start on, how many more than it counts."""
        for start in range(0, mel.shape[-1], self.chunk):
            piece = mel[..., start : start + self.chunk]
            left = (length - start).clamp(min=0)
            yield piece, left, self.chunk // 2 if start else 0

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The teacher of a checkpoint: Lightning's `model.teacher.encoder.*`, an entry `teacher`
        with `module.` / `backbone.` prefixes, or the encoder's keys alone."""
        teacher = tensors_of(
            entries, inside=("teacher",), prefixes=("model.", "module."), only="teacher."
        )
        prefixes = ("module.", "backbone.", "encoder.")
        fit(self.transformer, tensors_of(teacher, prefixes=prefixes, drop=PRETRAINING_ONLY))


class AtstClip(Atst):
    """ATST-Clip: class tokens of the blocks, then their means over patches, over 6 s chunks.

    `layers` gives both per block, joined; `frames` the patch tokens of the last `frame_blocks`.
    """

    seconds = 12.0  # what the authors' linear evaluation takes of a clip
    with_class = True

    def __init__(self, *, chunk: int = 601, **sizes: Any) -> None:
        super().__init__(chunk=chunk, **sizes)

    def _features(self, piece: Tensor, left: Tensor, last: int) -> Tensor:
        # The authors divide by the patches that remain in the clip, not in the chunk.
        patches = self.transformer.patches_in(left)
        features = []
        for tokens in self.transformer(piece, patches, last):
            place = torch.arange(tokens.shape[1] - 1, device=tokens.device)
            mean = masked_mean(tokens[:, 1:], place < patches[:, None], patches)
            features.append(torch.stack([tokens[:, 0], mean], 1))
        return torch.stack(features)


class AtstFrame(Atst):
    """ATST-Frame: patch tokens at 25 Hz; a clip is their mean, block by block, joined."""

    seconds = 10.0  # all that the position embedding reaches
    with_class = False

    def _features(self, piece: Tensor, left: Tensor, last: int) -> Tensor:
        patches = self.transformer.patches_in(left.clamp(max=self.chunk))
        features = []
        for tokens in self.transformer(piece, patches, last):
            place = torch.arange(tokens.shape[1], device=tokens.device)
            features.append(masked_mean(tokens, place < patches[:, None], patches)[:, None])
        return torch.stack(features)
