"""When the heart beats: RR series of sinus rhythm and of the arrhythmias, and atrial activity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NORMAL, PAC, PVC = 0, 1, 2  # forms of beats


@dataclass(frozen=True)
class Rhythm:
    """R peaks `peaks` (n,) s (some outside the record), the form `kind` (n,) of every beat,
    `before` (n,) s the preceding RR interval, and `atrial` (3, T) mV in place of P waves."""

    peaks: Array
    kind: Array
    before: Array
    atrial: Array | None = None

    def rate(self, seconds: float) -> float:
        """Mean ventricular rate (1 / min) over the record."""
        seen = self.peaks[(self.peaks >= 0) & (self.peaks < seconds)]
        return 60 * (len(seen) - 1) / float(seen[-1] - seen[0])


def sinus_intervals(rng: np.random.Generator, rate: float, spread: float, count: int) -> Array:
    """(count,) RR intervals in s around 60 / rate with standard deviation `spread` (relative).

    The tachogram is a sum of sinusoids from the bimodal spectrum of McSharry et al. (2003):
    Mayer waves at 0.1 Hz and respiration at 0.25 Hz, both with a width of 0.01 Hz.
    """
    mean = 60 / rate
    when = np.arange(count) * mean
    ratio = rng.uniform(0.3, 1.5)  # LF / HF power
    series = np.zeros(count)
    for centre, power in ((0.1, ratio), (0.25, 1.0)):
        frequency = rng.normal(centre, 0.01, 5)
        phase = rng.uniform(0, 2 * np.pi, 5)
        waves = np.sin(2 * np.pi * frequency[:, None] * when + phase[:, None]).sum(0)
        series += np.sqrt(power / (1 + ratio)) * waves * np.sqrt(2 / 5)
    return np.asarray(mean * np.clip(1 + spread * series, 0.6, 1.6))


def _from_intervals(start: float, intervals: Array, kind: Array | None = None) -> Rhythm:
    peaks = start + np.cumsum(intervals)
    kinds = np.zeros(len(peaks), int) if kind is None else kind
    return Rhythm(peaks, kinds, intervals)


def _count(rate: float, seconds: float) -> int:
    return int(1.6 * (seconds + 3) * rate / 60) + 4


def sinus(rng: np.random.Generator, rate: float, spread: float, seconds: float) -> Rhythm:
    """Sinus rhythm with heart-rate variability."""
    intervals = sinus_intervals(rng, rate, spread, _count(rate, seconds))
    return _from_intervals(-rng.uniform(1, 2) * 60 / rate, intervals)


def ectopic(
    rng: np.random.Generator, rate: float, spread: float, seconds: float, kind: int, often: float
) -> Rhythm:
    """Sinus rhythm with premature atrial (PAC) or ventricular (PVC) beats, at least one.

    A PVC is followed by a full compensatory pause, a PAC by a nearly normal interval. `often` is
    the chance of a repeating pattern (every second or third beat).
    """
    base = sinus(rng, rate, spread, seconds)
    intervals, kinds = base.before.copy(), base.kind.copy()
    inside = np.flatnonzero((base.peaks > 0.6) & (base.peaks < seconds - 0.4))
    if rng.random() < often:
        period = int(rng.integers(2, 4))
        chosen = inside[int(rng.integers(period)) :: period]
    else:
        chosen = rng.choice(inside, int(rng.integers(1, 4)))
    for i in np.unique(chosen):
        if kinds[i - 1] != NORMAL:
            continue
        whole = intervals[i]
        intervals[i] *= rng.uniform(0.52, 0.8) if kind == PVC else rng.uniform(0.6, 0.88)
        pause = 2 * whole - intervals[i] if kind == PVC else whole * rng.uniform(1.0, 1.15)
        intervals[i + 1] = pause * rng.normal(1, 0.015)
        kinds[i] = kind
    start = float(base.peaks[0] - base.before[0])
    return _from_intervals(start, intervals, kinds)


def fibrillation(
    rng: np.random.Generator, rate: float, spread: float, size: float, seconds: float, hz: float
) -> Rhythm:
    """Atrial fibrillation: independent, right-skewed RR intervals and fibrillatory waves.

    The f waves are the modulated sawtooth of Stridh and Sörnmo (2001, IEEE Trans. Biomed. Eng.
    48:105): a fundamental of 4 to 8 Hz whose frequency wanders, with two harmonics. `size` mV.
    """
    shape = 4.0
    skewed = (rng.gamma(shape, size=_count(rate, seconds)) - shape) / np.sqrt(shape)
    intervals = np.maximum(60 / rate * (1 + spread * skewed), 0.28)
    rhythm = _from_intervals(-rng.uniform(1, 2) * 60 / rate, intervals)
    when = np.arange(round(seconds * hz)) / hz
    atrial = np.zeros((3, len(when)))
    for main in (rng.uniform(4.5, 7.5), rng.uniform(5, 8.5)):  # two wavefronts
        wander = rng.uniform(0.1, 0.35) * np.sin(
            2 * np.pi * rng.uniform(0.1, 0.5) * when + rng.uniform(0, 6.3)
        )
        phase = 2 * np.pi * main * when + wander / 0.3 * np.pi + rng.uniform(0, 6.3)
        swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 0.6) * when + rng.uniform(0, 6.3))
        saw = sum(np.sin(k * phase) / k for k in (1, 2, 3))
        direction = rng.normal(0, 1, 3) + np.array([-0.3, 0.8, -1.2])  # largest in V1 and II
        atrial += (direction / np.linalg.norm(direction))[:, None] * (size * swell * saw)
    return Rhythm(rhythm.peaks, rhythm.kind, rhythm.before, atrial)


def flutter(
    rng: np.random.Generator, atrial_rate: float, ratio: int, size: float, seconds: float, hz: float
) -> Rhythm:
    """Typical atrial flutter: a steady sawtooth and conduction of every `ratio`-th cycle.

    `ratio` 0 means block that varies between 2:1 and 4:1 from beat to beat.
    """
    cycle = 60 / atrial_rate
    count = _count(atrial_rate / 2, seconds)
    steps = np.full(count, ratio) if ratio else rng.integers(2, 5, count)
    intervals = steps * cycle * rng.normal(1, 0.008, count)
    rhythm = _from_intervals(-rng.uniform(1, 2) * steps[0] * cycle, intervals)
    phase = 2 * np.pi * np.arange(round(seconds * hz)) / hz / cycle + rng.uniform(0, 6.3)
    saw = sum((-1) ** k * np.sin(k * phase) / k for k in (1, 2, 3, 4))
    direction = np.array([-0.1, -1.0, -0.5]) + rng.normal(0, 0.2, 3)  # negative in II, III, aVF
    atrial = (direction / np.linalg.norm(direction))[:, None] * (size * saw)
    return Rhythm(rhythm.peaks, rhythm.kind, rhythm.before, atrial)
