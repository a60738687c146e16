"""ST-MEM against scipy's filters and a ViT put together from timm's blocks."""

import re

import numpy as np
import pytest
import timm
import torch
from scipy.signal import butter, sosfiltfilt
from torch.nn.functional import layer_norm, linear, pad

from baselines.ecg import ENCODERS
from baselines.ecg.st_mem import StMem
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

CARD = next(card for card in ENCODERS if card.name == "st-mem")
SMALL = {"width": 128, "depth": 2, "heads": 2, "mlp_width": 96}


def build(**options):
    torch.manual_seed(0)
    return StMem(**{**SMALL, **options})


def records(*lengths, leads=12, seed=0):
    """Millivolts at 250 Hz with beats and a drifting baseline, zero-padded to the longest."""
    rng = np.random.default_rng(seed)
    signals = torch.zeros(len(lengths), leads, max(lengths))
    for row, length in zip(signals, lengths, strict=True):
        phase = (np.arange(length) / 250 * rng.uniform(0.9, 1.6)) % 1 - 0.5
        beats = rng.uniform(0.3, 1.2, (leads, 1)) * np.exp(-((phase / 0.02) ** 2))
        drift = np.cumsum(rng.normal(0, 0.01, (leads, length)), 1)
        noise = rng.normal(0, 0.02, (leads, length))
        row[:, :length] = torch.from_numpy(beats + drift + noise + rng.normal(0, 0.3, (leads, 1)))
    return signals, torch.tensor(lengths)


def by_scipy(record):
    """(leads, T) -> the same: high-pass, low-pass, standardised over leads and time."""
    record = record.astype(np.float64)
    for cutoff, kind in ((0.67, "highpass"), (40, "lowpass")):
        record = sosfiltfilt(butter(5, cutoff, kind, fs=250, output="sos"), record)
    return (record - record.mean()) / record.std()


def published(model, decoder=False):
    """The authors' encoder file, or the whole autoencoder as they save it."""
    state = dict(model.state_dict())
    if not decoder:
        return {"model": state, "epoch": 800, "optimizer": None}
    whole = {f"encoder.{key}": value for key, value in state.items()}
    whole |= {k: v for k, v in state.items() if k.startswith("to_patch_embedding.")}
    for key in ("to_decoder_embedding.weight", "mask_embedding", "decoder_pos_embed"):
        whole[key] = torch.zeros(3)
    for key in ("decoder_blocks.0.attn.norm.weight", "decoder_norm.bias", "decoder_head.weight"):
        whole[key] = torch.zeros(3)
    return {"model": whole, "epoch": 800}


@pytest.mark.parametrize("length", [2250, 2249, 1000, 120])
def test_the_front_end_is_scipys(length):
    signal, lengths = records(length, 2250)
    ready = build().prepared(signal, lengths)
    assert ready.shape == (2, 12, 2250)
    np.testing.assert_allclose(
        ready[0, :, :length], by_scipy(signal[0, :, :length].numpy()), atol=5e-5
    )
    assert not ready[0, :, length:].any()


@pytest.mark.parametrize("length", [1, 2, 19])
def test_silence_and_a_few_samples_are_finite(length):
    signal, lengths = records(length, 2250)
    signal[1] = 0
    ready = build().prepared(signal, lengths)
    assert torch.isfinite(ready).all()
    assert not ready[1].any()


def test_the_vit_is_made_of_timms_blocks():
    model = build(seq_len=600, patch_size=50, num_leads=5)
    for norm in model.modules():
        if isinstance(norm, torch.nn.LayerNorm):
            torch.nn.init.normal_(norm.weight, 1, 0.2)
            torch.nn.init.normal_(norm.bias, 0, 0.2)
    w = {key: value.detach() for key, value in model.state_dict().items()}
    series = torch.randn(3, 5, 600)
    patch = layer_norm(
        series.reshape(3, 5, 12, 50),
        (50,),
        w["to_patch_embedding.1.weight"],
        w["to_patch_embedding.1.bias"],
    )
    patch = linear(patch, w["to_patch_embedding.2.weight"], w["to_patch_embedding.2.bias"])
    patch = layer_norm(
        patch, (128,), w["to_patch_embedding.3.weight"], w["to_patch_embedding.3.bias"]
    )
    sequence = []
    for lead in range(5):  # separator, patches, separator of one lead after the other
        rows = pad(patch[:, lead], (0, 0, 1, 1)) + w["pos_embedding"]
        rows[:, [0, -1]] += w["sep_embedding"]
        sequence.append(rows + w[f"lead_embeddings.{lead}"])
    tokens = torch.cat(sequence, 1)
    names = (("norm1", "attn.norm"), ("attn.qkv", "attn.fn.to_qkv"))
    names += (("attn.proj", "attn.fn.to_out.0"), ("norm2", "ff.norm"))
    names += (("mlp.fc1", "ff.fn.net.0"), ("mlp.fc2", "ff.fn.net.3"))
    for i in range(2):
        block = timm.models.vision_transformer.Block(128, 2, 96 / 128, qkv_bias=True)
        block.load_state_dict(
            {
                f"{a}.{kind}": w[f"block{i}.{b}.{kind}"]
                for a, b in names
                for kind in ("weight", "bias")
            }
        )
        block.norm1.eps = block.norm2.eps = 1e-5
        tokens = block.eval()(tokens)
    keep = [lead * 14 + 1 + i for lead in range(5) for i in range(12)]
    expected = layer_norm(tokens[:, keep].mean(1), (128,), w["norm.weight"], w["norm.bias"])
    with torch.inference_mode():
        torch.testing.assert_close(model.encode(series), expected, atol=2e-5, rtol=1e-4)


def test_neither_padding_nor_company_matters():
    model = build()
    signal, lengths = records(2250, 1801, 999, 31)
    noisy = pad(signal, (0, 250))
    for row, length in zip(noisy, lengths.tolist(), strict=True):
        row[:, length:] = 9.0
    kept = noisy.clone()
    with torch.inference_mode():
        together, padded = model(signal, lengths), model(noisy, lengths)
        for i, length in enumerate(lengths.tolist()):
            alone = model(signal[i : i + 1, :, :length], lengths[i : i + 1])[0]
            for other in (together[i], padded[i]):
                assert (other - alone).abs().max() <= 1e-4 * alone.abs().max()
    assert torch.equal(noisy, kept)
    assert together.shape == (4, 128)
    assert together.dtype == torch.float32


@pytest.mark.parametrize("decoder", [False, True])
def test_published_checkpoints(tmp_path, decoder):
    trained = build()
    path = tmp_path / "st_mem.pth"
    torch.save(published(trained, decoder), path)
    torch.manual_seed(9)
    model = StMem(**SMALL)
    load_into(model, path, "st-mem")
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key])


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    good = published(build())["model"]
    cases = {
        "missing: block1.attn.fn.to_qkv.bias": {
            k: v for k, v in good.items() if k != "block1.attn.fn.to_qkv.bias"
        },
        "surplus: block7.norm.weight": {**good, "block7.norm.weight": torch.zeros(1)},
        "block0.attn.fn.to_out.0.bias is (64,), should be (128,)": build(width=64).state_dict(),
        "surplus: conv1.weight": {"conv1.weight": torch.zeros(2)},
    }
    for message, state in cases.items():
        torch.save({"model": state}, tmp_path / "w.pth")
        with pytest.raises(EncoderError, match=re.escape(message)):
            load_into(build(), tmp_path / "w.pth", "st-mem")


def test_half_precision_keeps_the_direction():
    model, (signal, lengths) = build(), records(2250, 1300)
    with torch.inference_mode():
        full = model(signal, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(signal, lengths)
    assert torch.nn.functional.cosine_similarity(full, half).min() >= 0.999
