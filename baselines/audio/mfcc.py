"""Statistics of MFCCs, log-mel bands and spectral shape: the classical audio features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.audio.log_mel import HOP, MELS, RATE, LogMel, deltas, hold_last, shift, standardise

COEFFICIENTS = 20
REACH = 5  # half of the onset context, in frames of 20 ms


class MfccStatistics(nn.Module):
    """Clip level: mean, deviation and maximum over time; frame level: spectrum and its change.

    Clip embedding: MFCCs with first and second differences, log-mel bands, spectral flux,
    centroid, bandwidth, roll-off, flatness, zero crossings, attack and duration. Frame embedding
    (50 Hz): MFCCs, log-mel bands and their half-wave rectified change over several spans up to
    100 ms around the frame (spectral flux by band, as in Boeck & Widmer 2013, "Maximum filter
    vibrato suppression for onset detection").
    """

    modality = "audio"
    input = {"sample_rate": RATE, "seconds": 10.0}
    frame_rate = 50.0

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.functional import create_dct

        self.log_mel = LogMel()
        self.register_buffer("dct", create_dct(COEFFICIENTS, MELS, "ortho"), persistent=False)
        self.dct: Tensor

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, D)."""
        power, bands = self.log_mel(waveform, lengths)
        counts = (-(-lengths // HOP)).clamp(1, bands.shape[1])
        mask = torch.arange(bands.shape[1], device=bands.device) < counts[:, None]
        bands = hold_last(standardise(bands), counts)
        mfcc = bands @ self.dct
        slope = hold_last(deltas(mfcc), counts)
        flux = (bands - shift(bands, -2)).clamp(min=0)
        shape = spectral_shape(power)
        crossings = zero_crossings(waveform, lengths, bands.shape[1])
        tracks = torch.cat([bands, mfcc, shape, crossings], -1)
        mean, deviation, _ = moments(tracks, mask)
        change = torch.cat([slope, deltas(slope), flux], -1)
        average, spread, peak = moments(change, mask)
        loudest = bands.masked_fill(~mask[..., None], -torch.inf).amax(1)
        return torch.cat(
            [
                mean,
                deviation,
                loudest - mean[:, :MELS],
                average[:, 2 * COEFFICIENTS :],
                spread,
                peak[:, 2 * COEFFICIENTS :],
                envelope(power, mask, counts),
            ],
            -1,
        )

    def frames(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(B, T), (B,) to (B, T', D), T' = ceil(T / 320)."""
        _, fine = self.log_mel(waveform, lengths)
        bands = fine.unflatten(1, (-1, 2)).mean(2)
        counts = (-(-lengths // (2 * HOP))).clamp(1, bands.shape[1])
        bands = hold_last(standardise(bands), counts)
        mfcc = bands @ self.dct
        rise = hold_last((bands - shift(bands, -2)).clamp(min=0), counts)
        near = torch.stack([shift(rise, n) for n in range(-1, 4)]).amax(0)
        after = torch.stack([shift(bands, n) for n in range(REACH)]).amax(0)
        before = torch.stack([shift(bands, -n) for n in range(1, REACH)]).mean(0)
        later = torch.stack([shift(rise, n) for n in range(4, 8)]).amax(0)
        return torch.cat([mfcc, deltas(mfcc), rise, near, later, after - before, bands], -1)


def moments(tracks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and maximum of (B, K, D) over the frames where `mask` holds."""
    weight = mask[..., None].to(tracks.dtype)
    count = weight.sum(1)
    mean = (tracks * weight).sum(1) / count
    deviation = ((tracks - mean[:, None]).square() * weight).sum(1) / count
    highest = tracks.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return mean, deviation.sqrt(), highest


def spectral_shape(power: Tensor) -> Tensor:
    """Centroid, bandwidth, 85% roll-off (kHz) and log flatness (B, K, 4) of (B, K, bins).

    Definitions of librosa's `spectral_*`, on magnitudes, except flatness (power, natural log).
    """
    frequency = torch.linspace(0, RATE / 2000, power.shape[-1], device=power.device)
    magnitude = power.sqrt() + 1e-10
    share = magnitude / magnitude.sum(-1, keepdim=True)
    centroid = share @ frequency
    bandwidth = (share * (frequency - centroid[..., None]).square()).sum(-1).sqrt()
    below = (share.cumsum(-1) < 0.85).sum(-1).clamp(max=power.shape[-1] - 1)
    floor = power.clamp(min=1e-10)
    flatness = floor.log().mean(-1) - floor.mean(-1).log()
    return torch.stack([centroid, bandwidth, frequency[below], flatness], -1)


def zero_crossings(waveform: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """Share of sign changes in every block of 10 ms, (B, frames, 1); none beyond the clip."""
    valid = torch.arange(waveform.shape[1], device=waveform.device) < lengths[:, None]
    negative = waveform < 0
    change = (negative[:, 1:] != negative[:, :-1]) & valid[:, 1:]
    change = nn.functional.pad(change.float(), (1, frames * HOP - waveform.shape[1]))
    return change.unflatten(1, (frames, HOP)).mean(-1, keepdim=True)


def envelope(power: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """(B, 5): centre and spread of the energy in time, time of its peak, share of loud frames, log
    duration; seconds."""
    energy = power.sum(-1) * mask
    share = energy / energy.sum(1, keepdim=True).clamp(min=1e-10)
    time = torch.arange(power.shape[1], device=power.device) * (HOP / RATE)
    centre = share @ time
    spread = (share * (time - centre[:, None]).square()).sum(1).sqrt()
    highest = energy.amax(1, keepdim=True)
    loud = ((energy > 0.01 * highest) & mask).sum(1) * (HOP / RATE)
    peak = time[energy.argmax(1)]
    return torch.stack([centre, spread, peak, loud, (counts * (HOP / RATE)).log()], -1)
