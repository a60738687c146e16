"""MERL against the authors' outputs, torchvision, timm and torch's attention."""

import json
import re

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from torchvision.models import resnet34, resnet50

from baselines.ecg import ENCODERS
from baselines.ecg import merl_text as text_module
from baselines.ecg.merl import LEAD_ORDERS, Merl
from baselines.ecg.merl_resnet import AttentionPool, MerlResNet
from baselines.ecg.merl_text import MAX_TOKENS, Tokenizer
from baselines.ecg.merl_vit import MerlVit
from benchmark.check import check_encoder
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError
from benchmark.inputs import STANDARD_LEADS, input_spec

CARDS = {card.name: card for card in ENCODERS if card.name.startswith("merl")}
TEXT = {"width": 32, "depth": 1, "heads": 2, "vocabulary": 300}
ARCHS = {"resnet18": {"width": 8}, "vit_tiny": {"width": 32, "depth": 2, "heads": 2}}


def build(arch="resnet18", **options):
    torch.manual_seed(0)
    small = {"projection": 16, "text_size": TEXT, "tokenizer": "bytes", **ARCHS.get(arch, {})}
    model = Merl(arch, **{**small, **options})
    for module in model.modules():  # as after training, not the identity
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
    for parameter in model.lm_model.parameters() if options.get("text", True) else ():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def records(*lengths, leads=12, seed=0):
    """Millivolts, one record per length, zero-padded to the longest."""
    rng = np.random.default_rng(seed)
    signals = torch.zeros(len(lengths), leads, max(lengths))
    for row, length in zip(signals, lengths, strict=True):
        drift = np.cumsum(rng.normal(0, 0.02, (leads, length)), 1)
        row[:, :length] = torch.from_numpy(drift + rng.normal(0, 0.05, (leads, length)))
    return signals, torch.tensor(lengths)


def reference(shared, name):
    with safe_open(shared.parent / "fixtures" / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["config"]), tensors


@pytest.mark.shared_data
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["merl-resnet18", "merl-vit-tiny"])
def test_the_authors_outputs(shared_data, tmp_path, name, wrapped):
    config, tensors = reference(shared_data, name)
    options = {
        key: config[key] for key in ("num_leads", "patch", "depth", "width") if key in config
    }
    model = Merl(config["arch"], text_size=TEXT, tokenizer="bytes", **options)
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    if wrapped:  # a training checkpoint with everything in it
        full = model.state_dict()
        state = {**full, **{f"ecg_encoder.{k}": v for k, v in state.items()}}
        state["linear1.weight"] = torch.zeros(1)
        state["lm_model.embeddings.position_ids"] = torch.arange(512)[None]
        state = {f"module.{key}": value for key, value in state.items()}
        state = {"epoch": 3, "model_state_dict": state}
    path = tmp_path / "best_encoder.pth"
    torch.save(state, path)
    load_into(model, path, name)
    signal = tensors["input/ecg"]
    with torch.inference_mode():
        out = model(signal, torch.full((len(signal),), signal.shape[2]))
        alone = model(signal[1:], torch.tensor([signal.shape[2]]))
    assert (out - tensors["output/clip"]).abs().max() <= 1e-4
    assert (alone - tensors["output/clip"][1:]).abs().max() <= 1e-4
    assert hasattr(model, "encode_text") == wrapped


def _as_two_dimensional(ours, theirs):
    """Our weights under torchvision's names, kernels of width 3 in the middle row of 3 x 3."""
    state = {}
    for key, value in ours.state_dict().items():
        name = key.replace("shortcut", "downsample")
        state[name] = value
        if value.ndim == 3:
            size = value.shape[2]
            state[name] = torch.zeros(*value.shape[:2], size, size)
            state[name][:, :, size // 2] = value
    theirs.maxpool = theirs.avgpool = theirs.fc = torch.nn.Identity()
    theirs.conv1 = torch.nn.Conv2d(12, 64, 7, 2, 3, bias=False)
    theirs.load_state_dict(state)
    return theirs.eval()


@pytest.mark.parametrize(("depth", "oracle"), [(34, resnet34), (50, resnet50)])
def test_the_resnets_are_torchvisions_in_one_dimension(depth, oracle):
    torch.manual_seed(0)
    ours = MerlResNet(depth).eval()
    theirs = _as_two_dimensional(ours, oracle())
    signal = torch.rand(2, 12, 333)
    with torch.inference_mode():
        expected = theirs(signal[:, :, None]).unflatten(1, (ours.width, -1))
        features = ours.features(signal)
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)
    assert features.shape == (2, 2048 if depth == 50 else 512, 21)


def test_the_vit_is_made_of_timms_blocks():
    torch.manual_seed(0)
    ours = MerlVit(128, 2, 2, 96, 600, 25, 8).eval()
    signal = torch.rand(3, 8, 600)
    tokens = torch.einsum(
        "blnp,dlp->bnd", signal.unflatten(2, (24, 25)), ours.to_patch_embedding.weight
    )
    tokens = tokens + ours.pos_embedding
    for i in range(2):
        tokens = timm_block(getattr(ours, f"block{i}"), 128, 2, 96)(tokens)
    with torch.inference_mode():
        torch.testing.assert_close(ours.features(signal), tokens.transpose(1, 2))
        expected = torch.nn.functional.layer_norm(tokens.mean(1), (128,))
        torch.testing.assert_close(ours.pool(ours.features(signal)), expected, atol=1e-5, rtol=1e-5)


def timm_block(block, width, heads, hidden):
    """timm's transformer block with the weights of one of ours."""
    theirs = timm.models.vision_transformer.Block(width, heads, hidden / width, qkv_bias=True)
    names = {
        "norm1": "attn.norm",
        "attn.qkv": "attn.fn.to_qkv",
        "attn.proj": "attn.fn.to_out.0",
        "norm2": "ff.norm",
        "mlp.fc1": "ff.fn.net.0",
        "mlp.fc2": "ff.fn.net.3",
    }
    own = block.state_dict()
    theirs.load_state_dict(
        {f"{a}.{kind}": own[f"{b}.{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
    )
    theirs.norm1.eps = theirs.norm2.eps = 1e-5
    return theirs.eval()


def test_the_attention_pool_is_torchs_attention():
    """The token alone gets its position twice, as in the authors' code."""
    torch.manual_seed(0)
    pool = AttentionPool(9, 32).eval()
    features = torch.randn(3, 32, 9)
    with torch.inference_mode():
        place = pool.positional_embedding[0]
        token = (pool.cls_token[0, 0] + 2 * place[0]).expand(3, 1, -1)
        rows = torch.cat([token, features.mT + place[1:]], 1)
        expected = pool.c_proj(pool.mhsa(rows[:, :1], rows, rows)[0])[:, 0]
        torch.testing.assert_close(pool(features), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [5000, 2500, 777, 1])
def test_a_short_record_is_padded_with_0_mv_before_min_max(length):
    signal, lengths = records(length, 4000)
    scaled = build().scaled(signal, lengths)
    assert scaled.shape == (2, 12, 5000)
    record = np.pad(signal[0, :, :length].numpy(), ((0, 0), (0, 5000 - length)))
    expected = (record - record.min()) / (record.max() - record.min() + 1e-8)
    np.testing.assert_allclose(scaled[0], expected, atol=1e-6)


def test_a_scaled_record_and_silence_stay_as_they_are():
    model = build()
    signal = torch.rand(2, 12, 5000)
    signal[1] = 0
    assert torch.equal(model.scaled(signal, torch.tensor([5000, 5000])), signal)


def test_leads_come_in_the_order_of_mimic_unless_told_otherwise():
    example = {
        "signal": np.arange(12.0)[:, None].repeat(5000, 1),
        "sample_rate": 500,
        "leads": STANDARD_LEADS,
    }
    for order, expected in (("mimic", [3, 5, 4, 6]), ("standard", [3, 4, 5, 6])):
        spec = input_spec("ecg", build(lead_order=order).input)
        window = spec.windows(example)[0].arrays["signal"]
        assert window[3:7, 0].tolist() == expected
    assert sorted(LEAD_ORDERS["mimic"]) == sorted(STANDARD_LEADS)
    with pytest.raises(EncoderError, match="lead_order"):
        Merl(lead_order="cabrera")


@pytest.mark.parametrize("method", ["forward", "joint"])
@pytest.mark.parametrize("arch", ARCHS)
def test_neither_padding_nor_company_matters(arch, method):
    model = build(arch)
    signal, lengths = records(5000, 3123, 1999, 50)
    noisy = torch.nn.functional.pad(signal, (0, 321))
    for row, length in zip(noisy, lengths.tolist(), strict=True):
        row[:, length:] = 9.0  # whatever lies beyond a record is not looked at
    kept = noisy.clone()
    with torch.inference_mode():
        together, padded = (getattr(model, method)(s, lengths) for s in (signal, noisy))
        for i, length in enumerate(lengths.tolist()):
            alone = getattr(model, method)(signal[i : i + 1, :, :length], lengths[i : i + 1])[0]
            for other in (together[i], padded[i]):
                assert (other - alone).abs().max() <= 1e-4 * alone.abs().max()
    assert torch.equal(noisy, kept)
    assert together.dtype == torch.float32


@pytest.mark.parametrize("arch", ARCHS)
def test_joint_space(arch):
    model = build(arch, seq_len=3000, num_leads=8)
    signal, lengths = records(3000, 2000, leads=8)
    with torch.inference_mode():
        joint, clip = model.joint(signal, lengths), model(signal, lengths)
        texts = model.encode_text(["Sinus rhythm", "atrial fibrillation with rapid response"])
        torch.testing.assert_close(model.encode_text(["SINUS RHYTHM"]), texts[:1])
        long = model.encode_text(["x" * 900, "x" * 800])
    assert joint.shape == texts.shape == (2, 16)
    assert clip.shape == (2, 64 if arch == "resnet18" else 32)
    torch.testing.assert_close(joint.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(texts.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(long[0], long[1])
    assert (texts[0] - texts[1]).abs().max() > 1e-3
    assert not hasattr(build(arch, text=False), "encode_text")


def test_word_pieces_are_those_of_bert(tmp_path, monkeypatch):
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizer

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "sinus",
        "rh",
        "##ythm",
        "st",
        "-",
        "t",
        ",",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertWordPieceTokenizer(str(tmp_path / "vocab.txt")).save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(text_module, "fetch", lambda file, name, **options: tmp_path / file.file)
    texts = ["Sinus Rhythm, ST-T", "sinus", "rhythm " * 300]
    tokens, mask = Tokenizer("hub")(texts, torch.device("cpu"))
    theirs = BertTokenizer(str(tmp_path / "vocab.txt"), do_lower_case=True)(
        texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    assert torch.equal(tokens, theirs["input_ids"])
    assert torch.equal(mask, theirs["attention_mask"])
    with pytest.raises(EncoderError, match="tokenizer"):
        Tokenizer("words")


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("encoder_alone", [True, False])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, arch, encoder_alone):
    model = build(arch)
    good = model.ecg_encoder.state_dict() if encoder_alone else model.state_dict()
    key = next(k for k in good if "conv1.weight" in k or "to_patch_embedding" in k)
    other = build(arch, width=64).ecg_encoder.state_dict()
    cases = {
        f"missing: {key}": {k: v for k, v in good.items() if k != key},
        "surplus: layer9.weight": {**good, "layer9.weight": torch.zeros(1)},
        "should be": other,
        "surplus: encoder.layers.0.weight": {"encoder.layers.0.weight": torch.zeros(2)},
    }
    path = tmp_path / "w.pth"
    for message, state in cases.items():
        torch.save(state, path)
        with pytest.raises(EncoderError, match=re.escape(message)):
            load_into(build(arch), path, "merl")


def test_an_unknown_architecture_is_refused():
    for arch in ("resnet19", "vit_huge", "mamba"):
        with pytest.raises(EncoderError, match="vit_tiny"):
            Merl(arch)


@pytest.mark.parametrize("name", CARDS)
def test_the_cards(name):
    encoder = load_encoder(name, init="random", reduced=True)
    findings = list(check_encoder(encoder))
    assert [finding for finding in findings if not finding.passed] == []
    assert {"joint", "text"} <= {finding.check for finding in findings}


@pytest.mark.parametrize("arch", ARCHS)
def test_half_precision_keeps_the_direction(arch):
    model = build(arch)
    signal, lengths = records(5000, 2600)
    with torch.inference_mode():
        full = model(signal, lengths), model.joint(signal, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(signal, lengths), model.joint(signal, lengths)
    for a, b in zip(full, half, strict=True):
        assert torch.nn.functional.cosine_similarity(a, b).min() >= 0.999
