"""The classical encoder: statistics against numpy, scipy and astropy, and the encoder contract."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from baselines.astronomy.astro_statistics import AstroStatistics, metadata_statistics
from baselines.astronomy.light_curves import (
    LAGS,
    around_peak,
    by_band,
    moments,
    periodogram,
    quantile,
    structure,
)
from baselines.astronomy.spectra import binned, held_ends, spectrum_statistics

BANDS = 6


def light_curve(rng: np.random.Generator, length: int) -> np.ndarray:
    time = np.sort(rng.uniform(0, 900, length))
    time -= time[0]
    error = rng.uniform(1, 3, length)
    flux = 40 * np.exp(-0.5 * ((time - 400) / 60) ** 2) + rng.normal(0, error)
    band = rng.integers(0, BANDS, length)
    return np.stack([time, flux, error, band], 1).astype(np.float32)


def batch(curves: list[np.ndarray], extra: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    padded = np.zeros((len(curves), max(map(len, curves)) + extra, 4), np.float32)
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve)] = curve
    return torch.from_numpy(padded), torch.tensor([len(curve) for curve in curves])


@pytest.fixture
def curves() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [light_curve(rng, length) for length in (150, 60, 90)]


def test_statistics_by_band_agree_with_numpy_and_scipy(curves):
    banded = by_band(*batch(curves), BANDS)
    found = moments(banded).numpy()
    median = quantile(banded, banded.flux, 0.5).numpy()
    for i, curve in enumerate(curves):
        for band in range(BANDS):
            flux, error = curve[curve[:, 3] == band, 1:3].astype(np.float64).T
            deviation = np.abs(flux - np.median(flux))
            delta = (flux - flux.mean()) / error
            expected = {
                0: np.log1p(len(flux)),
                2: np.arcsinh(flux.std()),
                3: np.arcsinh(flux.max() - np.median(flux)),
                5: np.arcsinh(stats.skew(flux)),
                6: np.log1p(stats.kurtosis(flux, fisher=False)),
                7: np.log(np.mean(np.diff(flux) ** 2) / flux.var()),
                8: np.log(flux.var() / np.mean(error**2)),
                9: np.arcsinh((flux / error).max()),
                13: stats.iqr(flux) / np.subtract(*np.percentile(flux, [95, 5])),
                14: np.median(deviation) / flux.std(),
                15: np.abs(delta).mean() / np.sqrt(np.mean(delta**2)),
            }
            assert median[i, band] == pytest.approx(np.median(flux))
            for index, value in expected.items():
                assert found[i, band, index] == pytest.approx(value, rel=1e-6), index


def test_structure_function_tells_slow_from_white_variation():
    rng = np.random.default_rng(1)
    time = np.arange(400) * 2.0
    white = rng.normal(0, 10, 400)
    slow = 10 * np.sin(2 * np.pi * time / 800)
    curves = [np.stack([time, flux, np.ones(400), np.zeros(400)], 1) for flux in (white, slow)]
    ratio = structure(by_band(*batch(curves), 1))[:, 0].exp().numpy()
    np.testing.assert_allclose(ratio[0, 1:], 1, atol=0.2)  # lags above the sampling step
    assert ratio[1, 1] < 0.01
    assert ratio[1, -1] > 0.1


def test_structure_function_is_that_of_all_pairs(curves):
    found = structure(by_band(*batch(curves), BANDS + 1)).numpy()
    for curve, own in zip(curves, found, strict=True):
        for band in range(BANDS + 1):  # the last one is empty
            time, flux = curve[curve[:, 3] == band, :2].astype(np.float64).T
            i, j = np.triu_indices(len(time), 1)
            lag, square = np.abs(time[i] - time[j]), (flux[i] - flux[j]) ** 2
            for low, high, value in zip((0, *LAGS), LAGS, own[band], strict=False):
                inside = (lag >= low) & (lag < high)
                half = square[inside].sum() / 2 / (flux.var() if len(flux) else 1)
                expected = np.log((half + 2) / (inside.sum() + 2) + 1e-4)
                assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("frequency", [1.7531, 0.3217, 0.0113])
def test_periodogram_agrees_with_astropy(frequency):
    from astropy.timeseries import LombScargle

    rng = np.random.default_rng(2)
    time = np.sort(rng.uniform(0, 1000, 120))
    time -= time[0]
    flux = 50 * np.sin(2 * np.pi * frequency * time) + rng.normal(0, 10, 120)
    curve = np.stack([time, flux, np.full(120, 10.0), np.zeros(120)], 1)
    power, grid = periodogram(by_band(*batch([curve]), 1))
    power, grid = power[0].numpy(), grid.numpy()
    oracle = LombScargle(time, flux, fit_mean=False).power(grid)
    assert grid[power.argmax()] == pytest.approx(grid[oracle.argmax()], abs=1e-3)
    assert grid[power.argmax()] == pytest.approx(frequency, abs=1e-3)
    # linear spreading onto the grid dims the highest frequencies (sinc squared)
    assert power.max() == pytest.approx(oracle.max(), abs=0.02 if frequency < 1 else 0.1)
    np.testing.assert_allclose(power[grid < 1], oracle[grid < 1], atol=0.03)


def test_colours_follow_the_bands_that_rise():
    time = np.arange(60.0)
    bump = 100 * np.exp(-0.5 * ((time - 30) / 4) ** 2)
    band = np.arange(60) % 2
    flux = np.where(band == 1, bump, 0.2 * bump)
    curve = np.stack([time, flux, np.ones(60), band], 1)
    features = around_peak(by_band(*batch([curve]), 2))[0]
    share = features[-6:-4]
    assert share[1] == pytest.approx(float(bump[1::2].max() / (bump[1::2].max() * 1.2)), abs=0.02)
    assert share.sum() == pytest.approx(1)


def test_binned_spectrum_is_the_mean_over_equal_parts():
    rng = np.random.default_rng(3)
    flux = torch.from_numpy(rng.normal(size=(2, 60)))
    full = torch.tensor([60, 60])
    expected = flux.unflatten(1, (12, 5)).mean(-1)
    torch.testing.assert_close(binned(flux, full, 12), expected)
    torch.testing.assert_close(binned(flux, full, 120), flux.repeat_interleave(2, 1))
    half = binned(flux, torch.tensor([30, 60]), 10)
    torch.testing.assert_close(half[0], flux[0, :30].unflatten(0, (10, 3)).mean(-1))


def test_runs_of_equal_values_at_the_ends_are_counted():
    flux = torch.tensor([[2.0, 2, 2, 5, 6, 7, 7], [1.0, 2, 3, 4, 4, 0, 0]])
    found = held_ends(flux, torch.tensor([7, 5])) * torch.tensor([[7.0], [5.0]])
    np.testing.assert_array_equal(found.round().numpy(), [[2, 1], [0, 1]])


def test_missing_catalogue_values_are_zero_and_flagged():
    found = metadata_statistics(torch.tensor([[1.0, float("nan")]]))
    np.testing.assert_allclose(found.numpy(), [[np.arcsinh(1), 0, 0, 1]])


def test_embedding_depends_neither_on_padding_nor_on_the_batch(curves):
    encoder = AstroStatistics()
    photometry, lengths = batch(curves)
    whole = encoder(photometry=photometry, lengths=lengths)
    longer, _ = batch(curves, extra=40)
    torch.testing.assert_close(encoder(photometry=longer, lengths=lengths), whole)
    for i, curve in enumerate(curves):
        alone = encoder(*batch([curve]))
        torch.testing.assert_close(alone, whole[i : i + 1])


def test_spectra_padded_with_wavelength_zero_are_read_to_their_own_end():
    rng = np.random.default_rng(4)
    spectrum = np.stack([np.linspace(0.4, 2.5, 53), 1 + 0.1 * rng.normal(size=53)])
    padded = np.pad(spectrum, ((0, 0), (0, 30)))
    found = [spectrum_statistics(torch.from_numpy(s)[None]) for s in (spectrum, padded)]
    torch.testing.assert_close(*found)


def test_any_towers_give_the_concatenation_of_their_own_features(curves):
    encoder = AstroStatistics()
    photometry, lengths = batch(curves)
    spectrum = torch.rand(3, 2, 53) + 0.5
    metadata = torch.rand(3, 20)
    parts = [
        encoder(photometry=photometry, lengths=lengths),
        encoder(spectrum=spectrum),
        encoder(metadata=metadata),
    ]
    every = encoder(photometry=photometry, lengths=lengths, spectrum=spectrum, metadata=metadata)
    torch.testing.assert_close(every, torch.cat(parts, 1))
    assert every.dtype == torch.float32
    assert encoder(spectrum=torch.rand(3, 2, 3000) + 0.5).shape == parts[1].shape


def test_degenerate_light_curves_and_spectra_give_finite_numbers():
    encoder = AstroStatistics()
    single = np.array([[0, 5, 1, 2]], np.float32)
    constant = np.stack([np.arange(9), np.zeros(9), np.ones(9), np.zeros(9)], 1)
    other_band = np.array([[0, 5, 1, 9], [1, 6, 1, 9]], np.float32)
    huge = np.stack([np.arange(5), 10.0 ** np.arange(2, 7), np.ones(5), np.zeros(5)], 1)
    photometry, lengths = batch([single, constant, other_band, huge])
    assert encoder(photometry=photometry, lengths=lengths).isfinite().all()
    flat = torch.ones(1, 2, 40)
    zero = torch.stack([torch.ones(40), torch.zeros(40)])[None]
    assert encoder(spectrum=torch.cat([flat, zero])).isfinite().all()
