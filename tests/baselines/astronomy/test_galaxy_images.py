"""Statistics of galaxy images on shapes whose values are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.astronomy.galaxy_images import (
    RINGS,
    image_statistics,
    profiles,
    ring_modes,
    shape,
    structure,
)
from benchmark.encoder import load_encoder

SIZE = 64
AXIS = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
RADIUS = torch.hypot(AXIS[:, None], AXIS[None])
ANGLE = torch.atan2(AXIS[:, None], AXIS[None])


def test_turning_the_sky_changes_nothing():
    image = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    turned = image.rot90(1, (2, 3))
    found, expected = image_statistics(turned), image_statistics(image)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(found[:, :-15], expected[:, :-15], rtol=1e-3, atol=1e-3)


def test_a_disc_has_its_radius_and_no_arms():
    disc = (RADIUS < 0.5).float()[None]
    _, spread, r20, r50, r80, concentration, *_ = shape(disc)[0].tolist()
    assert spread == pytest.approx(0.5 / 2**0.5, abs=0.01)
    assert [r20, r50, r80] == pytest.approx(
        [0.5 * share**0.5 for share in (0.2, 0.5, 0.8)], abs=0.02
    )
    assert concentration == pytest.approx(np.log10(2), abs=0.03)
    assert shape(disc)[0, 0] < 0.01
    assert ring_modes(disc).reshape(4, RINGS)[:3, 1:5].max() < 0.02
    assert structure(disc)[0, :2].abs().max() < 1e-6


def test_two_arms_are_the_second_mode_of_their_rings():
    arms = (1 + 0.8 * torch.cos(2 * ANGLE + 5 * RADIUS))[None]
    modes = ring_modes(arms).reshape(4, RINGS)
    assert modes[1, 3:11].min() > 0.35
    assert modes[[0, 2, 3], 3:11].max() < 0.1


def test_an_ellipse_is_flat_and_colours_are_told():
    ellipse = (torch.hypot(3 * AXIS[:, None], AXIS[None]) < 0.8).float()[None]
    # second moments a^2 / 4 and b^2 / 4 along the axes, a = 3 b
    assert shape(ellipse)[0, 0] == pytest.approx((9 - 1) / (9 + 1), abs=0.02)
    red = torch.stack([torch.full((SIZE, SIZE), level) for level in (0.4, 0.2, 0.1)])[None]
    colours = profiles(red)[0, 3 * RINGS :]
    torch.testing.assert_close(colours, torch.full_like(colours, 1 / 3), rtol=0.02, atol=0.02)


def test_a_patch_of_uniform_sky_and_batches_are_finite_and_alone():
    images = torch.stack([torch.zeros(3, SIZE, SIZE), torch.rand(3, SIZE, SIZE)])
    both = image_statistics(images)
    assert both.isfinite().all()
    torch.testing.assert_close(both[1:], image_statistics(images[1:]))


def test_image_models_of_the_adapters_take_galaxies():
    encoder = load_encoder("timm:resnet10t", init="random", modality="astronomy")
    row = {"image": np.zeros((80, 60, 3), np.uint8)}
    batch = encoder.spec.collate(encoder.spec.windows(row))
    assert list(batch) == ["image"]
    assert encoder.module(**batch).shape == (1, 512)
