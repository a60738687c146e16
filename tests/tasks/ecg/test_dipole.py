import numpy as np
import pytest

from tasks.ecg.dipole import DOWER, QRS, Beat, P, T, add_beats, extents, mean_beat, rotation

# published inverse of Dower's matrix (Edenbrandt & Pahlm 1988): x, y, z from V1 ... V6, I, II
INVERSE = np.array(
    [
        [-0.172, -0.074, 0.122, 0.231, 0.239, 0.194, 0.156, -0.010],
        [0.057, -0.019, -0.106, -0.022, 0.041, 0.048, -0.227, 0.887],
        [-0.229, -0.310, -0.246, -0.063, 0.055, 0.108, 0.022, 0.102],
    ]
)


def _vectors(beat, count):
    return np.broadcast_to(beat.vector, (count, *beat.vector.shape))


def test_dower_matches_its_published_inverse_and_einthoven():
    independent = DOWER[[6, 7, 8, 9, 10, 11, 0, 1]]
    np.testing.assert_allclose(INVERSE @ independent, np.eye(3), atol=0.02)
    one, two, three, avr, avl, avf = DOWER[:6]
    np.testing.assert_allclose(one + three, two, atol=1e-6)
    np.testing.assert_allclose(avr + avl + avf, 0, atol=1e-6)


def test_rotation_is_orthonormal_and_turns_about_z():
    turn = rotation(np.array([20.0, -35.0, 50.0]))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation(np.array([0, 0, 90.0])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_beats_add_up_to_the_formula_also_over_the_edges():
    rate, beat = 500, mean_beat()
    peaks, stretch = np.array([-0.1, 0.8, 1.95]), np.array([1.0, 0.8, 1.2])
    out = np.zeros((3, 1000), np.float32)
    add_beats(out, rate, beat, peaks, stretch, _vectors(beat, 3))
    when = np.arange(1000) / rate
    expected = np.zeros((3, 1000))
    for peak, factor in zip(peaks, stretch, strict=True):
        for wave, centre, width, vector in zip(
            beat.wave, beat.centre, beat.width, beat.vector, strict=True
        ):
            f = factor if wave >= 2 else 1.0
            bell = np.exp(-0.5 * ((when - peak - f * centre) / (f * width)) ** 2)
            expected += vector[:, None] * bell
    np.testing.assert_allclose(out, expected, atol=2e-4)


@pytest.mark.long
def test_one_lead_agrees_with_neurokit2s_ecgsyn():
    nk = pytest.importorskip("neurokit2")
    from scipy.signal import find_peaks

    theirs = nk.ecg_simulate(
        duration=12, sampling_rate=500, heart_rate=60, heart_rate_std=0.5, noise=0, random_state=1
    )
    peaks = find_peaks(theirs, height=0.6 * theirs.max(), distance=200)[0]
    angle = np.deg2rad([-70, -15, 0, 15, 100])
    a, b = np.array([1.2, -5, 30, -7.5, 0.75]), np.array([0.25, 0.1, 0.1, 0.1, 0.4])
    beat = Beat(
        np.array([P, QRS, QRS, QRS, T]),
        angle / (2 * np.pi),
        b / (2 * np.pi),
        (a * b**2)[:, None] * np.array([1.0, 0.0, 0.0]),
    )
    rr = np.gradient(peaks / 500)
    ours = np.zeros((3, len(theirs)), np.float32)
    add_beats(ours, 500, beat, peaks / 500, np.sqrt(rr), _vectors(beat, len(peaks)))
    inside = slice(peaks[1] - 200, peaks[-2] + 250)
    assert np.corrcoef(ours[0, inside], theirs[inside])[0, 1] > 0.97


def test_extents_are_physiological_and_follow_the_rate():
    slow, fast = extents(mean_beat(), np.sqrt([1.0, 0.5]))
    duration = slow[:, 1] - slow[:, 0]
    assert 0.06 < duration[P] < 0.13
    assert 0.05 < duration[QRS] < 0.11
    assert 0.1 < duration[T] < 0.3
    assert slow[P, 1] < slow[QRS, 0] < 0 < slow[QRS, 1] <= slow[T, 0]
    np.testing.assert_allclose(fast[QRS], slow[QRS])
    assert fast[T, 1] == pytest.approx(slow[T, 1] * np.sqrt(0.5), abs=0.004)


def test_an_absent_wave_has_no_extent():
    spans = extents(mean_beat().without(P), np.ones(1))[0]
    assert np.isnan(spans[P]).all()
    assert np.isfinite(spans[[QRS, T]]).all()
