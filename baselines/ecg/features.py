"""Classical ECG features: rate and RR statistics, median beat, atrial spectrum and wavelets."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from baselines.ecg.beats import (
    AFTER,
    BEFORE,
    RATE,
    beat_windows,
    median_beat,
    qrs_envelope,
    r_peaks,
    valid_mask,
    without_beats,
)
from baselines.ecg.wavelets import spline_scales, wavelet_energies

INDEPENDENT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")  # the other four follow from I and II
II, V1 = 1, 2


def _masked_stats(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, standard deviation, minimum, maximum over the valid entries of (B, N); 0 if none."""
    count = valid.sum(1).clamp(min=1)
    mean = (values * valid).sum(1) / count
    std = (((values - mean[:, None]) * valid).square().sum(1) / count).sqrt()
    low = values.masked_fill(~valid, torch.inf).amin(1)
    high = values.masked_fill(~valid, -torch.inf).amax(1)
    some = valid.any(1)
    return mean, std, torch.where(some, low, 0.0), torch.where(some, high, 0.0)


def _median(values: Tensor, valid: Tensor) -> Tensor:
    return values.masked_fill(~valid, torch.nan).nanmedian(1).values.nan_to_num(0.0)


def rr_features(peaks: Tensor, valid: Tensor) -> Tensor:
    """(B, 13): rate, and the spread, extremes and successive differences of the RR intervals."""
    rr = (peaks[:, 1:] - peaks[:, :-1]) / RATE
    ok = valid[:, 1:]
    if rr.shape[1] < 2:
        rr = torch.nn.functional.pad(rr, (0, 2 - rr.shape[1]))
        ok = torch.nn.functional.pad(ok, (0, 2 - ok.shape[1]))
    typical = _median(rr, ok).clamp(min=0.2)
    relative = rr / typical[:, None]
    mean, _, _, _ = _masked_stats(rr, ok)
    _, std, low, high = _masked_stats(relative, ok)
    change = relative[:, 1:] - relative[:, :-1]
    pairs = ok[:, 1:]
    # after an early ventricular beat the pause compensates: two intervals add to twice the usual
    early = relative[:, :-1] < 0.85
    sums = relative[:, :-1] + relative[:, 1:]
    compensation = torch.where(early & pairs, sums, 2.0)
    absolute, _, _, largest = _masked_stats(change.abs(), pairs)
    rate = 60 / mean.clamp(min=0.2) * ok.any(1)
    columns = [
        rate / 100,
        (rate / 100) ** 2,
        typical,
        std,
        low,
        high,
        absolute,
        largest,
        _masked_stats((change.abs() > 0.1).float(), pairs)[0],
        _masked_stats((relative < 0.85).float(), ok)[0],
        _masked_stats((relative > 1.15).float(), ok)[0],
        compensation.amin(1),
        compensation.amax(1),
    ]
    return torch.stack(columns, 1)


def beat_features(beats: Tensor, inside: Tensor, template: Tensor) -> Tensor:
    """(B, 11): QRS duration of the median beat, and how much the single beats differ from it."""
    speed = (template[..., 1:] - template[..., :-1]).square().sum(1).sqrt()
    near = speed[:, BEFORE - 35 : BEFORE + 40]
    peak = near.amax(1, keepdim=True).clamp(min=1e-6)
    widths = [(near > share * peak).sum(1) / RATE * 10 for share in (0.08, 0.15, 0.3)]
    a, b = BEFORE - 30, BEFORE + 50
    one, mean = beats[..., a:b].transpose(1, 2).flatten(2), template[..., a:b].flatten(1)[:, None]
    one, mean = one - one.mean(2, keepdim=True), mean - mean.mean(2, keepdim=True)
    size = one.norm(dim=2)
    likeness = (one * mean).sum(2) / (size * mean.norm(dim=2)).clamp(min=1e-6)
    usual, spread, lowest, _ = _masked_stats(likeness, inside)
    gain = size / mean.norm(dim=2).clamp(min=1e-6)
    _, gain_spread, _, gain_top = _masked_stats(gain, inside)
    strange = _masked_stats((likeness < 0.8).float(), inside)[0]
    atrial = beats[..., BEFORE - 65 : BEFORE - 22]
    noise = (atrial - template[:, :, None, BEFORE - 65 : BEFORE - 22]).square().mean((1, 3))
    power = template[..., BEFORE - 65 : BEFORE - 22].var(-1).mean(1)
    unlike = _masked_stats(noise, inside)[0]
    columns = [*widths, usual, spread, lowest, gain_spread, gain_top, strange]
    columns += [(power + 1e-6).log(), (unlike + 1e-6).log()]
    return torch.stack(columns, 1)


def spectrum(signal: Tensor, lengths: Tensor) -> Tensor:
    """(B, L, T) -> (B, L, 36) log power at 3 to 11.75 Hz by 0.25 Hz (f and flutter waves)."""
    mask = valid_mask(lengths, signal.shape[2])
    when = torch.arange(signal.shape[2], device=signal.device, dtype=signal.dtype) / RATE
    turns = 2 * torch.pi * when[:, None] * torch.arange(3, 12, 0.25).to(signal)
    seconds = (lengths / RATE).clamp(min=0.1)[:, None, None]
    masked = signal * mask[:, None]
    cosine, sine = masked @ turns.cos() / RATE, masked @ turns.sin() / RATE
    return ((cosine.square() + sine.square()) / seconds + 1e-6).log()


class EcgFeatures(torch.nn.Module):
    """Rate, RR, median-beat, spectral and wavelet features of a 12-lead ECG.

    Computed in float32 also under autocast: peaks are told apart by small differences.
    """

    modality: ClassVar[str] = "ecg"
    input: ClassVar[dict[str, Any]] = {"sample_rate": RATE, "leads": INDEPENDENT}
    frame_rate: ClassVar[float] = 50.0

    def _centred(self, signal: Tensor, lengths: Tensor) -> Tensor:
        mask = valid_mask(lengths, signal.shape[2])[:, None]
        mean = (signal * mask).sum(2, keepdim=True) / lengths.clamp(min=1)[:, None, None]
        return (signal - mean) * mask

    def forward(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, 8, T) mV at 250 Hz, (B,) valid samples -> (B, 552)."""
        with torch.autocast(signal.device.type, enabled=False):
            return self._record(signal, lengths)

    def _record(self, signal: Tensor, lengths: Tensor) -> Tensor:
        signal = self._centred(signal.float(), lengths)
        peaks, valid = r_peaks(signal, lengths)
        beats, inside = beat_windows(signal, lengths, peaks, valid)
        template = median_beat(beats, inside)
        shape = template.reshape(*template.shape[:2], -1, 5).mean(3)  # 20 ms steps
        two = [II, V1]
        rest = without_beats(signal[:, two], peaks, valid, template[:, two])
        tones = spectrum(torch.cat([rest, signal[:, two]], 1), lengths)
        energy = wavelet_energies(signal) / lengths.clamp(min=1)[:, None, None]
        parts = [
            rr_features(peaks, valid),
            beat_features(beats, inside, template),
            shape.flatten(1),
            tones.flatten(1),
            (energy + 1e-7).log().flatten(1),
        ]
        return torch.cat(parts, 1)

    def frames(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, 8, T) mV at 250 Hz, (B,) -> (B, T / 5, 175) at 50 Hz.

        Log power of the spline wavelet at five scales and of the QRS band, with neighbours up to
        0.32 s away, and the time since the last and to the next R peak.
        """
        with torch.autocast(signal.device.type, enabled=False):
            return self._frames(signal, lengths)

    def _frames(self, signal: Tensor, lengths: Tensor) -> Tensor:
        signal = self._centred(signal.float(), lengths)
        scales = spline_scales(signal, lengths).square().mean(2)
        slow = qrs_envelope(signal, lengths).square()[:, None]
        power = torch.cat([scales, slow], 1)
        power = torch.nn.functional.pad(power, (0, -power.shape[2] % 5))
        mask = valid_mask(lengths, power.shape[2])[:, None]
        count = mask.reshape(len(mask), 1, -1, 5).sum(3)
        level = ((power * mask).reshape(*power.shape[:2], -1, 5).sum(3) / count.clamp(min=1)) + 1e-7
        usual = (power * mask).sum(2) / lengths.clamp(min=1)[:, None] + 1e-7
        level = (level / usual[..., None]).log() * (count > 0)
        wide = torch.nn.functional.pad(level, (16, 16))
        size = level.shape[2]
        offsets = (-16, -13, -10, -8, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
        context = torch.cat([wide[:, :, 16 + k : 16 + k + size] for k in offsets], 1)
        return torch.cat([context, self._clock(signal, lengths, size)], 1).transpose(1, 2)

    def _clock(self, signal: Tensor, lengths: Tensor, size: int) -> Tensor:
        """(B, 49, T'): bells every 40 ms over the time since the last and to the next R peak."""
        peaks, valid = r_peaks(signal, lengths)
        centre = torch.arange(size, device=signal.device) * 5 + 2
        ahead = (peaks[:, None, :] - centre[None, :, None]) / RATE
        far = float(AFTER)
        after = torch.where(valid[:, None] & (ahead > 0), ahead, far).amin(2)
        before = torch.where(valid[:, None] & (ahead <= 0), -ahead, far).amin(2)
        grid = torch.arange(0, 0.98, 0.04).to(signal)
        since = torch.exp(-0.5 * ((before[:, None] - grid[:, None]) / 0.03).square())
        until = torch.exp(-0.5 * ((after[:, None] - grid[1:, None]) / 0.03).square())
        return torch.cat([since, until], 1)
