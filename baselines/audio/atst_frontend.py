"""ATST's input: log-mel spectrograms scaled to [-1, 1] by the extremes of the pretraining data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 16_000
HOP = 160  # 10 ms
WINDOW = 1024  # 64 ms
MELS = 64
LOWEST, HIGHEST = 60.0, 7800.0  # Hz
AMIN = 1e-10
TOP_DB = 80.0  # dynamic range of a clip
EXTREMES = (-79.6482, 50.6842)  # dB


class MinMaxMel(nn.Module):
    """(B, T) waveforms at 16 kHz to (B, 1, 64, K) log-mel spectrograms, 100 frames per second.

    Equals torchaudio's `MelSpectrogram` (centred, reflected at both ends) and
    `AmplitudeToDB("power", top_db=80)` on every clip alone, then (x - min) / (max - min) * 2 - 1,
    as in the authors' FreezingTransform (audiossl/methods/atst/downstream/transform.py of
    github.com/Audio-WestlakeU/audiossl), for a whole batch at once: a clip is reflected at its own
    end, and its dynamic range counts its own frames only. A clip shorter than `shortest` samples
    counts as followed by silence up to there; frames beyond a clip are zero.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, mels: int = MELS, shortest: int = 3 * HOP) -> None:
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        with torch.device("cpu"):  # torchaudio looks at the values, which a meta tensor has not
            bank = melscale_fbanks(WINDOW // 2 + 1, LOWEST, HIGHEST, mels, RATE)
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.shortest = shortest

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T), (B,) valid samples to (B, 1, mels, K) and the valid frames (B,)."""
        with torch.autocast(waveform.device.type, enabled=False):
            return self._decibels(waveform.float(), lengths)

    def _decibels(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        valid = torch.arange(waveform.shape[1], device=waveform.device) < lengths[:, None]
        sounding = nn.functional.pad(
            waveform * valid, (0, max(0, self.shortest - waveform.shape[1]))
        )
        lengths = lengths.clamp(min=self.shortest)
        reflected = sounding.gather(1, reflection(lengths, sounding.shape[1], WINDOW // 2))
        spectrum = torch.stft(
            reflected, WINDOW, HOP, window=self.window, center=False, return_complex=True
        )
        power = self.bank.T @ spectrum.abs().square()
        levels = 10 * power.clamp(min=AMIN).log10()
        counts = lengths // HOP + 1
        inside = torch.arange(levels.shape[-1], device=levels.device) < counts[:, None]
        inside = inside[:, None]
        loudest = levels.masked_fill(~inside, -torch.inf).amax((1, 2), keepdim=True)
        levels = torch.maximum(levels, loudest - TOP_DB)
        low, high = EXTREMES
        scaled = (levels - low) / (high - low) * 2 - 1
        return torch.where(inside, scaled, 0.0)[:, None], counts


def reflection(lengths: Tensor, samples: int, margin: int) -> Tensor:
    """Which sample stands where: (B, samples + 2 * margin), the first at position -margin.

    Inside a clip its own, outside those mirrored at its first and last sample, without repeating
    these, over and over where the clip is shorter than the margin.
    """
    position = torch.arange(-margin, samples + margin, device=lengths.device)
    last = (lengths - 1)[:, None]
    there_and_back = position.remainder(2 * last)
    return last - (there_and_back - last).abs()
