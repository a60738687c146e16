"""ST-MEM: a masked autoencoder whose tokens are patches of single leads.

Na et al. 2024, "Guiding Masked Representation Learning to Capture Spatio-Temporal Relationship of
Electrocardiogram", https://arxiv.org/abs/2402.09450; checkpoints and front end as in
https://github.com/bakqui/ST-MEM (`models/encoder/st_mem_vit.py`, `configs/`, `util/transforms.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from baselines.ecg.merl_vit import TransformerBlock
from baselines.ecg.st_mem_filter import BandPass
from benchmark.checkpoint import fit, tensors_of
from benchmark.inputs import STANDARD_LEADS

RATE = 250
# The decoder serves reconstruction only, the head classification; the autoencoder saves its patch
# embedding twice, as its own and as its encoder's.
DROPPED = r"^(to_decoder_embedding|mask_embedding|decoder_\w+|head)(\.|$)"


class StMem(nn.Module):
    """The ViT of ST-MEM: lead embeddings, a separator on both sides of every lead's patches.

    seq_len: samples at 250 Hz that every record is brought to; patch_size: samples per token.
    """

    modality: ClassVar[str] = "ecg"

    def __init__(
        self,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_width: int | None = None,
        seq_len: int = 2250,
        patch_size: int = 75,
        num_leads: int = 12,
    ) -> None:
        super().__init__()
        self.seq_len, self.patch_size, self.depth = seq_len, patch_size, depth
        self.input: dict[str, Any] = {
            "sample_rate": RATE,
            "seconds": seq_len / RATE,
            "leads": STANDARD_LEADS[:num_leads],
        }
        self.band_pass = BandPass(RATE)
        self.to_patch_embedding = nn.Sequential(
            nn.Identity(),  # keeps the published numbering: the cutting into patches
            nn.LayerNorm(patch_size),
            nn.Linear(patch_size, width),
            nn.LayerNorm(width),
        )
        self.pos_embedding = nn.Parameter(torch.randn(1, seq_len // patch_size + 2, width))
        self.sep_embedding = nn.Parameter(torch.randn(width))
        self.lead_embeddings = nn.ParameterList(
            nn.Parameter(torch.randn(width)) for _ in range(num_leads)
        )
        for i in range(depth):
            self.add_module(f"block{i}", TransformerBlock(width, heads, mlp_width or 4 * width))
        self.norm = nn.LayerNorm(width)
        self.eval()

    def forward(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, leads, T) mV at 250 Hz, (B,) valid samples -> (B, width)."""
        return self.encode(self.prepared(signal, lengths))

    def prepared(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, leads, T), (B,) -> (B, leads, seq_len): filtered, standardised, zero-padded.

        Filter and statistics (over leads and time together) see a record's own samples only. The
        authors use no record below nine seconds; here a shorter one is padded after scaling.
        """
        ready = signal.new_zeros(*signal.shape[:2], self.seq_len, dtype=torch.float32)
        counts = lengths.clamp(1, min(self.seq_len, signal.shape[2]))
        with torch.autocast(signal.device.type, enabled=False):
            for count in counts.unique().tolist():
                rows = counts == count
                values = self.band_pass(signal[rows, :, :count].float())
                std, mean = torch.std_mean(values, (1, 2), correction=0, keepdim=True)
                values = torch.where(std > 0, (values - mean) / std, 0.0)
                ready[rows, :, :count] = values
        return ready

    def encode(self, series: Tensor) -> Tensor:
        """(B, leads, seq_len) as the network takes it -> (B, width): norm of the token mean."""
        patches = self.to_patch_embedding(series.unflatten(2, (-1, self.patch_size)))
        count = patches.shape[2]
        position = self.pos_embedding
        patches = patches + position[:, None, 1 : count + 1]
        separators = (self.sep_embedding + position[:, i] for i in (0, -1))
        left, right = (s[:, None, None].expand_as(patches[:, :, :1]) for s in separators)
        lead = torch.stack(list(self.lead_embeddings))[: series.shape[1], None]
        tokens = (torch.cat([left, patches, right], 2) + lead).flatten(1, 2)
        for i in range(self.depth):
            tokens = getattr(self, f"block{i}")(tokens)
        inner = tokens.unflatten(1, (-1, count + 2))[:, :, 1:-1]
        pooled: Tensor = self.norm(inner.mean((1, 2)))
        return pooled.float()

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """The published encoder, or the whole autoencoder (`encoder.*` and the decoder)."""
        tensors = tensors_of(
            entries, inside=("model",), prefixes=("module.", "encoder."), drop=DROPPED
        )
        fit(self, tensors)
