"""MERL: ECG encoders trained against their reports, with the text tower for zero-shot.

Liu et al. 2024, "Zero-Shot ECG Classification with Multimodal Learning and Test-time Clinical
Knowledge Enhancement", https://arxiv.org/abs/2403.06659; checkpoints and front end as in
https://github.com/cheliu-computation/MERL-ICML2024.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from baselines.ecg.merl_resnet import STAGES, AttentionPool, MerlResNet
from baselines.ecg.merl_text import Tokenizer, medcpt, text_projection
from baselines.ecg.merl_vit import SIZES, MerlVit
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError
from benchmark.inputs import STANDARD_LEADS

RATE = 500
# MIMIC-IV-ECG stores aVF before aVL; the published weights know only this order.
LEAD_ORDERS = {
    "mimic": ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6"),
    "standard": STANDARD_LEADS,
}
# The loss between two views (linear1, linear2) and the classifier of the probing code are no part
# of an embedding; older transformers saved BERT's position numbers as a buffer.
DROPPED = r"^linear[12]\.|^(ecg_encoder\.)?(linear|head)\.|^lm_model\.embeddings\.position_ids$"


class Merl(nn.Module):
    """A MERL encoder: `forward` for probes, `joint` and `encode_text` for zero-shot.

    arch: "resnet18", "resnet34", "resnet50", "resnet101", "vit_tiny", "vit_small", "vit_middle" or
    "vit_base". width, depth, heads, mlp_width: of another ViT than that size names; width: channels
    of the ResNet's stem. seq_len: samples at 500 Hz that every record is brought to. lead_order:
    "mimic" (that of the published weights) or "standard". text: whether to build the text tower;
    loading a file that holds the ECG encoder alone takes it away.
    """

    modality: ClassVar[str] = "ecg"
    joint: Callable[..., Tensor]
    encode_text: Callable[[list[str]], Tensor]
    ecg_encoder: MerlResNet | MerlVit

    def __init__(
        self,
        arch: str = "resnet18",
        *,
        num_leads: int = 12,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        mlp_width: int | None = None,
        patch: int = 50,
        seq_len: int = 5000,
        lead_order: Literal["mimic", "standard"] = "mimic",
        text: bool = True,
        projection: int = 256,
        text_size: Mapping[str, int] | None = None,
        tokenizer: Literal["hub", "bytes"] = "hub",
    ) -> None:
        super().__init__()
        if lead_order not in LEAD_ORDERS:
            raise EncoderError(f"merl: lead_order is {lead_order!r}; it is 'mimic' or 'standard'")
        self.seq_len = seq_len
        self.input: dict[str, Any] = {
            "sample_rate": RATE,
            "seconds": seq_len / RATE,
            "leads": LEAD_ORDERS[lead_order][:num_leads],
        }
        family, size = _family(arch)
        if family == "resnet":
            self.ecg_encoder = MerlResNet(int(size), num_leads, width or 64)
        else:
            usual = SIZES[size]
            width = width or usual[0]
            heads = heads or (usual[2] if width == usual[0] else max(1, width // 64))
            self.ecg_encoder = MerlVit(
                width, depth or usual[1], heads, mlp_width, seq_len, patch, num_leads
            )
        if text:
            self._build_joint_space(projection, dict(text_size or {}))
            self.tokenizer = Tokenizer(tokenizer)
            self.joint = self._joint
            self.encode_text = self._encode_text
        self.eval()

    def _build_joint_space(self, out: int, text_size: dict[str, int]) -> None:
        width = self.ecg_encoder.width
        if isinstance(self.ecg_encoder, MerlResNet):
            steps = self.seq_len
            for _ in range(4):  # the stem and three stages halve the length
                steps = (steps + 1) // 2
            self.downconv = nn.Conv1d(width, out, 1)
            self.att_pool_head = AttentionPool(steps, out)
        else:
            self.proj_e = nn.Sequential(
                nn.Linear(width, out),
                nn.BatchNorm1d(out),
                nn.ReLU(),
                nn.Linear(out, out),
                nn.BatchNorm1d(out),
            )
        self.lm_model = medcpt(**text_size)
        self.proj_t = text_projection(self.lm_model.config.hidden_size, out, out)

    def forward(self, signal: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, leads, T) mV at 500 Hz, (B,) valid samples -> (B, D): the authors' probe input."""
        features = self.ecg_encoder.features(self.scaled(signal, lengths))
        return self.ecg_encoder.pool(features).float()

    def _joint(self, signal: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, leads, T), (B,) -> (B, 256), L2-normalised, comparable with `encode_text`."""
        features = self.ecg_encoder.features(self.scaled(signal, lengths))
        if isinstance(self.ecg_encoder, MerlResNet):
            projected = self.att_pool_head(self.downconv(features))
        else:
            projected = self.proj_e(self.ecg_encoder.pool(features))
        return nn.functional.normalize(projected.float(), dim=-1)

    def _encode_text(self, texts: list[str]) -> Tensor:
        """N texts -> (N, 256), L2-normalised."""
        tokens, mask = self.tokenizer(texts, next(self.parameters()).device)
        pooled = self.lm_model(input_ids=tokens, attention_mask=mask).pooler_output
        return nn.functional.normalize(self.proj_t(pooled).float(), dim=-1)

    def scaled(self, signal: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, leads, T), (B,) -> (B, leads, seq_len) in [0, 1], min-max over the whole record.

        A shorter record is padded with 0 mV before it is scaled, as the authors pad CPSC2018. A
        record within [0, 1] counts as scaled: no ECG in mV is, as aVR = -(I + II) / 2.
        """
        signal = signal.float()
        if lengths is not None:
            valid = torch.arange(signal.shape[2], device=signal.device) < lengths[:, None]
            signal = signal * valid[:, None]
        missing = self.seq_len - signal.shape[2]
        signal = nn.functional.pad(signal, (0, missing)) if missing > 0 else signal
        signal = signal[..., : self.seq_len]
        low, high = signal.amin((1, 2), True), signal.amax((1, 2), True)
        done = (low >= 0) & (high <= 1)
        return torch.where(done, signal, (signal - low) / (high - low + 1e-8))

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """`*_ckpt.pth` (ECG encoder, projections, text tower) or `*_encoder.pth` alone."""
        tensors = tensors_of(
            entries, inside=("model_state_dict",), prefixes=("module.",), drop=DROPPED
        )
        if any(key.startswith("ecg_encoder.") for key in tensors):
            if not hasattr(self, "proj_t"):
                own = re.compile(r"^(downconv|att_pool_head|proj_e|proj_t|lm_model)\.")
                tensors = {key: value for key, value in tensors.items() if not own.match(key)}
            fit(self, tensors)
            return
        fit(self.ecg_encoder, tensors)
        self._drop_joint_space()

    def _drop_joint_space(self) -> None:
        """Without weights the joint space has no meaning: the encoder then offers none."""
        for name in ("downconv", "att_pool_head", "proj_e", "lm_model", "proj_t"):
            if hasattr(self, name):
                delattr(self, name)
        for name in ("joint", "encode_text"):
            self.__dict__.pop(name, None)


def _family(arch: str) -> tuple[str, str]:
    """`resnet18` or `resnet18-1d` -> ("resnet", "18"), `vit_tiny` -> ("vit", "tiny")."""
    found = re.fullmatch(r"(resnet|vit)[-_]?(\w+?)(-1d)?", arch)
    known = {"resnet": [str(depth) for depth in STAGES], "vit": list(SIZES)}
    if found is None or found[2] not in known[found[1]]:
        names = [f"{family}{'_' * (family == 'vit')}{s}" for family in known for s in known[family]]
        raise EncoderError(f"merl: there is no arch {arch!r}; choose {', '.join(names)}")
    return found[1], found[2]
