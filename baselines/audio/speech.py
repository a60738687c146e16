"""Transformers on raw waveforms: wav2vec 2.0, HuBERT, WavLM and data2vec audio, base models.

Strided convolutions turn the waveform into 50 frames per second, a transformer encodes them. The
networks are those of the `transformers` library, built from explicit configurations that equal the
published ones; published files are read through `load_checkpoint`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)  # 320 samples per frame

# What pretraining and fine-tuning put beside or around the encoder: the mask token, the quantizer
# and its projections (Wav2Vec2ForPreTraining), the heads for transcription and classification.
HEADS = (
    r"^(masked_spec_embed|layer_weights)$|"
    r"^(quantizer|project_q|project_hid|lm_head|projector|classifier)\."
)

# Weight normalisation of the positional convolution: names before and since torch 2's
# parametrizations.
WEIGHT_NORM = {
    r"\.conv\.weight_g$": ".conv.parametrizations.weight.original0",
    r"\.conv\.weight_v$": ".conv.parametrizations.weight.original1",
}


class WaveformTransformer(nn.Module):
    """A transformers model on waveforms; base of the encoders of this file and of MERT.

    None of these is neutral to padding as it stands: the group normalisation of wav2vec 2.0,
    HuBERT, WavLM and MERT takes its statistics over all of time, and data2vec's five positional
    convolutions carry what they make of the padding back into the clip. Clips of one length are
    therefore run together, unpadded, so that every clip gets exactly what it gets alone.
    """

    modality = "audio"

    def __init__(
        self,
        model: nn.Module,
        *,
        sample_rate: int,
        seconds: float,
        normalise: bool,
        prefixes: tuple[str, ...],
        drop: str,
    ) -> None:
        super().__init__()
        self.model = model
        self.prefixes, self.drop = prefixes, drop
        self.frame_rate = sample_rate / prod(STRIDES)
        self.input = {
            "sample_rate": sample_rate,
            "seconds": seconds,
            "normalise": "zero-mean-unit-variance" if normalise else "none",
        }

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load the file as published: with or without the prefix and the heads of pretraining."""
        tensors = tensors_of(entries, prefixes=self.prefixes, drop=self.drop)
        for old, new in WEIGHT_NORM.items():
            tensors = {re.sub(old, new, key): value for key, value in tensors.items()}
        fit(self.model, tensors)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, D): the last hidden states, averaged over time."""
        pooled = self._each_length(waveform, lengths, lambda piece: self._last(piece).mean(1))
        return torch.stack(pooled)

    def layers(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (L, B, D): what enters the first layer and what leaves each, averaged
        over time; the last equals `forward`."""
        return torch.stack(self._each_length(waveform, lengths, self._layer_means), 1)

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D) at `frame_rate`; T' = floor((T - 400) / 320) + 1 of the
        longest clip. A shorter clip repeats its last frame."""
        rows = self._each_length(waveform, lengths, self._last)
        longest = max(len(row) for row in rows)
        held = [torch.cat([row, row[-1:].expand(longest - len(row), -1)]) for row in rows]
        return torch.stack(held)

    def _last(self, piece: Tensor) -> Tensor:
        hidden: Tensor = self.model(piece).last_hidden_state
        return hidden.float()

    def _layer_means(self, piece: Tensor) -> Tensor:
        states = self.model(piece, output_hidden_states=True).hidden_states
        return torch.stack([state.float().mean(1) for state in states], 1)

    def _each_length(
        self, waveform: Tensor, lengths: Tensor, encode: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """`encode` on the clips of each length together; its rows in the order of the batch."""
        counts = lengths.clamp(1, waveform.shape[1]).tolist()
        outputs: dict[int, Tensor] = {}
        for length in sorted(set(counts)):
            rows = [row for row, count in enumerate(counts) if count == length]
            piece = waveform[rows, :length]
            if length < RECEPTIVE_FIELD:  # too short for one frame: silence follows
                piece = nn.functional.pad(piece, (0, RECEPTIVE_FIELD - length))
            outputs.update(zip(rows, encode(piece), strict=True))
        return [outputs[row] for row in range(len(counts))]


def receptive_field(kernels: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Samples that one output of stacked convolutions sees."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


RECEPTIVE_FIELD = receptive_field(KERNELS, STRIDES)  # 400 samples


def inference_settings(
    depth: int, width: int, heads: int, intermediate: int, channels: int
) -> dict[str, Any]:
    """The part of a configuration that all of these share; no mask token and no dropout, which
    only training uses."""
    return {
        "num_hidden_layers": depth,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "conv_dim": (channels,) * len(KERNELS),
        "conv_kernel": KERNELS,
        "conv_stride": STRIDES,
        "conv_bias": False,
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
        "apply_spec_augment": False,
        "layerdrop": 0.0,
        "layer_norm_eps": 1e-5,
        "attn_implementation": "sdpa",
    }


def _wav2vec2(settings: dict[str, Any]) -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    return Wav2Vec2Model(Wav2Vec2Config(**settings))


def _hubert(settings: dict[str, Any]) -> nn.Module:
    from transformers import HubertConfig, HubertModel

    return HubertModel(HubertConfig(**settings))


def _wavlm(settings: dict[str, Any]) -> nn.Module:
    """The library has but one implementation of WavLM's attention with gated position bias."""
    from transformers import WavLMConfig, WavLMModel

    return WavLMModel(WavLMConfig(**{**settings, "attn_implementation": "eager"}))


def _data2vec(settings: dict[str, Any]) -> nn.Module:
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    return Data2VecAudioModel(Data2VecAudioConfig(**settings))


# Family: its model, the prefix of its keys in files with a head, and whether its published
# preprocessor_config.json standardises the waveform. WavLM base was trained without
# (github.com/microsoft/unilm, issue 708).
FAMILIES: dict[str, tuple[Callable[[dict[str, Any]], nn.Module], str, bool]] = {
    "wav2vec2": (_wav2vec2, "wav2vec2.", True),
    "hubert": (_hubert, "hubert.", True),
    "wavlm": (_wavlm, "wavlm.", False),
    "data2vec": (_data2vec, "data2vec_audio.", True),
}


class SpeechTransformer(WaveformTransformer):
    """wav2vec 2.0, HuBERT, WavLM or data2vec audio at 16 kHz: mean over time of the last layer.

    wav2vec 2.0: Baevski et al. 2020, https://arxiv.org/abs/2006.11477; HuBERT: Hsu et al. 2021,
    https://arxiv.org/abs/2106.07447; WavLM: Chen et al. 2022, https://arxiv.org/abs/2110.13900;
    data2vec: Baevski et al. 2022, https://arxiv.org/abs/2202.03555. Defaults are the base models;
    large ones have depth 24, width 1,024, heads 16, intermediate 4,096, norm "layer", and stable
    True (normalisation before each block) except data2vec's.
    """

    def __init__(
        self,
        family: str = "wav2vec2",
        depth: int = 12,
        width: int = 768,
        heads: int = 12,
        intermediate: int = 3072,
        channels: int = 512,
        norm: str = "group",
        stable: bool = False,
        normalise: bool | None = None,
        seconds: float = 30.0,
    ) -> None:
        """norm: of the convolutions, "group" or "layer" (data2vec has layer normalisation always).
        stable: normalise before attention and MLP. normalise: standardise the waveform; None: as
        the family's base model. seconds: window."""
        if family not in FAMILIES:
            raise EncoderError(f"family is one of {', '.join(FAMILIES)}, not {family!r}")
        build, prefix, standardised = FAMILIES[family]
        settings = inference_settings(depth, width, heads, intermediate, channels)
        if family != "data2vec":
            settings |= {"feat_extract_norm": norm, "do_stable_layer_norm": stable}
            settings["conv_bias"] = norm == "layer" and family != "wavlm"
        super().__init__(
            build(settings),
            sample_rate=16_000,
            seconds=seconds,
            normalise=standardised if normalise is None else normalise,
            prefixes=("model.", prefix),
            drop=HEADS,
        )
