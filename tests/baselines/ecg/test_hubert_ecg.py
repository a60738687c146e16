"""HuBERT-ECG against scipy's filters and transformers' own model."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.signal import decimate, filtfilt, firwin
from torch.nn.functional import pad
from transformers import HubertConfig, HubertModel

from baselines.ecg import ENCODERS
from baselines.ecg.hubert_ecg import HubertEcg
from baselines.ecg.hubert_ecg_frontend import HubertEcgFrontEnd
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

CARDS = [card.name for card in ENCODERS if card.name.startswith("hubert-ecg")]
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "conv_dim": (16,) * 5,
}
POSITIONS = "encoder.pos_conv_embed.conv."


def build(**options):
    torch.manual_seed(0)
    return HubertEcg(**{**SMALL, **options})


def records(*lengths, leads=12, seed=0):
    """Millivolts at 500 Hz with beats and a drifting baseline, zero-padded to the longest."""
    rng = np.random.default_rng(seed)
    signals = torch.zeros(len(lengths), leads, max(lengths))
    for row, length in zip(signals, lengths, strict=True):
        phase = (np.arange(length) / 500 * rng.uniform(0.9, 1.6)) % 1 - 0.5
        beats = rng.uniform(0.3, 1.2, (leads, 1)) * np.exp(-((phase / 0.02) ** 2))
        drift = np.cumsum(rng.normal(0, 0.01, (leads, length)), 1)
        noise = rng.normal(0, 0.02, (leads, length))
        row[:, :length] = torch.from_numpy(beats + drift + noise + rng.normal(0, 0.3, (leads, 1)))
    return signals, torch.tensor(lengths)


def by_scipy(record):
    """(12, T) at 500 Hz -> (6000,) as the published steps have it."""
    taps = firwin(151, (0.05, 47), pass_zero=False, fs=500)
    padding = min(3 * len(taps), record.shape[1] - 1)
    values = filtfilt(taps, [1.0], record.astype(np.float64), padlen=padding)
    low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
    values = 2 * (values - low) / (high - low + 1e-8) - 1
    values = np.pad(values, ((0, 0), (0, 2500 - values.shape[1])))
    return decimate(values.reshape(-1), 5)


def published(model, older_torch=False, wrapped=False):
    """The keys of the hub's file, with what only pretraining uses."""
    state = {key: value.contiguous() for key, value in model.model.state_dict().items()}
    if older_torch:
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            state[POSITIONS + old] = state.pop(f"{POSITIONS}parametrizations.weight.{new}")
    state["masked_spec_embed"] = torch.zeros(64)
    state["final_proj.0.weight"] = torch.zeros(32, 64)
    state["label_embedding.0.weight"] = torch.zeros(100, 32)
    if wrapped:  # a fine-tuned model
        state = {f"hubert_ecg.{key}": value for key, value in state.items()}
        state["classifier.weight"] = torch.zeros(5, 64)
    return state


@pytest.mark.parametrize("length", [2500, 2499, 1501, 600, 300])
def test_the_front_end_is_scipys(length):
    signal, lengths = records(length, 2500)
    wave = HubertEcgFrontEnd()(signal, lengths)
    assert wave.shape == (2, 6000)
    for i, samples in enumerate((length, 2500)):
        np.testing.assert_allclose(wave[i], by_scipy(signal[i, :, :samples].numpy()), atol=5e-5)


def test_a_missing_lead_is_constant_as_the_authors_scale_it():
    signal, lengths = records(2500, 1)
    signal[0, 3] = 0
    wave = HubertEcgFrontEnd()(signal, lengths)
    assert torch.isfinite(wave).all()
    np.testing.assert_allclose(wave[0], by_scipy(signal[0].numpy()), atol=5e-5)
    assert np.ptp(wave[0, 1600:1900].numpy()) < 1e-3


def test_the_model_is_transformers():
    model = build()
    config = HubertConfig(conv_kernel=(10, 3, 3, 2, 2), conv_stride=(4, 2, 2, 2, 2), **SMALL)
    theirs = HubertModel(config).eval()  # with the mask token, as pretrained
    missing = theirs.load_state_dict(model.model.state_dict(), strict=False).missing_keys
    assert missing == ["masked_spec_embed"]
    signal, lengths = records(2500, 2500)
    wave = np.stack([by_scipy(record.numpy()) for record in signal])
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(wave).float(), output_hidden_states=True)
        assert expected.last_hidden_state.shape[1] == 93  # the published number of frames
        clip, layers = model(signal, lengths), model.layers(signal, lengths)
    torch.testing.assert_close(clip, expected.last_hidden_state.mean(1), atol=1e-4, rtol=1e-3)
    for ours, hidden in zip(layers, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours, hidden.mean(1), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", ["forward", "layers"])
def test_neither_padding_nor_company_matters(method):
    model = build()
    signal, lengths = records(2500, 1801, 999, 31)
    noisy = pad(signal, (0, 250))
    for row, length in zip(noisy, lengths.tolist(), strict=True):
        row[:, length:] = 9.0
    kept = noisy.clone()
    call = getattr(model, method)
    with torch.inference_mode():
        together, padded = call(signal, lengths), call(noisy, lengths)
        for i, length in enumerate(lengths.tolist()):
            alone = call(signal[i : i + 1, :, :length], lengths[i : i + 1])[..., 0, :]
            for other in (together[..., i, :], padded[..., i, :]):
                assert (other - alone).abs().max() <= 1e-4 * alone.abs().max()
    assert torch.equal(noisy, kept)
    assert together.shape == ((4, 64) if method == "forward" else (3, 4, 64))
    assert together.dtype == torch.float32


@pytest.mark.parametrize("older_torch", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_published_checkpoints(tmp_path, older_torch, wrapped):
    trained = build()
    state = published(trained, older_torch, wrapped)
    save_file(state, tmp_path / "model.safetensors")
    torch.save({"model_state_dict": state, "best_val_loss": 1.0}, tmp_path / "best.pt")
    for name in ("model.safetensors", "best.pt"):
        torch.manual_seed(9)
        model = HubertEcg(**SMALL)
        load_into(model, tmp_path / name, "hubert-ecg")
        for key, value in model.state_dict().items():
            assert torch.equal(value, trained.state_dict()[key])


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    good = published(build())
    key = "encoder.layers.1.attention.k_proj.bias"
    cases = {
        f"missing: {key}": {k: v for k, v in good.items() if k != key},
        "surplus: encoder.layers.2.norm.bias": {
            **good,
            "encoder.layers.2.norm.bias": torch.zeros(1),
        },
        "encoder.layer_norm.bias is (32,), should be (64,)": published(build(hidden_size=32)),
        "surplus: conv1.weight": {"conv1.weight": torch.zeros(2)},
    }
    for message, state in cases.items():
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(EncoderError, match=re.escape(message)):
            load_into(build(), tmp_path / "w.pt", "hubert-ecg")
    with pytest.raises(EncoderError, match="small, base, large"):
        HubertEcg("huge")


def test_half_precision_keeps_the_direction():
    model, (signal, lengths) = build(), records(2500, 1300)
    with torch.inference_mode():
        full = model(signal, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(signal, lengths)
    assert torch.nn.functional.cosine_similarity(full, half).min() >= 0.999
