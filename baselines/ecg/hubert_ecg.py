"""HuBERT-ECG: the HuBERT architecture over twelve leads laid end to end.

Coppola et al. 2024, https://doi.org/10.1101/2024.11.14.24317328; weights
Edoardo-Coppola/hubert-ecg-* on the Hugging Face hub, sizes and evaluation as in
https://github.com/Edoar-do/HuBERT-ECG (`code/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.ecg.hubert_ecg_frontend import RATE, SECONDS, HubertEcgFrontEnd
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

SIZES = {  # width, layers, heads
    "small": (512, 8, 8),
    "base": (768, 12, 12),
    "large": (960, 16, 12),
}
# Pretraining: the projections onto cluster codes and the mask token; fine-tuning: the classifier.
DROPPED = r"^(final_proj|label_embedding|classifier)\.|^masked_spec_embed$"
WEIGHT_NORM = {"weight_g": "original0", "weight_v": "original1"}  # older torch -> newer torch


class HubertEcg(nn.Module):
    """transformers' `HubertModel` on five seconds at 100 Hz; mean over the 93 frames.

    The frames run through one lead after the other, so they are no time axis of the record.
    Remaining options are fields of `HubertConfig`, for reduced copies.
    """

    modality: ClassVar[str] = "ecg"
    input: ClassVar[dict[str, Any]] = {"sample_rate": RATE, "seconds": SECONDS}

    def __init__(self, size: str = "base", **config: Any) -> None:
        super().__init__()
        from transformers import HubertConfig, HubertModel

        if size not in SIZES:
            raise EncoderError(f"hubert-ecg: there is no size {size!r}; choose {', '.join(SIZES)}")
        width, layers, heads = SIZES[size]
        published = {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": 4 * width,
            "conv_dim": (512,) * 5,
            "conv_kernel": (10, 3, 3, 2, 2),
            "conv_stride": (4, 2, 2, 2, 2),
            "mask_time_prob": 0.0,  # the published code switches masking off after pretraining
            "layerdrop": 0.0,
            "attn_implementation": "sdpa",
        }
        self.front_end = HubertEcgFrontEnd()
        self.model = HubertModel(HubertConfig(**{**published, **config}))
        self.eval()

    def forward(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, 12, T) mV at 500 Hz, (B,) valid samples -> (B, width)."""
        hidden: Tensor = self.model(self.front_end(signal, lengths)).last_hidden_state
        return hidden.float().mean(1)

    def layers(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, 12, T), (B,) -> (layers + 1, B, width): every hidden state, averaged over frames."""
        output = self.model(self.front_end(signal, lengths), output_hidden_states=True)
        return torch.stack([hidden.float().mean(1) for hidden in output.hidden_states])

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """`model.safetensors` of the hub, or the `model_state_dict` of a training checkpoint."""
        tensors = tensors_of(
            entries,
            inside=("model_state_dict",),
            prefixes=("module.", "hubert_ecg."),
            drop=DROPPED,
        )
        conv = "encoder.pos_conv_embed.conv."
        for old, new in WEIGHT_NORM.items():
            if conv + old in tensors:
                tensors[f"{conv}parametrizations.weight.{new}"] = tensors.pop(conv + old)
        fit(self.model, tensors)
