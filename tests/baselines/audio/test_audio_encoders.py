"""What the engine relies on: shapes, padding and batch neutrality, frame times, silence."""

import numpy as np
import pytest
import torch

from baselines.audio import ENCODERS
from benchmark.catalog import import_target
from benchmark.inputs import input_spec
from tasks.audio.recordings import RATE, recordings
from tasks.audio.rendering import coloured_noise

STARTERS = [card for card in ENCODERS if card.kind in ("features", "control")]
NAMES = [card.name for card in STARTERS]
CLIPS = ("tabla_ke1", "hat_cab", "bd_808", "loop_amen")


@pytest.fixture(scope="module", params=NAMES)
def encoder(request):
    card = next(card for card in STARTERS if card.name == request.param)
    torch.manual_seed(0)
    return import_target(card.target)(**card.options).eval()


@pytest.fixture(scope="module")
def waves():
    known = {r.name: r.wave for r in recordings()}
    return [known[name] for name in CLIPS]


def collate(encoder, waves):
    spec = input_spec("audio", encoder.input)
    made = [spec.windows({"waveform": wave, "sample_rate": RATE})[0] for wave in waves]
    return spec.collate(made)


def test_cards_describe_audio_encoders():
    assert {card.kind for card in STARTERS} == {"features", "control"}
    for card in STARTERS:
        assert card.modality == import_target(card.target).modality == "audio"


@torch.inference_mode()
def test_shapes_types_and_finite(encoder, waves):
    batch = collate(encoder, waves)
    clip, frames = encoder(**batch), encoder.frames(**batch)
    steps = -(-batch["waveform"].shape[1] // round(RATE / encoder.frame_rate))
    assert clip.ndim == 2
    assert clip.shape[0] == len(waves)
    assert frames.shape[:2] == (len(waves), steps)
    for found in (clip, frames):
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        assert not found.requires_grad


@torch.inference_mode()
@pytest.mark.parametrize("garbage", [0.0, 0.5])
def test_padding_and_batch_do_not_matter(encoder, waves, garbage):
    batch = collate(encoder, waves)
    past = torch.arange(batch["waveform"].shape[1] + 4321) >= batch["lengths"][:, None]
    longer = torch.nn.functional.pad(batch["waveform"], (0, 4321)) + garbage * past
    clips, frames = encoder(longer, batch["lengths"]), encoder.frames(longer, batch["lengths"])
    for i, wave in enumerate(waves):
        alone = collate(encoder, [wave])
        clip, single = encoder(**alone)[0], encoder.frames(**alone)[0]
        scale = float(clip.abs().max())
        torch.testing.assert_close(clips[i], clip, atol=1e-4 * scale, rtol=1e-4)
        torch.testing.assert_close(frames[i, : len(single)], single, atol=2e-3, rtol=1e-3)


@torch.inference_mode()
@pytest.mark.parametrize("value", [0.0, 0.3])
@pytest.mark.parametrize("samples", [1, 100, 3000])
def test_silent_constant_and_tiny_clips_are_finite(encoder, value, samples):
    batch = collate(encoder, [np.full(samples, value, np.float32)])
    assert torch.isfinite(encoder(**batch)).all()
    assert torch.isfinite(encoder.frames(**batch)).all()


@torch.inference_mode()
def test_frames_are_centred_where_the_engine_expects(encoder):
    """A click moves most the frames around its own time."""
    wave = coloured_noise(RATE * 2, 0.0, np.random.default_rng(0)) * 0.01
    clicked = wave.copy()
    clicked[RATE : RATE + 8] += 0.9
    before, after = encoder.frames(**collate(encoder, [wave, clicked]))
    change = (after - before).square().sum(1)
    times = (torch.arange(len(change)) + 0.5) / encoder.frame_rate
    strongest = change > 0.5 * change.max()
    assert float(times[strongest].mean()) == pytest.approx(1.0, abs=0.02)
    assert float((times[strongest] - 1).abs().max()) < 0.1


@torch.inference_mode()
def test_louder_highs_move_the_embedding_more_than_numerics(encoder):
    low, high = (coloured_noise(RATE, slope, np.random.default_rng(0)) * 0.1 for slope in (2, 0))
    first, second = encoder(**collate(encoder, [low, high]))
    assert float((first - second).abs().max()) > 0.05


def test_weights_follow_the_seed_of_the_caller():
    control = next(card for card in STARTERS if card.kind == "control")

    def weights(seed):
        torch.manual_seed(seed)
        model = import_target(control.target)()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_declared_sizes_are_right(waves):
    for card in STARTERS:
        model = import_target(card.target)().eval()
        assert card.parameters == sum(p.numel() for p in model.parameters())
        with torch.inference_mode():
            assert card.dimension == model(**collate(model, waves[:1])).shape[1]
