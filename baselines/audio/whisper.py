"""Whisper's encoder: log-mel spectrograms of 30 s, convolutions, a transformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checkpoint import fit, tensors_of

RATE = 16_000
FFT = 400  # 25 ms
HOP = 160  # 10 ms
STEP = 2 * HOP  # samples per frame of the encoder
FLOOR = 1e-10
RANGE = 8.0  # decades below the loudest


class WhisperLogMel(nn.Module):
    """(B, T) waveforms to (B, bands, samples / 160), as `WhisperFeatureExtractor` does it.

    The clip is cut or zero-padded to `samples`; Slaney mel bands of the power spectrum from 0 to
    8,000 Hz; log10, at most eight decades below the clip's loudest value, then (x + 4) / 4.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, bands: int, samples: int) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.samples = samples
        bank = mel_filter_bank(
            num_frequency_bins=FFT // 2 + 1,
            num_mel_filters=bands,
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=RATE,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) valid samples to (B, bands, samples / 160)."""
        with torch.autocast(waveform.device.type, enabled=False):
            inside = torch.arange(waveform.shape[1], device=waveform.device) < lengths[:, None]
            clip = nn.functional.pad(
                waveform.float() * inside, (0, self.samples - waveform.shape[1])
            )
            spectrum = torch.stft(clip, FFT, HOP, window=self.window, return_complex=True)
            power = spectrum[..., :-1].abs().square()
            decades = (self.bank.T @ power).clamp(min=FLOOR).log10()
            loudest = decades.amax((1, 2), keepdim=True)
            return (torch.maximum(decades, loudest - RANGE) + 4) / 4


class WhisperSpeech(nn.Module):
    """The encoder of Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356), 50 Hz.

    Its positions are those of a 30 s window and it was trained on windows filled up with silence,
    without a mask; so it gets them here. The embedding is the mean over the frames of the clip
    itself: averaged over all 1,500, a short clip's embedding would mostly tell how much silence
    was added. Defaults are the base model's.
    """

    modality = "audio"

    def __init__(
        self,
        depth: int = 6,
        width: int = 512,
        heads: int = 8,
        intermediate: int = 2048,
        bands: int = 80,
        seconds: float = 30.0,
    ) -> None:
        """bands: mel bands (128 in large-v3); seconds: window, 30 in every published model."""
        super().__init__()
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        self.positions = round(seconds * RATE / STEP)
        settings: dict[str, Any] = {
            "encoder_layers": depth,
            "d_model": width,
            "encoder_attention_heads": heads,
            "encoder_ffn_dim": intermediate,
            "num_mel_bins": bands,
            "max_source_positions": self.positions,
            "attn_implementation": "sdpa",
        }
        self.model = WhisperEncoder(WhisperConfig(**settings))
        self.log_mel = WhisperLogMel(bands, self.positions * STEP)
        self.frame_rate = RATE / STEP
        self.input = {"sample_rate": RATE, "seconds": self.positions * STEP / RATE}

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load the file as published; its decoder is of no use here."""
        prefixes = ("model.", "encoder.")
        fit(self.model, tensors_of(entries, prefixes=prefixes, drop=r"^(decoder|proj_out)\."))

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, D); what lies beyond the 30 s is cut off."""
        hidden = self.model(self.log_mel(waveform, lengths)).last_hidden_state
        return self._mean(hidden, lengths)

    def layers(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (L, B, D): the embedded input and the output of every layer, averaged
        over the clip's frames; the last equals `forward`."""
        features = self.log_mel(waveform, lengths)
        states = self.model(features, output_hidden_states=True).hidden_states
        return torch.stack([self._mean(state, lengths) for state in states])

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D) at 50 Hz, T' = ceil(T / 320) of the longest clip."""
        hidden: Tensor = self.model(self.log_mel(waveform, lengths)).last_hidden_state
        return hidden[:, : int(self.valid_frames(lengths).max())].float()

    def valid_frames(self, lengths: Tensor) -> Tensor:
        """Frames that start within the clip, at least one."""
        return (-(-lengths // STEP)).clamp(1, self.positions)

    def _mean(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        steps = torch.arange(hidden.shape[1], device=hidden.device)
        inside = (steps < self.valid_frames(lengths)[:, None]).float()[..., None]
        return (hidden.float() * inside).sum(1) / inside.sum(1)
