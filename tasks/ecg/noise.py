"""Recording noise at the nine electrodes, so that the leads' noise obeys Einthoven's law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _electrodes() -> Array:
    """(12, 9) leads from the potentials of RA, LA, LL, V1 ... V6."""
    ra, la, ll = np.eye(9)[:3]
    centre = (ra + la + ll) / 3  # Wilson's central terminal
    limbs = [la - ra, ll - ra, ll - la, 1.5 * (ra - centre), 1.5 * (la - centre)]
    limbs.append(1.5 * (ll - centre))
    return np.array(limbs + [row - centre for row in np.eye(9)[3:]], np.float32)


ELECTRODES = _electrodes()


@dataclass(frozen=True)
class NoiseLevels:
    """Levels of one record in mV: rms of baseline wander and muscle noise, amplitude of the mains;
    `mains_hz`; and how many electrode-motion artefacts there are."""

    wander: float
    muscle: float
    mains: float
    mains_hz: float
    motions: int
    burst: bool

    @classmethod
    def draw(cls, rng: np.random.Generator, mains_hz: float) -> NoiseLevels:
        """Log-normal levels from quiet to hardly readable records."""
        return cls(
            wander=0.045 * float(np.exp(0.7 * rng.normal())),
            muscle=0.011 * float(np.exp(0.7 * rng.normal())),
            mains=0.006 * float(np.exp(0.9 * rng.normal())),
            mains_hz=mains_hz,
            motions=int(rng.poisson(0.5)),
            burst=bool(rng.random() < 0.3),
        )


def _coloured(rng: np.random.Generator, length: int, rate: float, low: float, high: float) -> Array:
    """(9, length) Gaussian noise of unit rms with energy between low and high Hz only."""
    from scipy import fft

    bins = fft.rfftfreq(length, 1 / rate)
    band = np.flatnonzero((bins >= low) & (bins <= high))
    spectrum = np.zeros((9, len(bins)), np.complex64)
    draws = rng.standard_normal((2, 9, len(band)), np.float32)
    spectrum[:, band] = draws[0] + 1j * draws[1]
    unit = np.float32(length / (2 * len(band) ** 0.5))
    return np.asarray(fft.irfft(spectrum, length) * unit)


def _wander(rng: np.random.Generator, length: int, rate: float) -> Array:
    """(9, length), unit rms: respiration common to all electrodes and 1/f drift of each."""
    knots = np.arange(0, length + 20, 20)  # slow enough for linear interpolation
    when = knots / rate
    breath = np.sin(2 * np.pi * rng.uniform(0.15, 0.4) * when + rng.uniform(0, 6.3))
    common = rng.normal(0, 1, (9, 1)) * breath
    frequency = rng.uniform(0.05, 0.7, (9, 4))
    phase = rng.uniform(0, 6.3, (9, 4))
    size = rng.normal(0, 1, (9, 4)) * (0.15 / frequency)
    waves = np.sin(2 * np.pi * frequency[..., None] * when + phase[..., None])
    total = common + (size[..., None] * waves).sum(1)
    total /= max(float(total.std()), 1e-6)
    steps = np.arange(length)
    return np.array([np.interp(steps, knots, row) for row in total], np.float32)


def lead_noise(rng: np.random.Generator, levels: NoiseLevels, length: int, rate: float) -> Array:
    """(12, length) float32 noise in mV.

    Baseline wander below 0.7 Hz, muscle noise between 15 and 150 Hz (in bursts on some records),
    amplifier noise of 2 microvolt, mains with a third harmonic, and electrode motion: a jump of one
    electrode's potential that decays within a second.
    """
    when = np.arange(length, dtype=np.float32) / rate
    noise = levels.wander * _wander(rng, length, rate)
    swell: Array = np.ones(length, np.float32)
    if levels.burst:
        middle, width = rng.uniform(0, length / rate), rng.uniform(0.3, 1.5)
        swell = 1 + 2 * np.exp(-0.5 * ((when - middle) / width) ** 2)
    contact = np.exp(0.35 * rng.normal(size=(9, 1))).astype(np.float32)
    muscle = np.sqrt(levels.muscle**2 * swell**2 + 0.002**2).astype(np.float32)
    noise += contact * muscle * _coloured(rng, length, rate, 15, min(150, rate / 2))
    turns = 2 * np.pi * (levels.mains_hz * when + rng.random())
    hum = np.sin(turns) + 0.2 * np.sin(3 * turns)
    noise += (levels.mains * rng.normal(0, 1, (9, 1)) * hum).astype(np.float32)
    for _ in range(levels.motions):
        start, decay = rng.uniform(0, length / rate), rng.uniform(0.1, 0.5)
        since = np.maximum(when - start, 0)
        jump = rng.normal(0, 0.3) * (1 - np.exp(-since / 0.02)) * np.exp(-since / decay)
        noise[int(rng.integers(9))] += jump
    return np.asarray(ELECTRODES @ noise.astype(np.float32))
