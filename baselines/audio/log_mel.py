"""Log-mel spectrograms of padded batches whose values do not depend on the padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 16_000
HOP = 160  # 10 ms
WINDOW = 400  # 25 ms
FFT = 512
MELS = 40
FLOOR = 1e-10  # -100 dB
CENTRE, SCALE = (
    -40.0,
    20.0,
)  # dB; brings log-mel energies of usual recordings to zero mean, unit size


class LogMel(nn.Module):
    """(B, T) waveforms at 16 kHz to log-mel energies in dB, 100 frames per second.

    Periodic Hann window of 25 ms every 10 ms, 512-point power spectrum, 40 Slaney bands from 20 to
    8,000 Hz (librosa's `filters.mel`). Frame k is centred at (k + 0.5) * 10 ms; outside the clip
    the signal counts as silence.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        bank = melscale_fbanks(FFT // 2 + 1, 20.0, RATE / 2, MELS, RATE, "slaney", "slaney")
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.bank: Tensor
        self.window: Tensor

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Power spectrum (B, K, 257) and log-mel energies (B, K, 40) in dB.

        K = 2 * ceil(T / 320): an even number, so that frames pair up to 50 per second.
        """
        samples = waveform.shape[1]
        valid = torch.arange(samples, device=waveform.device) < lengths[:, None]
        frames = 2 * -(-samples // (2 * HOP))
        left = (FFT - HOP) // 2
        right = (frames - 1) * HOP + FFT - left - samples
        padded = nn.functional.pad(waveform * valid, (left, right))
        spectrum = torch.stft(
            padded, FFT, HOP, WINDOW, self.window, center=False, return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        return power, 10 * (power @ self.bank).clamp(min=FLOOR).log10()


def standardise(bands: Tensor) -> Tensor:
    """Log-mel energies in dB by fixed constants to about zero mean and unit size."""
    return (bands - CENTRE) / SCALE


def hold_last(frames: Tensor, counts: Tensor) -> Tensor:
    """(B, K, D) with every frame from the `counts`-th on replaced by the last valid one.

    Filters over time that repeat the edge then give the same values with and without padding.
    """
    index = torch.arange(frames.shape[1], device=frames.device).expand(len(frames), -1)
    index = torch.minimum(index, counts[:, None] - 1)
    return frames.gather(1, index[..., None].expand_as(frames))


def shift(frames: Tensor, steps: int) -> Tensor:
    """(B, K, D) moved so that frame k holds frame k + steps; the edges are repeated."""
    index = torch.arange(frames.shape[1], device=frames.device) + steps
    return frames[:, index.clamp(0, frames.shape[1] - 1)]


def deltas(frames: Tensor, reach: int = 2) -> Tensor:
    """Regression slope over +-`reach` frames (B, K, D), as in HTK and torchaudio."""
    scale = 2 * sum(n * n for n in range(1, reach + 1))
    slopes = [n * (shift(frames, n) - shift(frames, -n)) for n in range(1, reach + 1)]
    return torch.stack(slopes).sum(0) / scale
