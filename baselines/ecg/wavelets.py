"""Wavelet transforms as torch convolutions."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from baselines.ecg.beats import MARGIN, extended


@cache
def _filters(name: str) -> tuple[Tensor, Tensor]:
    import pywt

    low, high = pywt.Wavelet(name).filter_bank[:2]
    return torch.tensor(low), torch.tensor(high)


def wavelet_energies(signal: Tensor, wavelet: str = "sym4", levels: int = 7) -> Tensor:
    """(B, L, T) -> (B, L, levels + 1) energy of the details, finest first, then the rest.

    The discrete wavelet transform of `pywt.wavedec(..., mode="zero")`: zeros after the valid
    samples add nothing.
    """
    low, high = (taps.to(signal) for taps in _filters(wavelet))
    bank = torch.stack([low, high]).flip(1)[:, None]
    taps = bank.shape[2]
    batch, leads, _ = signal.shape
    rest, energies = signal.reshape(batch * leads, 1, -1), []
    for _ in range(levels):
        size = rest.shape[2]
        both = conv1d(pad(rest, (taps - 2, taps - 1 + size % 2)), bank, stride=2)
        both = both[..., : (size + taps - 1) // 2]
        energies.append(both[:, 1].square().sum(1))
        rest = both[:, :1]
    energies.append(rest[:, 0].square().sum(1))
    return torch.stack(energies, 1).reshape(batch, leads, -1)


def spline_scales(signal: Tensor, lengths: Tensor, scales: int = 5) -> Tensor:
    """(B, L, T) -> (B, scales, L, T): undecimated quadratic-spline wavelet at 2, 4, ... samples.

    The transform of the ECG delineator of Martínez et al. (2004, IEEE Trans. Biomed. Eng. 51:570);
    it is the derivative of the smoothed signal, so slopes have their sign. Aligned in time to half
    a sample.
    """
    batch, leads, size = signal.shape
    rest = extended(signal, lengths).reshape(batch * leads, 1, -1)
    low = torch.tensor([1.0, 3.0, 3.0, 1.0]).to(signal)[None, None] / 8
    high = torch.tensor([-2.0, 2.0]).to(signal)[None, None]
    out = []
    for scale in range(scales):
        step = 2**scale
        detail = conv1d(pad(rest, (step // 2, step - step // 2)), high, dilation=step)
        rest = conv1d(pad(rest, (3 * step // 2, 3 * step - 3 * step // 2)), low, dilation=step)
        out.append(detail[:, 0, MARGIN : MARGIN + size].reshape(batch, leads, size))
    return torch.stack(out, 1)
