"""AST: a vision transformer on log-mel filter banks, fine-tuned on AudioSet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from baselines.audio.ssast_frontend import (
    FFT,
    FLOOR,
    HOP,
    PREEMPHASIS,
    RATE,
    STATISTICS,
    WINDOW,
    KaldiFbank,
    frame_count,
)
from benchmark.checkpoint import fit, tensors_of

# Published names of a block's parts, and those of the library since its blocks were renamed.
RENAMED = {
    r"^encoder\.layer\.": "layers.",
    r"\.attention\.attention\.query\.": ".attention.q_proj.",
    r"\.attention\.attention\.key\.": ".attention.k_proj.",
    r"\.attention\.attention\.value\.": ".attention.v_proj.",
    r"\.attention\.output\.dense\.": ".attention.o_proj.",
    r"\.intermediate\.dense\.": ".mlp.fc1.",
    r"(\d)\.output\.dense\.": r"\1.mlp.fc2.",
}


class AstFbank(KaldiFbank):
    """Kaldi filter banks of the waveform as it is, as `ASTFeatureExtractor` takes them.

    SSAST's subtract the clip's mean before. In exact arithmetic that changes nothing, since every
    frame loses its own mean, but in single precision it shows where a band is all but silent.
    """

    def _energies(self, waveform: Tensor, lengths: Tensor, frames: int) -> Tensor:
        needed = (frames - 1) * HOP + WINDOW
        inside = torch.arange(waveform.shape[1], device=waveform.device) < lengths[:, None]
        clip = nn.functional.pad(waveform * inside, (0, needed - waveform.shape[1]))
        pieces = clip.unfold(1, WINDOW, HOP)
        pieces = pieces - pieces.mean(-1, keepdim=True)
        before = torch.cat([pieces[..., :1], pieces[..., :-1]], -1)
        power = torch.fft.rfft((pieces - PREEMPHASIS * before) * self.window, n=FFT).abs().square()
        energies = (power @ self.bank).clamp(min=FLOOR).log()
        whole = torch.arange(frames, device=waveform.device) < frame_count(lengths)[:, None]
        return energies * whole[..., None]


class AudioSpectrogramTransformer(nn.Module):
    """The Audio Spectrogram Transformer (Gong et al. 2021, https://arxiv.org/abs/2104.01778).

    16 x 16 patches every 10 steps of 128 mel bands x 1,024 frames (10.24 s); a shorter clip is
    followed by zeros in its filter banks, as in training, and attention sees them.

    The embedding is the mean of the class and the distillation token after the last normalisation:
    the vector that AudioSet's classes were read from in training. `frames` and the earlier `layers`
    average patch tokens instead, and only those that start within the clip: in the first layers
    the two special tokens have seen nothing of the input, and they have no place in time.
    """

    modality = "audio"

    def __init__(
        self,
        depth: int = 12,
        width: int = 768,
        heads: int = 12,
        intermediate: int = 3072,
        frames: int = 1024,
        bands: int = 128,
        patch: int = 16,
        stride: int = 10,
    ) -> None:
        """frames, bands: of the filter banks; patch, stride: along both."""
        super().__init__()
        from transformers import ASTConfig, ASTModel

        settings: dict[str, Any] = {
            "num_hidden_layers": depth,
            "hidden_size": width,
            "num_attention_heads": heads,
            "intermediate_size": intermediate,
            "max_length": frames,
            "num_mel_bins": bands,
            "patch_size": patch,
            "frequency_stride": stride,
            "time_stride": stride,
            "layer_norm_eps": 1e-12,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "attn_implementation": "sdpa",
        }
        self.model = ASTModel(ASTConfig(**settings))
        self.fbank = AstFbank(bands)
        self.mel_frames, self.stride = frames, stride
        self.grid = ((bands - patch) // stride + 1, (frames - patch) // stride + 1)
        self.frame_rate = RATE / HOP / stride
        self.input = {"sample_rate": RATE, "seconds": frames * HOP / RATE}

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load the file as published, without the head for AudioSet's classes."""
        prefixes = ("model.", "audio_spectrogram_transformer.")
        tensors = tensors_of(entries, prefixes=prefixes, drop=r"^classifier\.")
        if any(key.startswith("layers.") for key in self.model.state_dict()):
            for old, new in RENAMED.items():
                tensors = {re.sub(old, new, key): value for key, value in tensors.items()}
        fit(self.model, tensors)

    def filter_banks(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, frames, bands), standardised as AudioSet's were in training."""
        mean, deviation = STATISTICS["audioset"]
        with torch.autocast(waveform.device.type, enabled=False):
            return (self.fbank(waveform, lengths, self.mel_frames) - mean) / (2 * deviation)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, D); what lies beyond the 10.24 s is cut off."""
        pooled: Tensor = self.model(self.filter_banks(waveform, lengths)).pooler_output
        return pooled.float()

    def layers(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (L, B, D): the patch embeddings and the output of every block but the
        last, averaged over the clip's patches; then the embedding of `forward`."""
        output = self.model(self.filter_banks(waveform, lengths), output_hidden_states=True)
        steps = torch.arange(self.grid[1], device=lengths.device)
        inside = (steps < self.valid_steps(lengths)[:, None]).float()[..., None]
        earlier = [self._over_bands(state) for state in output.hidden_states[:-1]]
        means = [(tokens * inside).sum(1) / inside.sum(1) for tokens in earlier]
        return torch.stack([*means, output.pooler_output.float()])

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D): last tokens at 10 Hz, averaged over frequency; the patch of
        frame j spans 175 ms from j / 10 s on. T' is that of the longest clip."""
        hidden = self.model(self.filter_banks(waveform, lengths)).last_hidden_state
        return self._over_bands(hidden)[:, : int(self.valid_steps(lengths).max())]

    def valid_steps(self, lengths: Tensor) -> Tensor:
        """Patches along time that start within the clip, at least one."""
        return (-(-frame_count(lengths) // self.stride)).clamp(1, self.grid[1])

    def _over_bands(self, hidden: Tensor) -> Tensor:
        """(B, 2 + F * T', D), frequency by frequency, to (B, T', D)."""
        return hidden[:, 2:].float().unflatten(1, self.grid).mean(1)
