"""An untrained conformer on log-mel spectrograms: what the architecture alone brings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.audio.log_mel import HOP, MELS, RATE, LogMel, hold_last, standardise

STEP = 2 * HOP  # samples per frame: two log-mel frames make one


class RandomConformer(nn.Module):
    """The encoder of w2v-BERT 2.0 with random weights, narrowed; 50 frames per second.

    A conformer (Gulati et al. 2020, https://arxiv.org/abs/2005.08100) as transformers'
    `Wav2Vec2BertModel` builds it: pairs of log-mel frames, a linear projection, then layers of
    self-attention with relative positions and depthwise convolution, both masked beyond the clip.
    """

    modality = "audio"
    input = {"sample_rate": RATE, "seconds": 10.0}
    frame_rate = RATE / STEP

    def __init__(self, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

        config = Wav2Vec2BertConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            intermediate_size=2 * width,
            feature_projection_input_dim=2 * MELS,
            apply_spec_augment=False,
        )
        self.log_mel = LogMel()
        self.encoder = Wav2Vec2BertModel(config)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, width): mean of the valid frames."""
        frames = self.frames(waveform, lengths)
        mask = _valid(frames, lengths)[..., None]
        return (frames * mask).sum(1) / mask.sum(1)

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', width), T' = ceil(T / 320)."""
        _, bands = self.log_mel(waveform, lengths)
        counts = (-(-lengths // HOP)).clamp(1, bands.shape[1])
        features = standardise(hold_last(bands, counts)).unflatten(1, (-1, 2)).flatten(2)
        mask = _valid(features, lengths).long()
        frames: Tensor = self.encoder(features, attention_mask=mask).last_hidden_state
        return frames


def _valid(frames: Tensor, lengths: Tensor) -> Tensor:
    counts = (-(-lengths // STEP)).clamp(min=1)
    mask: Tensor = torch.arange(frames.shape[1], device=frames.device) < counts[:, None]
    return mask
