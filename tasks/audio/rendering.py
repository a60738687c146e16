"""How a recording is played and picked up: pitch, room, level and background noise.

Everything is drawn from the generator that is passed in; nothing else is random.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.audio.recordings import RATE

Wave = NDArray[np.float32]
TAIL = 0.5  # longest reverberation that is kept after the sound, seconds


def repitch(wave: Wave, semitones: float) -> Wave:
    """Play (T,) faster or slower, as a sampler does: pitch and duration change together."""
    import soxr

    shifted: Wave = soxr.resample(wave, RATE * 2 ** (semitones / 12), RATE)
    return shifted.astype(np.float32)


def room(decay: float, direct_to_reverberant: float, rng: np.random.Generator) -> Wave:
    """Impulse response (L,) of a diffuse room: a unit impulse, then decaying Gaussian noise.

    Polack's statistical model (La transmission de l'energie sonore dans les salles, 1988): after
    the direct sound the response is white noise under an exponential of reverberation time
    `decay` (seconds to -60 dB); `direct_to_reverberant` is the energy ratio in dB. The first
    reflection comes 3 to 15 ms after the direct sound.
    """
    length = round(min(decay, 2 * TAIL) * RATE)
    time = np.arange(length, dtype=np.float32) / RATE
    response = rng.standard_normal(length, np.float32) * 10 ** (-3 * time / decay)
    response[: round(rng.uniform(0.003, 0.015) * RATE)] = 0
    response *= 10 ** (-direct_to_reverberant / 20) / np.sqrt((response**2).sum())
    response[0] = 1
    return response.astype(np.float32)


def reverberate(wave: Wave, response: Wave, keep: int) -> Wave:
    """Convolve (T,) with an impulse response; the first `keep` samples."""
    from scipy.signal import oaconvolve

    wet: Wave = oaconvolve(wave, response)[:keep]
    return wet.astype(np.float32)


def coloured_noise(length: int, slope: float, rng: np.random.Generator) -> Wave:
    """Gaussian noise (length,) of unit RMS, power falling as 1 / f**slope above 20 Hz."""
    from scipy.fft import irfft, next_fast_len

    size = next_fast_len(length, real=True)
    bins = rng.standard_normal((2, size // 2 + 1), np.float32)
    frequency = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(RATE / size)
    shape = np.maximum(frequency, np.float32(20)) ** np.float32(-slope / 2)
    shape[0] = 0
    noise: Wave = irfft((bins[0] + 1j * bins[1]) * shape, size)[:length]
    return noise / np.sqrt((noise**2).mean())


def quantise(wave: Wave, peak_db: float) -> NDArray[np.int16]:
    """Scale the peak to `peak_db` below full scale and round to 16 bits."""
    scale = 10 ** (peak_db / 20) * 32767 / float(np.abs(wave).max())
    return np.round(wave * scale).astype(np.int16)


def one_shot(wave: Wave, rng: np.random.Generator) -> NDArray[np.int16]:
    """One rendering (T',) of a recording.

    Pitch within 4 semitones, 0 to 0.3 s before the sound, a room of 0.15 to 1 s (log-uniform) with
    0 to 15 dB direct-to-reverberant ratio, noise of slope 0 to 2 at 5 to 30 dB under the sound's
    RMS, peak 24 to 1 dB below full scale.
    """
    sound = repitch(wave, rng.uniform(-4, 4))
    lead = round(rng.uniform(0, 0.3) * RATE)
    decay = float(np.exp(rng.uniform(np.log(0.15), np.log(1.0))))
    dry = np.pad(sound, (lead, round(min(decay, TAIL) * RATE)))
    wet = reverberate(dry, room(decay, rng.uniform(0, 15), rng), len(dry))
    level = float(np.sqrt((wet[lead : lead + len(sound)] ** 2).mean()))
    noise = coloured_noise(len(wet), rng.uniform(0, 2), rng)
    noisy = wet + level * 10 ** (-rng.uniform(5, 30) / 20) * noise
    return quantise(noisy, rng.uniform(-24, -1))
