"""Nuclei, textures and glands: sizes, directions and layering."""

import numpy as np
import pytest
from skimage.measure import regionprops

from tasks.histopathology.glands import Glands, glands
from tasks.histopathology.he_sim import _pieces
from tasks.histopathology.nuclei import BODIES, KINDS, MPP, STAMP, TURNS
from tasks.histopathology.textures import DIRECTIONS, fibre_field, smooth_field
from tasks.histopathology.tissues import NUCLEAR, TISSUES, tile


@pytest.fixture(scope="module")
def pieces():
    return _pieces("train")


def _regions(pieces, kind):
    covers = 1 - pieces.bank.rest[KINDS.index(kind)]
    return [
        [regionprops((cover > 0.5).astype(int))[0] for cover in turn if (cover > 0.5).sum() > 4]
        for turn in covers
    ]


@pytest.mark.parametrize("kind", ["lymphocyte", "epithelial", "muscle", "high-grade"])
def test_nuclei_have_the_stated_sizes(pieces, kind):
    body = BODIES[kind]
    axes = [r.axis_major_length * MPP / 2 for turn in _regions(pieces, kind) for r in turn]
    assert body.radius[0] * 0.85 < np.mean(axes) < body.radius[1] * 1.1
    assert np.mean(axes) == pytest.approx(np.mean(body.radius), rel=0.15)


def test_high_grade_nuclei_are_more_pleomorphic_than_normal_ones(pieces):
    spread = {}
    for kind in ("epithelial", "low-grade", "high-grade"):
        areas = [region.area for turn in _regions(pieces, kind) for region in turn]
        spread[kind] = np.std(areas) / np.mean(areas)
    assert spread["epithelial"] < spread["low-grade"] < spread["high-grade"]


def test_stamps_point_where_their_index_says(pieces):
    for turn, regions in enumerate(_regions(pieces, "muscle")):
        expected = turn * np.pi / TURNS  # from the x axis towards y (downwards)
        for region in regions:
            # scikit-image measures from the row axis towards the column axis
            angle = np.pi / 2 - region.orientation
            assert abs(np.sin(angle - expected)) < np.sin(np.radians(15))


def test_bodies_stay_inside_their_stamps(pieces):
    for kind, reach in enumerate(pieces.bank.reach):
        assert 1 < reach <= STAMP // 2
        outside = np.ones((STAMP, STAMP), bool)
        inner = slice(STAMP // 2 - reach, STAMP // 2 + reach)
        outside[inner, inner] = False
        assert (pieces.bank.rest[kind][..., outside] == 1).all()


def test_fibres_run_along_their_direction():
    for index in range(0, DIRECTIONS, 3):
        angle = index * np.pi / DIRECTIONS
        field = fibre_field(np.random.default_rng(index), angle, 8, 80, 0.5)
        gy, gx = np.gradient(field)
        along = gx * np.cos(angle) + gy * np.sin(angle)
        across = gy * np.cos(angle) - gx * np.sin(angle)
        assert (along**2).mean() < 0.2 * (across**2).mean()


def test_smooth_fields_are_standardised_and_periodic():
    field = smooth_field(np.random.default_rng(0), 5)
    assert field.mean() == pytest.approx(0, abs=1e-3)
    assert field.std() == pytest.approx(1, abs=1e-3)
    seam = np.abs(field[0] - field[-1]).mean()
    assert seam < 2 * np.abs(np.diff(field, axis=0)).mean()


def test_a_round_gland_is_a_disc_with_a_round_lumen():
    still = Glands(
        np.array([[48, 48]], np.float32),
        np.array([30], np.float32),
        np.zeros((1, 4), np.complex64),
        np.array([12], np.float32),
        96,
    )
    inside, lumen = still.masks()
    assert inside.sum() == pytest.approx(np.pi * 30**2, rel=0.02)
    assert lumen.sum() == pytest.approx(np.pi * 18**2, rel=0.03)
    covered = still.covers(np.array([[48, 48], [48, 79], [48, 90]], np.float32))
    assert covered.tolist() == [True, True, False]


def test_tumour_glands_are_less_regular():
    rng = np.random.default_rng(0)
    waves = {
        normal: np.mean([np.abs(glands(rng, 96, normal).waves).mean() for _ in range(20)])
        for normal in (True, False)
    }
    assert waves[False] > 2 * waves[True]


@pytest.mark.parametrize("tissue", TISSUES)
def test_every_tissue_gives_finite_concentrations(pieces, tissue):
    stains, mask = tile(np.random.default_rng(5), pieces, tissue, 0.5)
    assert stains.shape == (2, 96, 96)
    assert np.isfinite(stains).all()
    assert (stains >= 0).all()
    assert mask.dtype == bool


def test_debris_is_not_counted_as_nuclei(pieces):
    counted = {KINDS[i] for i in np.flatnonzero(NUCLEAR)}
    assert {"mitosis", "lymphocyte"} <= counted
    assert not {"fragment", "ghost", "erythrocyte", "vacuole"} & counted


def test_nuclear_size_follows_the_slides_calibre(pieces):
    def area(calibre):
        masks = [
            tile(np.random.default_rng(seed), pieces, "lymphocytes", calibre)[1].mean()
            for seed in range(8)
        ]
        return np.mean(masks)

    assert area(1.0) > 1.05 * area(0.0)
