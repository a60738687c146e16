"""Log-mel energies and features against librosa and torchaudio."""

import numpy as np
import pytest
import torch

from baselines.audio.log_mel import FFT, HOP, MELS, RATE, WINDOW, LogMel, deltas, hold_last
from baselines.audio.mfcc import COEFFICIENTS, MfccStatistics, spectral_shape, zero_crossings
from tasks.audio.recordings import recordings

librosa = pytest.importorskip("librosa")


@pytest.fixture(scope="module")
def wave():
    chosen = next(r for r in recordings() if r.name == "loop_amen")
    return chosen.wave[: 100 * HOP]


@pytest.fixture(scope="module")
def padded(wave):
    """As the front end frames it: frame k centred at (k + 0.5) * 10 ms."""
    edge = (FFT - HOP) // 2
    return np.pad(wave, (edge, edge))


def magnitude(padded):
    return np.abs(librosa.stft(padded, n_fft=FFT, hop_length=HOP, win_length=WINDOW, center=False))


def run(wave):
    return LogMel()(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))


def test_log_mel_is_librosas(wave, padded):
    expected = librosa.power_to_db(
        librosa.feature.melspectrogram(
            S=magnitude(padded) ** 2, sr=RATE, n_fft=FFT, n_mels=MELS, fmin=20, fmax=8000
        ),
        top_db=None,
    )
    _, bands = run(wave)
    assert bands.shape == (1, 100, MELS)
    np.testing.assert_allclose(bands[0].numpy().T, expected, atol=0.05)


def test_mfcc_is_librosas(wave, padded):
    _, bands = run(wave)
    found = (bands @ MfccStatistics().dct)[0].numpy().T
    expected = librosa.feature.mfcc(S=bands[0].numpy().T, n_mfcc=COEFFICIENTS)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_spectral_shape_is_librosas(wave, padded):
    power, _ = run(wave)
    size = magnitude(padded)
    found = spectral_shape(power)[0].numpy()
    loud = (size**2).sum(0) > 1e-2  # in silence the guard against 0 / 0 is all there is
    feature = librosa.feature
    expected = [
        feature.spectral_centroid(S=size, sr=RATE)[0] / 1000,
        feature.spectral_bandwidth(S=size, sr=RATE)[0] / 1000,
        feature.spectral_rolloff(S=size, sr=RATE, roll_percent=0.85)[0] / 1000,
        np.log(feature.spectral_flatness(S=size)[0]),
    ]
    assert loud.sum() > 50
    for column, name in enumerate(("centroid", "bandwidth", "roll-off", "flatness")):
        np.testing.assert_allclose(
            found[loud, column], expected[column][loud], atol=0.04, err_msg=name
        )


def test_zero_crossings_are_counted(wave):
    block = zero_crossings(torch.from_numpy(wave)[None], torch.tensor([len(wave)]), 100)
    expected = librosa.zero_crossings(wave, pad=False, threshold=0, zero_pos=True).sum()
    assert float(block.sum() * HOP) == pytest.approx(expected, abs=1)


def test_deltas_are_torchaudios():
    import torchaudio.functional as audio

    frames = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0))
    expected = audio.compute_deltas(frames.transpose(1, 2), win_length=5).transpose(1, 2)
    torch.testing.assert_close(deltas(frames), expected)


def test_hold_last_repeats_the_last_valid_frame():
    frames = torch.arange(10.0).reshape(1, 5, 2)
    held = hold_last(frames, torch.tensor([3]))
    assert held[0, :, 0].tolist() == [0, 2, 4, 4, 4]
