import numpy as np
import pytest
from scipy.signal import periodogram

from tasks.ecg import rhythm
from tasks.ecg.noise import ELECTRODES, NoiseLevels, lead_noise


def _rng(seed=0):
    return np.random.default_rng(seed)


def test_sinus_intervals_have_the_rate_and_two_bands():
    rr = rhythm.sinus_intervals(_rng(3), 75, 0.05, 2000)
    assert rr.mean() == pytest.approx(0.8, rel=0.01)
    assert rr.std() / rr.mean() == pytest.approx(0.05, rel=0.4)
    frequency, power = periodogram(rr - rr.mean(), fs=1 / 0.8)
    near = (abs(frequency - 0.1) < 0.04) | (abs(frequency - 0.25) < 0.04)
    assert power[near].sum() > 0.95 * power.sum()


def test_fibrillation_is_irregular_and_sinus_is_not():
    spread = {"sinus": [], "afib": []}
    for seed in range(20):
        af = rhythm.fibrillation(_rng(seed), 90, 0.2, 0.04, 10, 500)
        calm = rhythm.sinus(_rng(seed), 90, 0.03, 10)
        spread["afib"].append(np.std(af.before) / np.mean(af.before))
        spread["sinus"].append(np.std(calm.before) / np.mean(calm.before))
        assert af.atrial.shape == (3, 5000)
        assert calm.atrial is None
        frequency, power = periodogram(af.atrial, fs=500)
        band = (frequency > 3.5) & (frequency < 28)  # fundamental and two harmonics
        assert power[:, band].sum() > 0.9 * power.sum()
    assert np.mean(spread["afib"]) > 3 * np.mean(spread["sinus"])


def test_ventricular_beats_come_early_and_the_pause_compensates():
    for seed in range(20):
        made = rhythm.ectopic(_rng(seed), 70, 0.01, 10, rhythm.PVC, 0.3)
        found = np.flatnonzero(made.kind == rhythm.PVC)
        assert len(found) >= 1
        assert (made.peaks[found] > 0).all()
        assert (made.peaks[found] < 10).all()
        usual = np.median(made.before[made.kind == rhythm.NORMAL])
        assert (made.before[found] < 0.85 * usual).all()
        pair = made.before[found] + made.before[found + 1]
        np.testing.assert_allclose(pair, 2 * 60 / 70, rtol=0.12)


def test_atrial_beats_come_early_without_a_full_pause():
    made = rhythm.ectopic(_rng(5), 70, 0.01, 10, rhythm.PAC, 0.0)
    found = np.flatnonzero(made.kind == rhythm.PAC)
    assert (made.before[found] + made.before[found + 1] < 1.95 * 60 / 70 * 1.04).all()


@pytest.mark.parametrize("ratio", [2, 4])
def test_flutter_conducts_a_whole_number_of_cycles(ratio):
    made = rhythm.flutter(_rng(1), 300, ratio, 0.1, 10, 500)
    assert made.rate(10) == pytest.approx(300 / ratio, rel=0.02)
    frequency, power = periodogram(made.atrial[1], fs=500)
    assert frequency[power.argmax()] == pytest.approx(5, abs=0.11)


def test_noise_obeys_einthoven_and_its_levels():
    levels = NoiseLevels(0.05, 0.02, 0.0, 50.0, 0, False)
    noise = np.stack([lead_noise(_rng(s), levels, 5000, 500) for s in range(6)])
    np.testing.assert_allclose(noise[:, 0] + noise[:, 2], noise[:, 1], atol=1e-5)
    np.testing.assert_allclose(noise[:, 3:6].sum(1), 0, atol=1e-5)
    frequency, power = periodogram(noise, fs=500)
    slow = power[..., (frequency > 0) & (frequency < 1)].sum(-1).mean() * 0.1
    fast = power[..., (frequency >= 15) & (frequency <= 150)].sum(-1).mean() * 0.1
    gain = (ELECTRODES**2).sum(1).mean()
    assert slow == pytest.approx(gain * 0.05**2, rel=0.5)
    assert fast == pytest.approx(gain * (0.02**2 + 0.002**2) * np.exp(2 * 0.35**2), rel=0.4)
    between = (frequency > 3) & (frequency < 14)
    assert power[..., between].sum(-1).mean() * 0.1 < 0.02 * fast


def test_mains_stand_at_their_frequency():
    levels = NoiseLevels(0.0, 0.0, 0.05, 60.0, 0, False)
    frequency, power = periodogram(lead_noise(_rng(0), levels, 5000, 500), fs=500)
    assert frequency[power.sum(0).argmax()] == pytest.approx(60, abs=0.1)
