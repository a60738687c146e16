"""Beer-Lambert's law, scanning and compression of simulated slides."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from tasks.histopathology.optics import RUIFROK, Slide, compress, draw_slide, scan, transmit


def _clean(slide: Slide) -> Slide:
    """The slide under a perfect scanner."""
    ones = np.ones(3, np.float32)
    return dataclasses.replace(slide, lamp=ones, gamma=ones, blur=0.0, noise=0.0, quality=100)


def test_optical_density_adds_and_is_proportional_to_concentration():
    slide = _clean(draw_slide(np.random.default_rng(0)))
    dose = np.zeros((3, 2, 16, 16), np.float32)
    dose[0, 0], dose[1, 1], dose[2] = 0.5, 0.8, np.float32([0.5, 0.8])[:, None, None]
    density = -np.log10(transmit(dose, slide))
    np.testing.assert_allclose(density[2], density[0] + density[1], atol=1e-5)
    expected = 0.5 * slide.strength[0] * slide.stains[0]
    np.testing.assert_allclose(density[0, :, 0, 0], expected, rtol=1e-4)


def test_stains_come_back_by_scikit_images_colour_deconvolution():
    """`hed_from_rgb` of the same vectors recovers the concentrations up to its own scale."""
    from skimage.color import separate_stains

    ones = np.ones(2, np.float32)
    vectors = (RUIFROK / np.linalg.norm(RUIFROK, axis=1, keepdims=True)).astype(np.float32)
    slide = _clean(draw_slide(np.random.default_rng(0)))
    slide = dataclasses.replace(slide, stains=vectors, strength=ones)
    dose = np.random.default_rng(1).uniform(0, 1, (1, 2, 16, 16)).astype(np.float32)
    light = np.moveaxis(transmit(dose, slide)[0], 0, -1)
    third = np.cross(vectors[0], vectors[1])
    stains = separate_stains(light, np.linalg.inv(np.stack([*vectors, third])))
    recovered = np.moveaxis(stains, -1, 0)[:2] * 6  # its logarithm is to the base 1e-6
    np.testing.assert_allclose(recovered, dose[0], atol=1e-4)


def test_bare_glass_has_the_lamps_colour():
    slide = dataclasses.replace(draw_slide(np.random.default_rng(3)), noise=0.0, quality=100)
    glass = scan(np.zeros((1, 2, 32, 32), np.float32), slide, np.random.default_rng(0))
    expected = 255 * slide.lamp**slide.gamma
    np.testing.assert_allclose(glass[0].reshape(-1, 3).mean(0), expected, atol=2)


def test_slides_differ_in_stain_and_in_scanner():
    slides = [draw_slide(np.random.default_rng(seed)) for seed in range(60)]
    angles = [
        np.degrees(np.arccos(np.clip((s.stains[0] * s.stains[1]).sum(), -1, 1))) for s in slides
    ]
    assert 8 < np.median(angles) < 60  # two dyes, as in Ruifrok's and Macenko's matrices
    assert np.std([s.strength[0] for s in slides]) > 0.15
    assert np.std([s.stains[0, 0] for s in slides]) > 0.03
    for slide in slides:
        np.testing.assert_allclose(np.linalg.norm(slide.stains, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("quality", [40, 75, 95])
def test_compression_loses_what_libjpeg_loses(quality):
    rng = np.random.default_rng(0)
    coarse = rng.uniform(40, 220, (3, 12, 12))
    image = coarse.repeat(8, 1).repeat(8, 2) + rng.normal(0, 12, (3, 96, 96))
    image = np.clip(np.rint(image), 0, 255).astype(np.float32)
    ours = compress(image[None], quality)[0].astype(float)
    buffer = io.BytesIO()
    pixels = np.moveaxis(image, 0, -1).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    theirs = np.moveaxis(np.asarray(Image.open(buffer)).astype(float), -1, 0)
    # libjpeg interpolates the chroma between pixels; luminance must agree
    weights = np.array([0.299, 0.587, 0.114])
    difference = np.tensordot(weights, ours - theirs, 1)
    loss = np.tensordot(weights, ours - image, 1)
    assert np.sqrt((difference**2).mean()) < 0.4 * np.sqrt((loss**2).mean()) + 1.5
