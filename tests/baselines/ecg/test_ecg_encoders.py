from pathlib import Path

import numpy as np
import pytest
import torch

from baselines.ecg.beats import RATE, beat_windows, median_beat, r_peaks, without_beats
from baselines.ecg.features import EcgFeatures, rr_features, spectrum
from baselines.ecg.random_resnet import RandomResNet1d
from baselines.ecg.wavelets import spline_scales, wavelet_energies
from benchmark.catalog import encoder_card, import_target
from benchmark.inputs import STANDARD_LEADS, input_spec

LUDB = Path(__file__).resolve().parents[4] / "shared" / "data" / "ludb" / "data"


def _ecg(seconds, rate=72, seed=0, leads=8):
    """(leads, T) at 250 Hz: a Gaussian QRS and T wave with noise, R peaks at known times."""
    rng = np.random.default_rng(seed)
    when = np.arange(round(seconds * RATE)) / RATE
    peaks = np.arange(0.5, seconds, 60 / rate)
    gains = rng.uniform(0.5, 1.5, (leads, 1))
    signal = 0.02 * rng.normal(size=(leads, len(when))) + rng.normal(size=(leads, 1))
    for peak in peaks:
        signal += gains * np.exp(-0.5 * ((when - peak) / 0.012) ** 2)
        signal += 0.25 * gains * np.exp(-0.5 * ((when - peak - 0.28) / 0.04) ** 2)
    return torch.tensor(signal, dtype=torch.float32), peaks


def _batch(signals):
    lengths = torch.tensor([s.shape[1] for s in signals])
    batch = torch.zeros(len(signals), signals[0].shape[0], int(lengths.max()))
    for row, signal in zip(batch, signals, strict=True):
        row[:, : signal.shape[1]] = signal
    return batch, lengths


@pytest.fixture(params=["ecg-features", "random-resnet18-1d"])
def encoder(request):
    torch.manual_seed(0)
    card = encoder_card(request.param)
    return import_target(card.target)(**card.options), card


def _leads(encoder):
    return len(input_spec("ecg", encoder.input).leads)


def test_shapes_and_the_card(encoder):
    model, card = encoder
    batch, lengths = _batch([_ecg(10, leads=_leads(model))[0], _ecg(7, leads=_leads(model))[0]])
    with torch.inference_mode():
        embedding, frames = model(batch, lengths), model.frames(batch, lengths)
    assert embedding.shape == (2, card.dimension)
    assert embedding.dtype == frames.dtype == torch.float32
    assert frames.shape[:2] == (2, np.ceil(10 * model.frame_rate))
    assert card.parameters == sum(p.numel() for p in model.parameters())


def test_padding_and_company_change_nothing(encoder):
    model, _ = encoder
    leads = _leads(model)
    signals = [_ecg(s, rate, i, leads)[0] for i, (s, rate) in enumerate(((10, 70), (6.3, 110)))]
    batch, lengths = _batch(signals)
    wide = torch.nn.functional.pad(batch, (0, 777))
    with torch.inference_mode():
        for method in (model.forward, model.frames):
            together, padded = method(batch, lengths), method(wide, lengths)
            for i, signal in enumerate(signals):
                alone = method(signal[None], lengths[i : i + 1])[0]
                steps = (
                    int(lengths[i] / RATE * model.frame_rate) if method == model.frames else None
                )
                for other in (together[i], padded[i]):
                    torch.testing.assert_close(other[:steps], alone[:steps], atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("value", [0.0, 3.0])
@pytest.mark.parametrize("samples", [2500, 40, 1])
def test_constant_input_is_finite(encoder, value, samples):
    model, _ = encoder
    batch = torch.full((1, _leads(model), samples), value)
    with torch.inference_mode():
        for output in (
            model(batch, torch.tensor([samples])),
            model.frames(batch, torch.tensor([samples])),
        ):
            assert torch.isfinite(output).all()


def test_the_control_follows_the_seed():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(RandomResNet1d().stem.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("rate", [40, 72, 150])
def test_r_peaks_are_found_where_they_are(rate):
    signal, peaks = _ecg(10, rate)
    found, valid = r_peaks(signal[None], torch.tensor([2500]))
    np.testing.assert_allclose(found[valid] / RATE, peaks, atol=0.012)
    assert rr_features(found, valid)[0, 0] == pytest.approx(rate / 100, rel=0.01)


def test_rr_features_of_a_known_series():
    rr = np.array([0.8, 0.8, 0.5, 1.1, 0.8, 0.8])
    peaks = torch.tensor(np.round(np.cumsum(rr) * RATE)).long()[None]
    values = rr_features(peaks, torch.ones_like(peaks, dtype=torch.bool))[0].numpy()
    relative = rr[1:] / 0.8
    change = np.abs(np.diff(relative))
    expected = [60 / rr[1:].mean() / 100, (60 / rr[1:].mean() / 100) ** 2, 0.8, relative.std()]
    expected += [relative.min(), relative.max(), change.mean(), change.max(), (change > 0.1).mean()]
    expected += [0.2, 0.2, 2.0, 2.0]
    np.testing.assert_allclose(values, expected, rtol=0.01)


def test_median_beat_and_what_is_left():
    signal, _ = _ecg(10)
    signal = signal - signal.mean(1, keepdim=True)
    lengths = torch.tensor([2500])
    peaks, valid = r_peaks(signal[None], lengths)
    beats, inside = beat_windows(signal[None], lengths, peaks, valid)
    template = median_beat(beats, inside)
    oracle = np.median(beats[0][:, inside[0]].numpy(), axis=1)
    if int(inside.sum()) % 2:  # torch takes the lower of two middle values
        np.testing.assert_allclose(template[0], oracle, atol=1e-6)
    rest = without_beats(signal[None], peaks, valid, template)
    assert rest[0, :, 200:2300].std() < 0.2 * signal[:, 200:2300].std()


@pytest.mark.parametrize("size", [2500, 1001, 37])
def test_wavelet_energies_are_pywavelets(size):
    pywt = pytest.importorskip("pywt")
    signal = np.random.default_rng(0).normal(size=(2, 3, size)).astype(np.float32)
    ours = wavelet_energies(torch.tensor(signal))
    theirs = pywt.wavedec(signal.astype(float), "sym4", mode="zero", level=7)
    expected = np.stack([(c**2).sum(-1) for c in [*theirs[:0:-1], theirs[0]]], -1)
    np.testing.assert_allclose(ours, expected, rtol=1e-3)


def test_spline_scales_of_a_ramp_and_a_step():
    ramp = torch.arange(1000.0).expand(1, 1, -1)
    scales = spline_scales(ramp, torch.tensor([1000]))
    for i, scale in enumerate(scales[0, :, 0]):  # slope 1: twice the distance of the two taps
        np.testing.assert_allclose(scale[200:800], 2.0 * 2**i, rtol=1e-4)
    step = (torch.arange(1000) >= 500).float().expand(1, 1, -1)
    for scale in spline_scales(step, torch.tensor([1000]))[0, :, 0]:
        heavy = scale.abs()
        centre = (heavy * torch.arange(1000.0)).sum() / heavy.sum()
        assert abs(float(centre) - 500) < 2


def test_spectrum_finds_the_atrial_frequency():
    when = torch.arange(2500) / RATE
    wave = torch.sin(2 * torch.pi * 5.5 * when)[None, None]
    power = spectrum(wave, torch.tensor([2500]))[0, 0]
    assert np.arange(3, 12, 0.25)[int(power.argmax())] == 5.5


@pytest.mark.shared_data
def test_r_peaks_on_real_ecgs_agree_with_cardiologists_and_xqrs():
    if not LUDB.is_dir():
        pytest.skip("the LUDB recordings are not beside the checkout")
    import wfdb
    from wfdb.processing import xqrs_detect

    spec = input_spec("ecg", EcgFeatures.input)
    hits, annotated, extra = 0, 0, 0
    for number in (1, 8, 33, 34, 100, 101, 150, 199):
        record = wfdb.rdrecord(str(LUDB / str(number)))
        example = {"signal": record.p_signal.T, "sample_rate": record.fs, "leads": record.sig_name}
        batch = spec.collate(spec.windows(example))
        found, valid = r_peaks(batch["signal"], batch["lengths"])
        times = found[valid].numpy() / RATE
        mark = wfdb.rdann(str(LUDB / str(number)), "ii")
        truth = np.array([s for s, k in zip(mark.sample, mark.symbol, strict=True) if k == "N"])
        truth = truth / record.fs
        away = np.abs(times[:, None] - truth)
        hits += int((away.min(0) < 0.1).sum())
        annotated += len(truth)
        spanned = (times > truth[0] - 0.15) & (times < truth[-1] + 0.15)
        extra += int((away.min(1)[spanned] >= 0.1).sum())
        if number == 1:
            xqrs = xqrs_detect(record.p_signal[:, 1], record.fs, verbose=False) / record.fs
            assert np.mean(np.abs(xqrs[:, None] - times).min(1) < 0.1) > 0.9
    assert hits / annotated > 0.98
    assert extra <= 0.02 * annotated


def test_leads_asked_for_are_standard():
    assert set(EcgFeatures.input["leads"]) <= set(STANDARD_LEADS)
