"""Pitch, room, noise and level of a rendering."""

import numpy as np
import pytest

from tasks.audio.recordings import RATE
from tasks.audio.rendering import (
    coloured_noise,
    one_shot,
    quantise,
    repitch,
    reverberate,
    room,
)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


@pytest.mark.parametrize("semitones", [-4.0, 0.0, 3.0, 12.0])
def test_repitch_moves_pitch_and_duration(semitones):
    shifted = repitch(tone(440), semitones)
    assert len(shifted) == pytest.approx(RATE / 2 ** (semitones / 12), abs=2)
    peak = np.abs(np.fft.rfft(shifted * np.hanning(len(shifted)), 8 * RATE)).argmax() / 8
    assert peak == pytest.approx(440 * 2 ** (semitones / 12), abs=1)


@pytest.mark.parametrize(("decay", "ratio"), [(0.3, 0.0), (0.6, 10.0)])
def test_room_has_the_reverberation_time_and_ratio_asked_for(decay, ratio):
    response = room(decay, ratio, np.random.default_rng(0)).astype(float)
    assert response[0] == 1
    assert not response[1:40].any()
    assert -10 * np.log10((response[1:] ** 2).sum()) == pytest.approx(ratio, abs=0.01)
    remaining = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1])  # Schroeder's integration
    time = np.arange(len(remaining)) / RATE
    fit = (time > 0.02) & (remaining > remaining[0] - 25)
    slope = np.polyfit(time[fit], remaining[fit], 1)[0]
    assert -60 / slope == pytest.approx(decay, rel=0.1)


def test_reverberate_is_convolution():
    rng = np.random.default_rng(1)
    wave, response = rng.standard_normal(300), rng.standard_normal(50)
    wet = reverberate(wave.astype(np.float32), response.astype(np.float32), 280)
    np.testing.assert_allclose(wet, np.convolve(wave, response)[:280], atol=1e-4)


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_has_unit_level_and_the_slope_asked_for(slope):
    from scipy.signal import welch

    noise = coloured_noise(8 * RATE + 7, slope, np.random.default_rng(2))
    assert noise.shape == (8 * RATE + 7,)
    assert np.sqrt((noise.astype(float) ** 2).mean()) == pytest.approx(1, abs=1e-3)
    frequency, density = welch(noise, RATE, nperseg=4096)
    band = (frequency > 100) & (frequency < 6000)
    fitted = np.polyfit(np.log(frequency[band]), np.log(density[band]), 1)[0]
    assert -fitted == pytest.approx(slope, abs=0.1)


def test_quantise_sets_the_peak():
    assert np.abs(quantise(tone(100), -6.0206)).max() == pytest.approx(32767 / 2, abs=2)


def test_rendering_depends_on_its_generator_only():
    state = np.random.get_state()[1].copy()
    first, again, other = (one_shot(tone(300, 0.2), np.random.default_rng(s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).any()
    assert first.dtype == np.int16
    assert 32767 * 10 ** (-24.1 / 20) < np.abs(first.astype(int)).max() < 32767
    np.testing.assert_array_equal(np.random.get_state()[1], state)
