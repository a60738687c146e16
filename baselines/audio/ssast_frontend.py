"""SSAST's input: Kaldi log-mel filter banks, cut or zero-padded to one length, standardised."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 16_000
HOP = 160  # 10 ms
WINDOW = 400  # 25 ms
FFT = 512
LOWEST = 20.0  # Hz
PREEMPHASIS = 0.97
FLOOR = torch.finfo(torch.float32).eps

# Mean and deviation of the filter banks of each dataset (scripts under src/finetune and
# src/pretrain of github.com/YuanGongND/ssast).
STATISTICS = {
    "audioset": (-4.2677393, 4.5689974),
    "esc50": (-6.6268077, 5.358466),
    "speechcommands": (-6.845978, 5.5654526),
}


class KaldiFbank(nn.Module):
    """(B, T) waveforms at 16 kHz to (B, frames, bands) log filter-bank energies, 100 per second.

    Equals `torchaudio.compliance.kaldi.fbank(htk_compat=True, window_type="hanning",
    num_mel_bins=bands, dither=0, frame_shift=10)` on every clip less its mean (the authors'
    src/dataloader.py), for a whole batch at once. Frame k spans the samples [160 k, 160 k + 400);
    frames that do not lie wholly inside the clip are zero, as the authors pad. A clip shorter than
    one window counts as followed by silence.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, bands: int = 128) -> None:
        super().__init__()
        from torchaudio.compliance.kaldi import get_mel_banks

        bank, _ = get_mel_banks(bands, FFT, float(RATE), LOWEST, 0.0, 100.0, -500.0, 1.0)
        bank = nn.functional.pad(bank, (0, 1)).T.contiguous()  # Kaldi leaves out the last bin
        self.register_buffer("bank", bank, persistent=False)
        window = torch.hann_window(WINDOW, periodic=False)
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor, frames: int) -> Tensor:
        """(B, T), (B,) valid samples to (B, frames, bands)."""
        with torch.autocast(waveform.device.type, enabled=False):
            return self._energies(waveform.float(), lengths, frames)

    def _energies(self, waveform: Tensor, lengths: Tensor, frames: int) -> Tensor:
        valid = torch.arange(waveform.shape[1], device=waveform.device) < lengths[:, None]
        mean = (waveform * valid).sum(1, keepdim=True) / lengths.clamp(min=1)[:, None]
        centred = (waveform - mean) * valid
        needed = (frames - 1) * HOP + WINDOW
        centred = nn.functional.pad(centred, (0, needed - centred.shape[1]))  # pads or cuts
        pieces = centred.unfold(1, WINDOW, HOP)
        pieces = pieces - pieces.mean(-1, keepdim=True)
        before = torch.cat([pieces[..., :1], pieces[..., :-1]], -1)
        pieces = (pieces - PREEMPHASIS * before) * self.window
        power = torch.fft.rfft(pieces, n=FFT).abs().square()
        energies = (power @ self.bank).clamp(min=FLOOR).log()
        inside = torch.arange(frames, device=waveform.device) < frame_count(lengths)[:, None]
        return energies * inside[..., None]


def frame_count(lengths: Tensor) -> Tensor:
    """Whole windows in clips of `lengths` samples; a clip shorter than a window has one."""
    return (lengths - WINDOW).clamp(min=0) // HOP + 1
