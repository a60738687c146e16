"""ATST against the authors' outputs, torchaudio's and librosa's mel spectrograms, its promises."""

import json

import numpy as np
import pytest
import torch

from baselines.audio import ENCODERS
from baselines.audio.atst import AtstClip, AtstFrame
from baselines.audio.atst_frontend import EXTREMES, MinMaxMel, reflection
from benchmark.catalog import import_target
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError
from tasks.audio.recordings import recordings

CARDS = [card for card in ENCODERS if card.name.startswith("atst")]
SMALL = {"embed_dim": 48, "depth": 3, "num_heads": 3}
CLASSES = {"atst-clip": AtstClip, "atst-frame": AtstFrame}


def build(cls=AtstClip, **options):
    torch.manual_seed(0)
    return cls(**{**SMALL, **options}).eval()


def batch(waves, extra=0):
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()) + extra)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded, lengths


def spectrograms(*lengths, longest=None):
    generator = torch.Generator().manual_seed(1)
    mel = torch.randn(len(lengths), 1, 64, longest or max(lengths), generator=generator)
    return mel, torch.tensor(lengths)


def lightning(state):
    """Keys of the authors' Lightning checkpoints: student, teacher, and the heads of both."""
    heads = {"projector.0.weight": torch.ones(8, 8), "predictor.0.weight": torch.ones(8, 8)}
    entries = {f"model.teacher.encoder.{key}": value for key, value in state.items()}
    entries |= {f"model.student.encoder.{key}": value + 1 for key, value in state.items()}
    entries |= {f"model.teacher.{key}": value for key, value in heads.items()}
    entries |= {f"model.student.{key}": value for key, value in heads.items()}
    return {"state_dict": entries, "hyper_parameters": {"arch": "base"}, "epoch": 9}


def dino(state):
    """Keys of the authors' earlier checkpoints."""
    teacher = {f"module.backbone.{key}": value for key, value in state.items()}
    teacher["module.head.mlp.0.weight"] = torch.ones(8, 8)
    student = {f"module.backbone.{key}": value + 1 for key, value in state.items()}
    return {"teacher": teacher, "student": student, "epoch": 9}


def plain(state):
    return dict(state)


@pytest.fixture(scope="module")
def waves():
    known = {recording.name: recording.wave for recording in recordings()}
    return [known[name] for name in ("tabla_ke1", "hat_cab", "bd_808", "loop_amen")]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("layout", [lightning, dino, plain])
@torch.inference_mode()
def test_the_authors_output_is_reproduced(name, layout, shared_data, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    file = shared_data.parent / "fixtures" / f"{name}.safetensors"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside the checkout")
    with safetensors.safe_open(file, "pt") as reader:
        config = json.loads(reader.metadata()["config"])
        tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
    del config["note"]
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    torch.save(layout(state), tmp_path / "published.ckpt")
    model = CLASSES[name](**config).eval()
    load_into(model, tmp_path / "published.ckpt", name)
    mel, length = tensors["input/mel"], tensors["input/length"]
    clip = model.embed_mel(mel, length)
    assert float((clip - tensors["output/clip"]).abs().max()) < 1e-5
    if "output/frames" in tensors:
        frames = model.mel_frames(mel, length)
        assert float((frames - tensors["output/frames"]).abs().max()) < 1e-5


def test_spectrograms_are_torchaudios_clip_by_clip(waves):
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    spectrogram = MelSpectrogram(
        16_000, f_min=60, f_max=7800, hop_length=160, win_length=1024, n_fft=1024, n_mels=64
    )
    level = AmplitudeToDB("power", top_db=80)
    waves = [*waves, waves[3][4000:4600]]
    waveform, lengths = batch(waves, extra=999)
    found, counts = MinMaxMel()(waveform + 0.3 * (waveform == 0), lengths)
    for row, count, wave in zip(found[:, 0], counts.tolist(), waves, strict=True):
        quiet = torch.from_numpy(wave)[None]
        quiet = quiet + 0.3 * (quiet == 0)
        expected = level(spectrogram(quiet))[0]
        expected = 2 * (expected - EXTREMES[0]) / (EXTREMES[1] - EXTREMES[0]) - 1
        assert count == expected.shape[1]
        assert float((row[:, :count] - expected).abs().max()) < 1e-4
        assert not row[:, count:].any()


@pytest.mark.long
def test_spectrograms_are_librosas(waves):
    librosa = pytest.importorskip("librosa")
    wave = waves[3]
    power = librosa.feature.melspectrogram(
        y=wave,
        sr=16_000,
        n_fft=1024,
        hop_length=160,
        n_mels=64,
        fmin=60,
        fmax=7800,
        htk=True,
        norm=None,
        pad_mode="reflect",
    )
    expected = librosa.power_to_db(power, ref=1.0, top_db=80)
    found, _ = MinMaxMel()(*batch([wave]))
    low, high = EXTREMES
    decibels = (found[0, 0].numpy() + 1) / 2 * (high - low) + low
    np.testing.assert_allclose(decibels, expected, atol=0.02)


@pytest.mark.parametrize("length", [2, 5, 30, 600])
def test_reflection_is_numpys(length):
    index = reflection(torch.tensor([length]), length, 512)[0].numpy()
    np.testing.assert_array_equal(index, np.pad(np.arange(length), 512, mode="reflect"))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("length", "counted"),
    [(200, 1), (601, 1), (901, 1), (902, 2), (1202, 2), (1502, 2), (1503, 3), (2000, 3)],
)
def test_clip_chunks_count_by_the_authors_rule(length, counted):
    """Chunks of 601 frames, more than 300 of which remain; the divisor of the mean is not capped:
    a chunk's sum over patches is divided by what remains of the clip."""
    model = build()
    mel, lengths = spectrograms(length)
    expected = torch.zeros(3, 2, 48)
    for start in range(0, 601 * counted, 601):
        piece = mel[..., start : start + 601]
        inside, remaining = piece.shape[-1] // 4, (length - start) // 4
        states = model.transformer(piece, torch.tensor([inside]), 3)
        for block, tokens in enumerate(states):
            expected[block, 0] += tokens[0, 0] / counted
            expected[block, 1] += tokens[0, 1:].sum(0) / remaining / counted
    found = model.embed_mel(mel, lengths)[0].reshape(2, 3, 48).transpose(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("length", [40, 1001, 1501, 1502, 2500])
def test_long_spectrograms_are_chunked_by_frame_models_too(length):
    model = build(AtstFrame, blocks=2)
    mel, lengths = spectrograms(length)
    pieces = [mel[..., start : start + 1001] for start in range(0, length, 1001)]
    pieces = [piece for i, piece in enumerate(pieces) if i == 0 or piece.shape[-1] > 500]
    means = []
    for piece in pieces:
        states = model.transformer(piece, torch.tensor([piece.shape[-1] // 4]), 2)
        means.append(torch.cat([tokens.mean(1) for tokens in states], -1))
    torch.testing.assert_close(model.embed_mel(mel, lengths), torch.stack(means).mean(0))


@torch.inference_mode()
@pytest.mark.parametrize("cls", CLASSES.values())
def test_spectrogram_lengths_in_one_batch_do_not_matter(cls):
    model = build(cls)
    mel, lengths = spectrograms(1350, 1203, 902, 601, 77, 4, longest=1400)
    together = model.embed_mel(mel, lengths)
    for i, length in enumerate(lengths.tolist()):
        alone = model.embed_mel(mel[i : i + 1, ..., :length], lengths[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("cls", CLASSES.values())
@pytest.mark.parametrize("garbage", [0.0, 0.5])
def test_padding_and_batch_do_not_matter(cls, garbage, waves):
    model = build(cls, chunk=101)
    waves = [*waves, waves[3][5000:5100], waves[3][:6401]]
    waveform, lengths = batch(waves, extra=1234)
    past = torch.arange(waveform.shape[1]) >= lengths[:, None]
    given = waveform + garbage * past
    before = given.clone()
    clips, layers = model(given, lengths), model.layers(given, lengths)
    frames = model.frames(given, lengths)
    assert torch.equal(given, before)
    parts = 2 if cls is AtstClip else 1
    assert clips.shape == (6, 3 * 48 * parts)
    assert layers.shape == (3, 6, 48 * parts)
    assert frames.shape == (6, -(-given.shape[1] // 640), 3 * 48)
    for i, wave in enumerate(waves):
        alone = batch([wave])
        torch.testing.assert_close(clips[i], model(*alone)[0], atol=1e-4, rtol=1e-4)
        single = model.frames(*alone)[0]
        torch.testing.assert_close(frames[i, : len(single)], single, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_layers_are_the_parts_of_the_clip_embedding(waves):
    given = batch(waves)
    clip = build()
    layers = clip.layers(*given).unflatten(-1, (2, 48))
    torch.testing.assert_close(clip(*given), layers.permute(1, 2, 0, 3).flatten(1))
    frame = build(AtstFrame)
    torch.testing.assert_close(frame(*given), frame.layers(*given).permute(1, 0, 2).flatten(1))
    for cls in CLASSES.values():
        last = build(cls, blocks=1)
        torch.testing.assert_close(last(*given), last.layers(*given)[-1])
        assert build(cls, frame_blocks=1).frames(*given).shape[-1] == 48


@torch.inference_mode()
@pytest.mark.parametrize("samples", [1, 100, 479, 480, 3000])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_silent_constant_and_tiny_clips_are_finite(samples, value):
    given = batch([np.full(samples, value, np.float32)])
    for cls in CLASSES.values():
        model = build(cls)
        assert torch.isfinite(model(*given)).all()
        assert torch.isfinite(model.frames(*given)).all()


@torch.inference_mode()
@pytest.mark.parametrize("cls", CLASSES.values())
def test_frames_stand_where_the_engine_expects_them(cls):
    """Without attention, a click moves the frames that see it, and only those."""
    model = build(cls, depth=1)
    torch.nn.init.zeros_(model.transformer.blocks[0].attn.proj.weight)
    assert model.frame_rate == 25
    rng = np.random.default_rng(0)
    wave = (0.01 * rng.standard_normal(16_000)).astype(np.float32)
    clicked = wave.copy()
    clicked[8000:8004] += 0.9
    first, second = model.frames(*batch([wave, clicked]))
    assert len(first) == 25
    change = (first - second).square().sum(1)
    times = (torch.arange(len(change)) + 0.5) / model.frame_rate
    assert float(times[change.argmax()]) == pytest.approx(0.5, abs=0.03)
    assert float((times[change > 0.1 * change.max()] - 0.5).abs().max()) < 0.07


@torch.inference_mode()
@pytest.mark.parametrize("cls", CLASSES.values())
def test_half_precision_is_near(cls, waves):
    model, given = build(cls), batch(waves)
    with torch.autocast("cpu", torch.bfloat16):
        rough, frames = model(*given), model.frames(*given)
    assert rough.dtype == frames.dtype == torch.float32
    assert float(torch.cosine_similarity(rough, model(*given)).min()) > 0.999


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("blocks.1.attn.qkv.weight"), "missing: blocks.1.attn.qkv.weight"),
        (lambda s: s.update({"blocks.3.norm1.bias": torch.ones(48)}), "surplus: blocks.3.norm1"),
        (lambda s: s.update({"prompt_embed": torch.ones(1, 1, 48)}), "surplus: prompt_embed"),
        (lambda s: s.update({"pos_embed": torch.ones(1, 9, 48)}), "pos_embed is"),
    ],
)
@pytest.mark.parametrize("layout", [lightning, dino, plain])
def test_another_checkpoint_is_refused_by_key(layout, change, named, tmp_path):
    state = build().transformer.state_dict()
    change(state)
    torch.save(layout(state), tmp_path / "other.ckpt")
    with pytest.raises(EncoderError, match=named):
        load_into(build(), tmp_path / "other.ckpt", "atst-clip")


def test_clip_and_frame_weights_are_not_mistaken_for_each_other(tmp_path):
    torch.save(lightning(build(AtstFrame).transformer.state_dict()), tmp_path / "frame.ckpt")
    with pytest.raises(EncoderError, match="missing: cls_token, norm.bias.*surplus: norm_frame"):
        load_into(build(), tmp_path / "frame.ckpt", "atst-clip")


@pytest.mark.parametrize(
    "options",
    [{"num_heads": 5}, {"blocks": 4}, {"frame_blocks": 0}, {"chunk": 1100}, {"patch_h": 128}],
)
@pytest.mark.parametrize("cls", CLASSES.values())
def test_impossible_geometry_is_refused(cls, options):
    with pytest.raises(EncoderError):
        build(cls, **options)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_are_right(card):
    with torch.device("meta"):
        full = import_target(card.target)(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
    parts = 2 if full.with_class else 1
    assert full.blocks * full.transformer.pos_embed.shape[-1] * parts == card.dimension
    with pytest.raises(EncoderError, match="github.com/Audio-WestlakeU/audiossl"):
        load_encoder(card.name)
