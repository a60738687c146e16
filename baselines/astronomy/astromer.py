"""ASTROMER: a transformer for single-band light curves, pretrained on MACHO.

Donoso-Oliva et al. 2023, A&A 670, A54, https://doi.org/10.1051/0004-6361/202243928. The network is
that of the authors' library (https://github.com/astromer-science/python-library, `ASTROMER/core`)
with what differs from the paper there, because the published weights were used so:

- attention adds +1 (not minus infinity) to the logits of every pair that a padded step is part of,
  so the observations of a curve shorter than the window attend to its padding;
- the blocks have no residual connections;
- the base of the position encoding is 10,000 whatever the configuration says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.astronomy.astrom3_photometry import BandCurves, Bands, band_curves, over_bands
from baselines.astronomy.astromer_checkpoint import module_tensors
from benchmark.checkpoint import fit
from benchmark.errors import EncoderError

MAGNITUDE = 2.5 / math.log(10)
MASKED = 1.0  # added to the logits of pairs with a padded step


def position_encoding(times: Tensor, width: int, base: float) -> Tensor:
    """(P, L) days -> (P, L, width) float32: sine in even columns, cosine in odd ones.

    Column i has the angular frequency base^(-2 i / width), sine and cosine alike.
    """
    column = torch.arange(width, device=times.device)
    angle = times.double()[..., None] * base ** (-2.0 * column.double() / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()


def magnitudes(curves: BandCurves) -> Tensor:
    """Flux of single-band curves -> (P, M) magnitudes up to a constant, zero beyond the end.

    The inverse hyperbolic sine magnitudes of Lupton, Gunn & Szalay 1999, AJ 118, 1406, softened by
    the curve's median error: ordinary ones where the flux is far above it, and defined where it is
    negative. Without errors a hundredth of the median flux takes their place.
    """
    softening = curves.median(curves.error.abs())
    softening = torch.where(softening > 0, softening, curves.median(curves.flux.abs()) / 100)
    softening = torch.where(softening > 0, softening, 1.0)[:, None]
    values = -MAGNITUDE * torch.asinh(curves.flux / (2 * softening))
    return torch.where(curves.seen, values, 0.0)


class Attention(nn.Module):
    """Multi-head attention with an additive mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.wq = nn.Linear(width, width)
        self.wk = nn.Linear(width, width)
        self.wv = nn.Linear(width, width)
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """(P, L, width), (P, 1, L, L) -> (P, L, width)."""
        query, key, value = (
            projection(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.wq, self.wk, self.wv)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        result: Tensor = self.dense(mixed.transpose(1, 2).flatten(2))
        return result


class Block(nn.Module):
    """Attention, norm, feed-forward network with tanh, norm; no residual connections."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.mha = Attention(width, heads)
        self.ffn = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))
        self.layernorm1 = nn.LayerNorm(width, eps=1e-6)
        self.layernorm2 = nn.LayerNorm(width, eps=1e-6)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """(P, L, width), (P, 1, L, L) -> (P, L, width)."""
        result: Tensor = self.layernorm2(self.ffn(self.layernorm1(self.mha(hidden, bias))))
        return result


class Astromer(nn.Module):
    """Mean over the observations of ASTROMER's last block.

    A curve of more than `window` observations is cut into consecutive windows, the last one ending
    with the curve, and tokens are averaged over all of them, as the authors' `encode` joins them.
    In each window times and magnitudes have their mean taken off. ASTROMER is a single-band model
    and the authors give no rule for several bands: every band is embedded by itself and the
    embeddings are averaged, weighted by the number of observations (`bands="mean"`), or the band
    with most observations is taken (`bands="best"`).

    Args:
        width, heads, hidden, depth: of the transformer; window: observations; base: of the
            position encoding;
        photometry: "flux" (turned into magnitudes by `magnitudes`) or "magnitude".
    """

    modality: ClassVar[str] = "astronomy"
    input: ClassVar[dict[str, Any]] = {"towers": ("photometry",)}

    def __init__(
        self,
        width: int = 256,
        heads: int = 4,
        hidden: int = 128,
        depth: int = 2,
        window: int = 200,
        base: float = 10_000.0,
        bands: Bands = "mean",
        photometry: Literal["flux", "magnitude"] = "flux",
    ) -> None:
        super().__init__()
        if photometry not in ("flux", "magnitude"):
            raise EncoderError(f"photometry is {photometry!r}: use 'flux' or 'magnitude'")
        self.window = window
        self.base = base
        self.bands: Bands = bands
        self.photometry = photometry
        self.inp_transform = nn.Linear(1, width)
        self.enc_layers = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))

    def load_checkpoint(self, entries: Mapping[str, Any]) -> None:
        """Load a converted Keras checkpoint (`astromer_checkpoint.py` says which names)."""
        fit(self, module_tensors(entries))

    def forward(self, photometry: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, 4), (B,) -> (B, width)."""
        return self.layers(photometry, lengths)[-1]

    def layers(self, photometry: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, 4), (B,) -> (1 + depth, B, width): mean input embedding, mean of each block.

        Runs in float32 throughout: without residual connections the published weights amplify
        the rounding of bfloat16 to a cosine of 0.9986 with float32.
        """
        with torch.autocast(photometry.device.type, enabled=False):
            curves = band_curves(photometry, lengths, self.bands)
            values = magnitudes(curves) if self.photometry == "flux" else curves.flux
            times, values, mask, owner = windows(curves, values, self.window)
            totals = [
                (state * mask[..., None]).sum(1) for state in self.tokens(times, values, mask)
            ]
            curve = torch.arange(len(curves.counts), device=owner.device)[:, None]
            member = (owner == curve).float()
            count = (member @ mask.sum(1, keepdim=True)).clamp(min=1)
            return torch.stack([over_bands(member @ total / count, curves) for total in totals])

    def tokens(self, times: Tensor, values: Tensor, mask: Tensor) -> list[Tensor]:
        """Centred times, magnitudes and mask (1 observed, 0 padding), (P, L) each -> the input
        embedding and the output of every block, (P, L, width) each."""
        padded = 1 - mask
        bias = (padded[:, :, None] + padded[:, None, :]).clamp(max=1)[:, None] * MASKED
        hidden = self.inp_transform(values[..., None])
        hidden = hidden + position_encoding(times, hidden.shape[-1], self.base)
        states = [hidden]
        for block in self.enc_layers:
            states.append(block(states[-1], bias))
        return states


def windows(curves: BandCurves, values: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut (P, M) values of single-band curves into windows of `size`, padded by zeros.

    Returns times and values without their means over the window and the mask, (W, size) each, and
    the curve that each window belongs to, (W,). The last window of a long curve starts where it
    ends with the curve; an empty curve has one window, all padding.
    """
    counts = curves.counts
    each = (-(-counts // size)).clamp(min=1)
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), each)
    number = torch.arange(len(owner), device=counts.device) - (each.cumsum(0) - each)[owner]
    start = torch.minimum(number * size, (counts[owner] - size).clamp(min=0))
    step = torch.arange(size, device=counts.device)
    mask = step < counts[owner, None]
    place = (start[:, None] + step).clamp(max=values.shape[1] - 1)
    cut = torch.stack([curves.time[owner[:, None], place], values[owner[:, None], place]])
    mean = (cut * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
    times, centred = ((cut - mean) * mask).float()
    return times, centred, mask.float(), owner
