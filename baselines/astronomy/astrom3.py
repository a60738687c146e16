"""AstroM3: light curves, spectra and catalogue values in one space.

Rizhko & Bloom 2024, https://arxiv.org/abs/2411.08842; https://github.com/MeriDK/AstroM3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.astronomy.astrom3_photometry import (
    Bands,
    band_curves,
    over_bands,
    prepare_photometry,
)
from baselines.astronomy.astrom3_spectra import POINTS, GalSpecNet, prepare_spectra
from baselines.astronomy.informer import Informer
from benchmark.checkpoint import fit, tensors_of
from benchmark.errors import EncoderError

AUXILIARY = 4  # catalogue values that go into the light curve
# Contrastive temperatures, and the classifier of the fine-tuned checkpoints (AstroM3-CLIP-all).
UNUSED = r"^(logit_scale_(ps|sm|mp)|fc\.(weight|bias))$"


class MetadataEncoder(nn.Module):
    """A two-layer perceptron over the catalogue values."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        # Identity where the published network has dropout: it numbers the layers.
        self.model = nn.Sequential(
            nn.Linear(values, width), nn.ReLU(), nn.Identity(), nn.Linear(width, width), nn.ReLU()
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, values) -> (B, width)."""
        result: Tensor = self.model(values)
        return result


class AstroM3(nn.Module):
    """The three towers with their projections; embeddings of length 1 in a common space.

    `towers` gives one embedding for each input that is there, `forward` their concatenation in
    the order photometry, spectrum, metadata.

    - Light curves are prepared as by the authors (`prepare_photometry`). AstroM3 knows one band:
      of a multi-band curve every band is embedded by itself and the unit vectors are averaged,
      weighted by the number of observations (`bands="mean"`), or the band with most observations
      is taken (`bands="best"`).
    - Spectra are put on the authors' grid (`prepare_spectra`).
    - Metadata are the 34 columns of the AstroM3 dataset, in its order and normalised as in its
      `_norm` configurations, missing ones (NaN) at the mean, 0. Four more columns are its
      photometric ones (amplitude, period, lksl_statistic, rfr_score), which belong to the light
      curve and are 0 otherwise. Fewer than 34, which only another catalogue has, are taken in
      order, the rest 0: a tower outside of what it was trained for, as the score will show.

    The keys that sparse attention samples are drawn anew with the same seed in every call, once
    for all examples, so that embeddings depend neither on the batch nor on what ran before. The
    seed 5 is that of the reference outputs; `embed(..., generator=)` takes another stream.

    Args are named as in the published `config.json`, so that it can be passed on; `s_points` and
    the last two are ours.
    """

    modality: ClassVar[str] = "astronomy"
    input: ClassVar[dict[str, Any]] = {"towers": ("photometry", "spectrum", "metadata")}

    def __init__(
        self,
        seq_len: int = 200,
        hidden_dim: int = 512,
        p_enc_in: int = 9,
        p_d_model: int = 128,
        p_factor: int = 1,
        p_n_heads: int = 4,
        p_d_ff: int = 512,
        p_activation: str = "gelu",
        p_e_layers: int = 8,
        s_conv_channels: Sequence[int] = (3, 64, 64, 32, 32),
        s_kernel_size: int = 3,
        s_mp_kernel_size: int = 4,
        s_points: int = POINTS,
        m_input_dim: int = 34,
        m_hidden_dim: int = 512,
        bands: Bands = "mean",
        seed: int = 5,
    ) -> None:
        super().__init__()
        self.length = seq_len
        self.points = s_points
        self.columns = m_input_dim
        self.bands: Bands = bands
        self.seed = seed
        self.photometry_encoder = Informer(
            p_enc_in, p_d_model, p_n_heads, p_e_layers, p_d_ff, p_factor, p_activation
        )
        self.spectra_encoder = GalSpecNet(
            s_conv_channels, s_kernel_size, s_mp_kernel_size, s_points
        )
        self.metadata_encoder = MetadataEncoder(m_input_dim, m_hidden_dim)
        self.photometry_proj = nn.Linear(seq_len * p_d_model, hidden_dim)
        self.spectra_proj = nn.Linear(self.spectra_encoder.features, hidden_dim)
        self.metadata_proj = nn.Linear(m_hidden_dim, hidden_dim)

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load `model.safetensors` of AstroMLCore/AstroM3-CLIP or a `.pth` of the authors' code."""
        fit(self, tensors_of(entries, prefixes=("module.",), drop=UNUSED))

    def forward(
        self,
        photometry: Tensor | None = None,
        lengths: Tensor | None = None,
        spectrum: Tensor | None = None,
        metadata: Tensor | None = None,
    ) -> Tensor:
        """Any subset of (B, L, 4) with (B,), (B, 2 or 3, W), (B, F) -> (B, hidden_dim each)."""
        found = self.towers(photometry, lengths, spectrum, metadata)
        return torch.cat(list(found.values()), -1)

    def towers(
        self,
        photometry: Tensor | None = None,
        lengths: Tensor | None = None,
        spectrum: Tensor | None = None,
        metadata: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As `forward`, by tower: `photometry`, `spectrum`, `metadata`, (B, hidden_dim) each."""
        values, auxiliary = (None, None) if metadata is None else self._catalogue(metadata)
        found: dict[str, Tensor] = {}
        if photometry is not None and lengths is not None:
            curves = band_curves(photometry, lengths, self.bands)
            steps, mask = prepare_photometry(curves, auxiliary, self.length)
            every = self.embed(photometry=steps, mask=mask)["photometry"]
            found["photometry"] = F.normalize(over_bands(every, curves), dim=-1)
        if spectrum is not None:
            found |= self.embed(spectra=prepare_spectra(spectrum, self.points))
        if values is not None:
            found |= self.embed(metadata=values)
        return found

    def embed(
        self,
        photometry: Tensor | None = None,
        mask: Tensor | None = None,
        spectra: Tensor | None = None,
        metadata: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Inputs as the authors prepare them -> unit vectors (B, hidden_dim) by tower.

        (B, seq_len, 9) with its mask (B, seq_len), (B, 3, 2575) and (B, 34), each optional. The
        generator (of the CPU) draws the sampled keys, layer after layer; None starts one at `seed`.
        """
        found: dict[str, Tensor] = {}
        if photometry is not None and mask is not None:
            source = generator or torch.Generator().manual_seed(self.seed)
            hidden = self.photometry_encoder(photometry, mask, source)
            found["photometry"] = _unit(self.photometry_proj(hidden.flatten(1)))
        if spectra is not None:
            found["spectrum"] = _unit(self.spectra_proj(self.spectra_encoder(spectra)))
        if metadata is not None:
            found["metadata"] = _unit(self.metadata_proj(self.metadata_encoder(metadata)))
        return found

    def _catalogue(self, metadata: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, F) with NaN -> the tower's columns and, where there are, those of the light curve."""
        given = metadata.shape[1]
        if given > self.columns and given != self.columns + AUXILIARY:
            raise EncoderError(
                f"metadata has {given} columns; AstroM3 takes up to {self.columns}, or "
                f"{self.columns + AUXILIARY} with those of the light curve"
            )
        values = metadata.float().nan_to_num(nan=0.0)
        if given > self.columns:
            return values[:, : self.columns], values[:, self.columns :]
        return F.pad(values, (0, self.columns - given)), None


def _unit(values: Tensor) -> Tensor:
    return F.normalize(values.float(), dim=-1)
