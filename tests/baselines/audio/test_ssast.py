"""SSAST against the authors' outputs, torchaudio's Kaldi front end, and its own promises."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from baselines.audio import ENCODERS
from baselines.audio.ssast import Ssast, SsastFrame, adapt_positions
from baselines.audio.ssast_frontend import STATISTICS, KaldiFbank
from benchmark.catalog import import_target
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError
from tasks.audio.recordings import recordings

CARDS = [card for card in ENCODERS if card.name.startswith("ssast")]
SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3, "input_tdim": 64}
CLASSES = {"ssast-patch": Ssast, "ssast-frame": SsastFrame}


def build(cls=Ssast, **options):
    torch.manual_seed(0)
    return cls(**{**SMALL, **options}).eval()


def published(model):
    """A pretraining checkpoint as the authors' DataParallel saves it, heads and all."""
    width = model.v.cls_token.shape[-1]
    heads = {
        "cpredlayer.0.weight": torch.zeros(width, width),
        "gpredlayer.2.bias": torch.zeros(256),
        "mask_embed": torch.zeros(1, 1, width),
        "p_input_fdim": torch.tensor(128),
        "p_input_tdim": torch.tensor(1024),
        "v.head.weight": torch.zeros(1000, width),
        "v.head_dist.bias": torch.zeros(1000),
    }
    return {f"module.{key}": value for key, value in {**model.state_dict(), **heads}.items()}


def batch(waves, extra=0):
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()) + extra)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return padded, lengths


@pytest.fixture(scope="module")
def waves():
    known = {recording.name: recording.wave for recording in recordings()}
    return [known[name] for name in ("tabla_ke1", "hat_cab", "bd_808", "loop_amen")]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", CLASSES)
@torch.inference_mode()
def test_the_authors_output_is_reproduced(name, shared_data, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    file = shared_data.parent / "fixtures" / f"{name}.safetensors"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside the checkout")
    with safetensors.safe_open(file, "pt") as reader:
        config = json.loads(reader.metadata()["config"])
        tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
    del config["note"]
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    torch.save(state, tmp_path / "pretrained.pth")
    model = CLASSES[name](**config).eval()
    load_into(model, tmp_path / "pretrained.pth", name)
    clip = model.embed_fbank(tensors["input/fbank"])
    assert float((clip - tensors["output/clip"]).abs().max()) < 1e-5


@pytest.mark.parametrize("bands", [128, 64])
def test_filter_banks_are_torchaudios_clip_by_clip(bands, waves):
    from torchaudio.compliance.kaldi import fbank

    waveform, lengths = batch([wave + 0.05 for wave in waves], extra=777)
    found = KaldiFbank(bands)(waveform + 0.3 * (waveform == 0), lengths, 300)
    for row, wave in zip(found, waves, strict=True):
        own = torch.from_numpy(wave + np.float32(0.05))[None]
        expected = fbank(
            own - own.mean(),
            htk_compat=True,
            sample_frequency=16_000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=bands,
            dither=0.0,
            frame_shift=10,
        )[:300]
        audible = expected > -10  # below, rounding of the mean is all there is
        gap = (row[: len(expected)] - expected).abs()
        assert float(gap[audible].max()) < 2e-3
        assert float(gap.mean()) < 1e-3
        assert not row[len(expected) :].any()


def test_padding_is_standardised_like_the_rest(waves):
    model = build(input_tdim=1024)
    waveform, lengths = batch(waves[:1])
    spectrogram = model.spectrogram(waveform, lengths)
    mean, deviation = STATISTICS["audioset"]
    assert spectrogram.shape == (1, 1024, 128)
    assert float(spectrogram[0, -1, 0]) == pytest.approx(-mean / (2 * deviation))


def test_statistics_of_other_datasets_can_be_chosen(waves):
    waveform, lengths = batch(waves[:1])
    banks = build().fbank(waveform, lengths, 64)
    for name, (mean, deviation) in STATISTICS.items():
        expected = (banks - mean) / (2 * deviation)
        for given in (name, (mean, deviation)):
            found = build(normalisation=given).spectrogram(waveform, lengths)
            torch.testing.assert_close(found, expected)
    with pytest.raises(EncoderError, match="audioset, esc50"):
        build(normalisation="fsd50k")


@pytest.mark.parametrize("columns", [25, 50, 64, 101, 130])
def test_positions_are_cut_or_interpolated(columns):
    table = torch.randn(1, 2 + 8 * 64, 6, generator=torch.Generator().manual_seed(0))
    found = adapt_positions(table, (8, 64), (12, columns))
    assert found.shape == (1, 2 + 12 * columns, 6)
    assert torch.equal(found[:, :2], table[:, :2])
    grid = table[:, 2:].transpose(1, 2).reshape(1, 6, 8, 64)
    if columns < 64:
        start = 32 - columns // 2
        grid = grid[..., start : start + columns]
    expected = interpolate(grid, (8, columns), mode="bilinear")
    expected = interpolate(expected, (12, columns), mode="bilinear")
    torch.testing.assert_close(found[:, 2:].transpose(1, 2).reshape(1, 6, 12, columns), expected)


def test_the_pretraining_grid_keeps_its_positions():
    table = torch.randn(1, 2 + 8 * 64, 6)
    assert torch.equal(adapt_positions(table, (8, 64), (8, 64)), table)
    assert torch.allclose(adapt_positions(table, (1, 512), (1, 512)), table)


def test_positions_go_through_eight_rows_whatever_the_model_has():
    """As in the authors' code, which shows where the grid has another number of rows."""
    table = torch.randn(1, 2 + 9 * 32, 6)
    grid = table[:, 2:].transpose(1, 2).reshape(1, 6, 9, 32)
    expected = interpolate(interpolate(grid, (8, 40), mode="bilinear"), (9, 40), mode="bilinear")
    found = adapt_positions(table, (9, 32), (9, 40))[:, 2:].transpose(1, 2)
    torch.testing.assert_close(found.reshape(1, 6, 9, 40), expected)


@torch.inference_mode()
@pytest.mark.parametrize("cls", CLASSES.values())
@pytest.mark.parametrize("garbage", [0.0, 0.5])
def test_padding_and_batch_do_not_matter(cls, garbage, waves):
    model = build(cls, **({} if cls is Ssast else {"tstride": 2}))
    waves = [wave[:10_400] for wave in [*waves, waves[3][5000:5100], waves[3][:6401]]]
    waveform, lengths = batch(waves)
    past = torch.arange(waveform.shape[1]) >= lengths[:, None]
    given = waveform + garbage * past
    before = given.clone()
    clips, layers = model(given, lengths), model.layers(given, lengths)
    assert torch.equal(given, before)
    assert clips.shape == (6, 48)
    assert layers.shape == (2, 6, 48)
    torch.testing.assert_close(layers[-1], clips)
    for i, wave in enumerate(waves):
        torch.testing.assert_close(clips[i], model(*batch([wave]))[0], atol=1e-5, rtol=1e-4)
    if cls is SsastFrame:
        frames = model.frames(given, lengths)
        assert frames.shape == (6, 33, 48)
        for i, wave in enumerate(waves):
            alone = model.frames(*batch([wave]))[0]
            torch.testing.assert_close(frames[i, : len(alone)], alone, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_whole_fixed_length_is_averaged(waves):
    """Mean over all patch tokens of the padded spectrogram, as the authors do."""
    model = build()
    waveform, lengths = batch([waves[0][:4000]])
    tokens = model.patch_tokens(model.spectrogram(waveform, lengths))
    assert tokens.shape == (1, 12 * 5, 48)
    torch.testing.assert_close(model(waveform, lengths), tokens.mean(1))


@torch.inference_mode()
@pytest.mark.parametrize("samples", [1, 399, 400, 3000])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_silent_constant_and_tiny_clips_are_finite(samples, value):
    waveform, lengths = batch([np.full(samples, value, np.float32)])
    for cls in CLASSES.values():
        assert torch.isfinite(build(cls)(waveform, lengths)).all()
    assert torch.isfinite(build(SsastFrame).frames(waveform, lengths)).all()


@torch.inference_mode()
@pytest.mark.parametrize("tstride", [1, 2])
def test_frames_stand_where_the_engine_expects_them(tstride):
    """Without attention and positions, a click moves the frames that see it, and only those."""
    model = build(SsastFrame, tstride=tstride, input_tdim=100, depth=1)
    model.v.blocks = torch.nn.ModuleList([torch.nn.Identity()])
    assert model.frame_rate == 100 / tstride
    rng = np.random.default_rng(0)
    wave = (0.01 * rng.standard_normal(16_000)).astype(np.float32)
    clicked = wave.copy()
    clicked[8000:8004] += 0.9
    first, second = model.frames(*batch([wave, clicked]))
    assert len(first) == 100 / tstride
    change = (first - second).square().sum(1)
    times = (torch.arange(len(change)) + 0.5) / model.frame_rate
    centre = float((times * change).sum() / change.sum())
    assert centre == pytest.approx(0.5, abs=0.01)
    assert float((times[change > 0.1 * change.max()] - 0.5).abs().max()) < 0.03


def test_a_window_longer_than_the_model_sees_is_refused():
    with pytest.raises(EncoderError, match="input_tdim"):
        build(SsastFrame).frames(torch.zeros(1, 16_000), torch.tensor([16_000]))


@torch.inference_mode()
def test_half_precision_is_near(waves):
    model = build()
    given = batch([wave[:10_000] for wave in waves])
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(*given)
    exact = model(*given)
    assert rough.dtype == torch.float32
    assert float(torch.cosine_similarity(rough, exact).min()) > 0.999


def test_a_published_checkpoint_is_loaded(tmp_path):
    source, model = build(), build()
    torch.nn.init.normal_(source.v.pos_embed)
    for entries in (published(source), source.state_dict()):
        torch.nn.init.zeros_(model.v.pos_embed)
        torch.save(entries, tmp_path / "pretrained.pth")
        load_into(model, tmp_path / "pretrained.pth", "ssast")
        assert torch.equal(model.v.pos_embed, source.v.pos_embed)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("module.v.blocks.1.attn.qkv.bias"), "v.blocks.1.attn.qkv.bias"),
        (lambda s: s.update({"module.v.blocks.2.norm1.bias": torch.ones(48)}), "v.blocks.2.norm1"),
        (lambda s: s.update({"module.mlp_head.1.bias": torch.ones(50)}), "mlp_head.1.bias"),
        (lambda s: s.update({"module.v.pos_embed": torch.ones(1, 9, 48)}), "v.pos_embed"),
    ],
)
def test_another_checkpoint_is_refused_by_key(change, named, tmp_path):
    entries = published(build())
    change(entries)
    torch.save(entries, tmp_path / "other.pth")
    with pytest.raises(EncoderError, match=named):
        load_into(build(), tmp_path / "other.pth", "ssast")


def test_the_patch_model_does_not_take_the_frame_models_weights(tmp_path):
    torch.save(published(build(SsastFrame)), tmp_path / "frame.pth")
    with pytest.raises(EncoderError, match=r"v\.patch_embed\.proj\.weight is \(48, 1, 128, 2\)"):
        load_into(build(), tmp_path / "frame.pth", "ssast")


@pytest.mark.parametrize(
    "options",
    [{"num_heads": 5}, {"input_tdim": 8}, {"fshape": 256}],
)
def test_impossible_geometry_is_refused(options):
    with pytest.raises(EncoderError):
        build(**options)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_cards_are_right(card):
    with torch.device("meta"):
        full = import_target(card.target)(**card.options)
    assert sum(parameter.numel() for parameter in full.parameters()) == card.parameters
    assert full.v.norm.weight.numel() == card.dimension
    with pytest.raises(EncoderError, match="github.com/YuanGongND/ssast"):
        load_encoder(card.name)
