"""The two histopathology encoders: contract, and the descriptors against scikit-image."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2hed
from skimage.data import immunohistochemistry
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from baselines.histopathology import ENCODERS
from baselines.histopathology.random_regnet import RandomRegNet
from baselines.histopathology.texture_descriptors import (
    cooccurrence,
    cooccurrence_properties,
    local_binary_patterns,
)
from baselines.histopathology.tissue_texture import OFFSETS, TissueTexture, separate_stains
from benchmark.catalog import import_target


@pytest.fixture(scope="module")
def tissue():
    """Four 96 x 96 crops of a real stained section, (4, 3, 96, 96) in [0, 1]."""
    photo = immunohistochemistry()
    crops = [photo[y : y + 96, x : x + 96] for y, x in ((0, 0), (100, 300), (250, 80), (400, 400))]
    return torch.from_numpy(np.stack(crops)).movedim(-1, 1).float() / 255


@pytest.fixture(scope="module", params=[TissueTexture, RandomRegNet])
def encoder(request):
    torch.manual_seed(0)
    return request.param().eval()


def test_stains_equal_scikit_images(tissue):
    ours = separate_stains(tissue.double()).movedim(1, -1).numpy()
    theirs = rgb2hed(tissue.double().movedim(1, -1).numpy())
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_cooccurrence_equals_scikit_images(tissue):
    grey = (tissue.mean(1) * 11.99).long()
    ours = cooccurrence(grey, 12, OFFSETS)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]  # in the order of the offsets
    for i, image in enumerate(grey.numpy().astype(np.uint8)):
        for k, (down, right) in enumerate(OFFSETS):
            distance = max(abs(down), abs(right))
            # scikit-image rounds distance * sin and cos, so diagonals need the diagonal length
            length = distance * (np.sqrt(2) if down and right else 1)
            theirs = graycomatrix(image, [length], [angles[k % 4]], 12, symmetric=True, normed=True)
            np.testing.assert_allclose(ours[i, k], theirs[:, :, 0, 0], atol=1e-6)


def test_properties_equal_scikit_images(tissue):
    grey = (tissue.mean(1) * 11.99).long()
    ours = cooccurrence_properties(cooccurrence(grey, 12, [(0, 1)]))[:, 0]
    names = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
    for image, row in zip(grey.numpy().astype(np.uint8), ours, strict=True):
        matrix = graycomatrix(image, [1], [0], 12, symmetric=True, normed=True)
        for name, value in zip(names, row, strict=False):
            assert float(value) == pytest.approx(graycoprops(matrix, name)[0, 0], rel=1e-3)
        p = matrix[matrix > 0]
        assert float(row[5]) == pytest.approx(-(p * np.log(p)).sum(), rel=1e-4)


@pytest.mark.parametrize("radius", [1, 2])
def test_binary_patterns_equal_scikit_images(tissue, radius):
    grey = (tissue.mean(1) * 255).round()
    ours = local_binary_patterns(grey, radius).numpy()
    for image, histogram in zip(grey.numpy(), ours, strict=True):
        codes = local_binary_pattern(image.astype(np.uint8), 8, radius, "uniform")
        inner = codes[radius:-radius, radius:-radius].ravel().astype(int)
        theirs = np.bincount(inner, minlength=10) / len(inner)
        np.testing.assert_allclose(histogram, theirs, atol=0.005)


def test_a_flat_tile_has_only_full_patterns():
    histogram = local_binary_patterns(torch.full((1, 32, 32), 117.0), 2)[0]
    assert histogram[8] == 1
    assert histogram.sum() == 1


def test_shapes_match_the_card(encoder, tissue):
    card = next(c for c in ENCODERS if import_target(c.target) is type(encoder))
    with torch.inference_mode():
        embedding, grid = encoder(tissue), encoder.patches(tissue)
    assert embedding.shape == (4, card.dimension)
    assert embedding.dtype == torch.float32
    assert grid.shape[:3] == (4, 24, 24)
    assert sum(p.numel() for p in encoder.parameters()) == card.parameters


def test_an_embedding_does_not_depend_on_its_batch(encoder, tissue):
    with torch.inference_mode():
        for method in (encoder, encoder.patches):
            together = method(tissue)
            alone = torch.cat([method(tile[None]) for tile in tissue])
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
            assert torch.equal(together, method(tissue))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_tiles_give_finite_features(encoder, value):
    flat = torch.full((2, 3, 96, 96), value)
    with torch.inference_mode():
        assert encoder(flat).isfinite().all()
        assert encoder.patches(flat).isfinite().all()


def test_patches_stand_where_the_tissue_is():
    """A dark square in one corner changes the features of that corner most."""
    image = torch.full((1, 3, 96, 96), 0.9)
    image[:, 0, :24, 72:] = 0.3
    grid = TissueTexture().patches(image)[0, :, :, 0]  # mean of red
    torch.testing.assert_close(grid[:6, 18:], torch.full((6, 6), 0.3))
    torch.testing.assert_close(grid[7:, :17], torch.full((17, 17), 0.9))


def test_random_weights_follow_the_seed(tissue):
    def embed(seed):
        torch.manual_seed(seed)
        with torch.inference_mode():
            return RandomRegNet().eval()(tissue)

    assert torch.equal(embed(3), embed(3))
    assert not torch.allclose(embed(3), embed(4))


def test_texture_features_are_blind_to_the_strength_of_the_stain(tissue):
    """Co-occurrence is taken relative to the tile: a paler section has the same matrices."""
    from baselines.histopathology.tissue_texture import _grey_levels

    stain = separate_stains(tissue)[:, 0]
    agree = (_grey_levels(stain) == _grey_levels(stain * 0.6)).float().mean()
    assert agree > 0.98
