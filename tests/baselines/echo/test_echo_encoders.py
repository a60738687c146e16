"""Both echo encoders: the contract, on real and on simulated clips."""

import importlib
import inspect

import cv2
import numpy as np
import pytest
import torch

from baselines.echo import ENCODERS
from baselines.echo.flow_statistics import FlowStatistics, clip_statistics, dense_flow
from baselines.echo.local_contrast import local_features
from benchmark.inputs import input_spec

STARTERS = [card for card in ENCODERS if card.kind in ("features", "control")]


def build(card):
    module, _, name = card.target.partition(":")
    torch.manual_seed(0)
    return getattr(importlib.import_module(module), name)(**card.options).eval()


@pytest.fixture(params=STARTERS, ids=[card.name for card in STARTERS])
def card(request):
    return request.param


@pytest.fixture
def encoder(card):
    return build(card)


def beating(frames=20, size=64, shrink=0.3, seed=0):
    """A textured picture that is stretched and shrunk about its centre in time."""
    rng = np.random.default_rng(seed)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (size, size)).astype(np.float32), (0, 0), 2.0)
    texture = (texture - texture.min()) / np.ptp(texture) * 255
    video = []
    for k in range(frames):
        scale = 1 - shrink * (0.5 - 0.5 * np.cos(2 * np.pi * k / 10))
        warp = cv2.getRotationMatrix2D((size / 2, size / 2), 0, scale)
        video.append(cv2.warpAffine(texture, warp, (size, size)))
    return np.clip(video, 0, 255).astype(np.uint8)


def batch_of(encoder, videos):
    spec = input_spec("echo", encoder.input)
    return spec.collate([spec.windows({"video": v, "fps": 20.0})[0] for v in videos])


@torch.no_grad()
def test_card_and_shape(card, encoder):
    out = encoder(**batch_of(encoder, [beating(), beating(12, seed=1)]))
    assert out.shape == (2, card.dimension)
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert card.modality == encoder.modality == "echo"
    if card.parameters is not None:
        assert card.parameters == sum(p.numel() for p in encoder.parameters())


def test_arguments_are_in_the_order_of_the_batch(encoder):
    names = list(inspect.signature(encoder.forward).parameters)
    assert names == list(batch_of(encoder, [beating()]))


@torch.no_grad()
def test_result_does_not_depend_on_the_batch_or_on_padding(encoder):
    short, long = beating(9, seed=2), beating(20, seed=3)
    alone = encoder(**batch_of(encoder, [short]))
    together = encoder(**batch_of(encoder, [long, short]))[1:]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    batch = batch_of(encoder, [short])
    noise = torch.full_like(batch["video"][:, :, :4], 9.0)
    padded = torch.cat([batch["video"], noise], 2)
    torch.testing.assert_close(encoder(padded, batch["lengths"]), alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    "video", [np.zeros((20, 64, 64), np.uint8), np.full((3, 64, 64), 90, np.uint8)]
)
def test_finite_for_black_and_constant_clips(encoder, video):
    batch = batch_of(encoder, [video])
    assert torch.isfinite(encoder(**batch)).all()
    assert torch.isfinite(encoder.patches(**batch)).all()


@torch.no_grad()
def test_single_frames_have_embeddings_and_patches(encoder):
    frames = [beating(1, 96, seed=s) for s in (4, 5)]
    batch = batch_of(encoder, frames)
    assert encoder(**batch).shape[0] == 2
    patches = encoder.patches(**batch)
    assert patches.ndim == 4
    assert patches.shape[1] == patches.shape[2]
    alone = encoder.patches(**batch_of(encoder, frames[1:]))
    torch.testing.assert_close(alone, patches[1:], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_real_dicom_clip_has_an_embedding(encoder):
    from pydicom.examples import get_path
    from pydicom.pixels import pixel_array

    video = pixel_array(get_path("ybr_color"))
    out = encoder(**batch_of(encoder, [video, beating()]))
    assert torch.isfinite(out).all()
    assert not torch.allclose(out[0], out[1])


@torch.no_grad()
def test_patches_lie_where_the_picture_is(encoder):
    """A bright square changes the patches it covers more than those of the far corner."""
    plain = np.full((1, 64, 64), 60, np.uint8)
    plain[0, ::2, ::3] = 80
    marked = plain.copy()
    marked[0, :16, 32:48] = 250
    before, after = (encoder.patches(**batch_of(encoder, [v]))[0] for v in (plain, marked))
    side = before.shape[0]
    change = (after - before).norm(dim=-1)
    covered = change[: side // 4, side // 2 : 3 * side // 4].mean()
    assert covered > 1.5 * change[3 * side // 4 :, : side // 4].mean()


def test_flow_finds_a_shift():
    video = beating(1, 32, seed=6)[0].astype(np.float32)
    moved = np.stack([video, np.roll(video, 1, axis=1)])
    flow = dense_flow(moved)
    inner = flow[0, 8:24, 8:24]
    assert inner[..., 0].mean() == pytest.approx(1, abs=0.25)
    assert abs(inner[..., 1].mean()) < 0.25


def test_stronger_beats_have_larger_motion_features():
    still, weak, strong = (
        clip_statistics(torch.from_numpy(beating(shrink=s) / 255.0).float())
        for s in (0.0, 0.1, 0.3)
    )
    motion = slice(3 * 64 + 2, 3 * 64 + 2 + 50)
    assert still[motion].abs().max() < 1e-4
    assert strong[motion].norm() > 1.5 * weak[motion].norm() > 0


def test_frame_rate_does_not_change_the_extent_of_motion():
    fast = beating(20)
    slow = fast[::2]
    features = [clip_statistics(torch.from_numpy(v / 255.0).float()) for v in (fast, slow)]
    extent = [f[3 * 64 + 2 : 3 * 64 + 2 + 32].norm() for f in features]
    assert extent[1] == pytest.approx(float(extent[0]), rel=0.3)


def test_local_features_ignore_gain():
    picture = torch.from_numpy(beating(1, seed=7)).float() / 255
    changed = 0.5 * picture + 0.1
    first, second = local_features(picture), local_features(changed)
    typical = (first - second).abs().median()
    assert typical < 0.02
    assert first.shape == (1, 16, 16, 44)


def test_random_weights_follow_the_seed():
    card = next(card for card in STARTERS if card.kind == "control")
    batch = batch_of(build(card), [beating()])
    with torch.no_grad():
        first, again = build(card)(**batch), build(card)(**batch)
    assert torch.equal(first, again)


def test_features_encoder_learns_nothing():
    assert not list(FlowStatistics().parameters())
