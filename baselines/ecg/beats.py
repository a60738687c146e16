"""R peaks, RR intervals and the median beat of a batch of ECGs, in batched torch operations."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, max_pool1d

RATE = 250  # Hz; every length below is in samples at this rate
BEFORE, AFTER = 75, 125  # a beat: 0.3 s before to 0.5 s after its R peak
MARGIN = 160  # samples of edge extension, more than any filter reaches


def valid_mask(lengths: Tensor, size: int) -> Tensor:
    """(B, size) bool, true for valid samples."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def extended(signal: Tensor, lengths: Tensor) -> Tensor:
    """(B, L, T + 2 MARGIN): first and last valid sample held, whatever the padding contains."""
    steps = torch.arange(-MARGIN, signal.shape[2] + MARGIN, device=signal.device)
    index = torch.minimum(steps.clamp(min=0)[None], lengths.clamp(min=1)[:, None] - 1)
    return signal.gather(2, index[:, None].expand(-1, signal.shape[1], -1))


@cache
def _band_pass() -> Tensor:
    from scipy.signal import firwin

    return torch.tensor(firwin(101, (6, 22), pass_zero=False, fs=RATE), dtype=torch.float32)


def qrs_envelope(signal: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) rms over leads of the 6 to 22 Hz band, smoothed over 100 ms; 0 beyond `lengths`.

    The band and the order of steps (band-pass, square, integrate) follow Pan & Tompkins (1985,
    IEEE Trans. Biomed. Eng. 32:230), with all leads in place of one and without the derivative.
    """
    batch, leads, size = signal.shape
    wide = extended(signal, lengths)
    taps = _band_pass().to(signal)[None, None]
    band = conv1d(wide.reshape(batch * leads, 1, -1), taps, padding=50).reshape(wide.shape)
    window = torch.hann_window(27, periodic=False, dtype=signal.dtype, device=signal.device)
    power = conv1d(band.square().mean(1, keepdim=True), (window / window.sum())[None, None])
    start = MARGIN - 13
    envelope = power[:, 0, start : start + size].clamp(min=0).sqrt()
    return envelope * valid_mask(lengths, size)


def r_peaks(signal: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Find QRS complexes.

    Args:
        signal: (B, L, T) mV at 250 Hz.
        lengths: (B,) valid samples.

    Returns:
        peaks (B, N) sample indices in ascending order and their validity (B, N). A peak is the
        highest point of the envelope within 0.2 s and above 0.35 of the record's usual height,
        the median over 2 s pieces of their maxima.
    """
    envelope = qrs_envelope(signal, lengths)
    size = envelope.shape[1]
    piece = 2 * RATE
    padded = torch.nn.functional.pad(envelope, (0, -size % piece))
    highest = padded.reshape(len(envelope), -1, piece).amax(2)
    starts = torch.arange(highest.shape[1], device=signal.device) * piece
    whole = (lengths[:, None] - starts >= piece // 2) | (starts == 0)
    usual = highest.masked_fill(~whole, float("nan")).nanmedian(1).values
    reach = RATE // 5
    top = max_pool1d(envelope[:, None], 2 * reach + 1, 1, reach)[:, 0]
    limit = torch.clamp(0.35 * usual, min=0.003)[:, None]
    found = (envelope == top) & (envelope > limit)
    count = max(int(found.sum(1).max()), 1)
    steps = torch.arange(size, device=signal.device).expand_as(envelope)
    peaks = steps.masked_fill(~found, size).sort(1).values[:, :count]
    valid = peaks < size
    return peaks.masked_fill(~valid, 0), valid


def beat_windows(
    signal: Tensor, lengths: Tensor, peaks: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, L, N, 200) the beats, each less its PR level, and (B, N) which lie wholly inside.

    The PR level of a lead is its mean from 0.1 to 0.06 s before the R peak; it takes the wandering
    baseline out.
    """
    inside = valid & (peaks >= BEFORE) & (peaks + AFTER <= lengths[:, None])
    offsets = torch.arange(-BEFORE, AFTER, device=signal.device)
    index = (peaks[..., None] + offsets).clamp(0, signal.shape[2] - 1)
    batch, leads = signal.shape[:2]
    flat = index.reshape(batch, 1, -1).expand(-1, leads, -1)
    beats = signal.gather(2, flat).reshape(batch, leads, *index.shape[1:])
    level = beats[..., BEFORE - 25 : BEFORE - 15].mean(-1, keepdim=True)
    return beats - level, inside


def median_beat(beats: Tensor, inside: Tensor) -> Tensor:
    """(B, L, 200) median over the beats that lie inside; zeros where there is none."""
    masked = beats.masked_fill(~inside[:, None, :, None], float("nan"))
    return masked.nanmedian(2).values.nan_to_num(0.0)


def without_beats(signal: Tensor, peaks: Tensor, valid: Tensor, template: Tensor) -> Tensor:
    """(B, L, T) what is left when every sample's nearest beat is subtracted."""
    size = signal.shape[2]
    steps = torch.arange(size, device=signal.device)
    away = (steps[None, :, None] - peaks[:, None, :]).abs()
    away = away.masked_fill(~valid[:, None, :], 10 * size)
    nearest = peaks.gather(1, away.argmin(2))
    offset = steps - nearest + BEFORE
    hit = (offset >= 0) & (offset < BEFORE + AFTER) & valid.any(1, keepdim=True)
    index = offset.clamp(0, BEFORE + AFTER - 1)[:, None].expand(-1, signal.shape[1], -1)
    return signal - template.gather(2, index) * hit[:, None]
