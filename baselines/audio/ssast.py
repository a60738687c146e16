"""SSAST: Self-Supervised Audio Spectrogram Transformer (Gong et al. 2022).

Paper https://arxiv.org/abs/2110.09784, code and checkpoints github.com/YuanGongND/ssast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.audio.spectrogram_transformer import EPS, Block, initialise
from baselines.audio.ssast_frontend import HOP, RATE, STATISTICS, WINDOW, KaldiFbank, frame_count
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

TOKENS = 2  # class and distillation token
# Pretraining heads, its mask token and input size, and the unused ImageNet heads of DeiT.
PRETRAINING_ONLY = r"^(cpredlayer|gpredlayer|v\.head|v\.head_dist)\.|^(mask_embed|p_input_[ft]dim)$"


class DistilledTransformer(nn.Module):
    """DeiT with class and distillation token, named as in timm 0.4.5, one input channel.

    The position embedding is kept as pretrained, on the grid of patches that do not overlap.
    """

    def __init__(
        self,
        embed_dim: int,
        depth: int,
        num_heads: int,
        shape: tuple[int, int],
        stride: tuple[int, int],
        positions: int,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, TOKENS + positions, embed_dim))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, embed_dim, shape, stride)})
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads, True) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=EPS)


class Ssast(nn.Module):
    """SSAST as used after pretraining: overlapping patches, mean over the patch tokens.

    Patches of `fshape` x `tshape` (bands x frames) are taken every `fstride` x `tstride`. The
    filter banks are cut or padded to `input_tdim` frames, so a longer clip comes in windows.
    normalisation: the dataset whose mean and deviation standardise the input ("audioset", as in
    pretraining, "esc50", "speechcommands"), or such a pair.
    """

    modality = "audio"

    def __init__(
        self,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        fshape: int = 16,
        tshape: int = 16,
        fstride: int = 10,
        tstride: int = 10,
        pretrain_tdim: int = 1024,
        input_tdim: int = 1024,
        num_mel: int = 128,
        normalisation: str | tuple[float, float] = "audioset",
    ) -> None:
        super().__init__()
        if isinstance(normalisation, str) and normalisation not in STATISTICS:
            raise EncoderError(
                f"SSAST has no statistics of {normalisation!r}: normalisation is one of "
                f"{', '.join(STATISTICS)}, or a pair (mean, deviation)"
            )
        if embed_dim % num_heads:
            raise EncoderError(f"SSAST: embed_dim {embed_dim} is no multiple of {num_heads} heads")
        if fshape > num_mel or tshape > min(input_tdim, pretrain_tdim):
            raise EncoderError(
                f"SSAST: a patch of {fshape} x {tshape} does not fit into {num_mel} bands x "
                f"{min(input_tdim, pretrain_tdim)} frames: make the input larger"
            )
        self.mean, self.deviation = (
            STATISTICS[normalisation] if isinstance(normalisation, str) else normalisation
        )
        self.shape, self.stride = (fshape, tshape), (fstride, tstride)
        self.pretrained_grid = (num_mel // fshape, pretrain_tdim // tshape)
        self.frames_in = input_tdim
        seconds = ((input_tdim - 1) * HOP + WINDOW) / RATE
        self.input = {"sample_rate": RATE, "seconds": seconds}
        self.fbank = KaldiFbank(num_mel)
        positions = self.pretrained_grid[0] * self.pretrained_grid[1]
        self.v = DistilledTransformer(
            embed_dim, depth, num_heads, self.shape, self.stride, positions
        )
        initialise(self)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) waveforms at 16 kHz, (B,) to (B, D)."""
        return self.embed_fbank(self.spectrogram(waveform, lengths))

    def layers(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Mean over the patch tokens after every block, all by the final norm: (L, B, D)."""
        states = self._states(self.spectrogram(waveform, lengths))
        return torch.stack([self.v.norm(s)[:, TOKENS:].mean(1, dtype=torch.float) for s in states])

    def spectrogram(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Standardised filter banks (B, input_tdim, num_mel); padding is standardised too."""
        banks = self.fbank(waveform, lengths, self.frames_in)
        return (banks - self.mean) / (2 * self.deviation)

    def embed_fbank(self, fbank: Tensor) -> Tensor:
        """Mean over the patch tokens of standardised filter banks (B, frames, num_mel): (B, D)."""
        return self.patch_tokens(fbank).mean(1)

    def patch_tokens(self, fbank: Tensor) -> Tensor:
        """Normed patch tokens (B, N, D), frequency-major, of (B, frames, num_mel)."""
        for state in self._states(fbank):
            last = state
        tokens: Tensor = self.v.norm(last)[:, TOKENS:].float()
        return tokens

    def _states(self, fbank: Tensor) -> Iterator[Tensor]:
        """All tokens (B, 2 + N, D) after every block."""
        patches = self.v.patch_embed["proj"](fbank.transpose(1, 2)[:, None])
        grid = (patches.shape[2], patches.shape[3])
        own = [token.expand(len(fbank), -1, -1) for token in (self.v.cls_token, self.v.dist_token)]
        tokens = torch.cat([*own, patches.flatten(2).transpose(1, 2).float()], 1)
        tokens = tokens + adapt_positions(self.v.pos_embed, self.pretrained_grid, grid)
        for block in self.v.blocks:
            tokens = block(tokens)
            yield tokens

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """A pretraining checkpoint, saved from `DataParallel` (`module.v...`) or plain."""
        tensors = tensors_of(entries, prefixes=("module.",), drop=PRETRAINING_ONLY)
        fit(self, tensors)


class SsastFrame(Ssast):
    """SSAST pretrained on whole frames: patches of all bands x 2 frames, moved frame by frame."""

    def __init__(
        self,
        *,
        fshape: int = 128,
        tshape: int = 2,
        fstride: int = 128,
        tstride: int = 1,
        **sizes: Any,
    ) -> None:
        super().__init__(fshape=fshape, tshape=tshape, fstride=fstride, tstride=tstride, **sizes)
        if self.pretrained_grid[0] != 1:
            raise EncoderError(
                "SSAST on frames: a patch spans all bands, so that there is one per step; use the "
                "patch model for others"
            )
        self.frame_rate = RATE / (HOP * tstride)

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D), T' = T * frame_rate, rounded up.

        Token k is centred later than time step k by (window + (tshape - 1 - tstride) hops) / 2;
        whole steps of that are made good. Before the first and after the last token inside the
        clip, that token stands.
        """
        (_, span), (_, step) = self.shape, self.stride
        if waveform.shape[1] >= (self.frames_in + step) * HOP + WINDOW:
            raise EncoderError(
                f"SSAST sees {self.input['seconds']} s at a time: leave the input option seconds "
                "as it is, or set input_tdim"
            )
        tokens = self.patch_tokens(self.spectrogram(waveform, lengths))
        late = round((WINDOW + (span - 1 - step) * HOP) / (2 * step * HOP))
        inside = (frame_count(lengths).clamp(max=self.frames_in) - span).clamp(min=0) // step
        steps = -(-waveform.shape[1] // (step * HOP))
        index = torch.arange(steps, device=tokens.device) - late
        index = torch.minimum(index.clamp(min=0)[None], inside[:, None])
        return tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[-1]))


def adapt_positions(
    embedding: Tensor, pretrained: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """The position embedding (1, 2 + N, D) of another grid of patches (bands, time).

    The rule of the authors' src/models/ast_models.py: along time a shorter grid takes the centre
    and a longer one (or the same) is interpolated, then to 8 rows whatever the model has; along
    frequency likewise, to the rows needed.
    """
    own, table = embedding[:, :TOKENS], embedding[:, TOKENS:]
    table = table.transpose(1, 2).unflatten(2, pretrained)
    (rows, columns), (wide_rows, wide_columns) = grid, pretrained
    if columns < wide_columns:
        start = wide_columns // 2 - columns // 2
        table = table[..., start : start + columns]
    else:
        table = nn.functional.interpolate(table, (8, columns), mode="bilinear")
    if rows < wide_rows:
        start = wide_rows // 2 - rows // 2
        table = table[:, :, start : start + rows]
    else:
        table = nn.functional.interpolate(table, (rows, columns), mode="bilinear")
    return torch.cat([own, table.flatten(2).transpose(1, 2)], 1)
