"""The model ventricle: volumes, ejection fraction and rhythm."""

import numpy as np
import pytest

from tasks.echo.heart import WAIST, Heart, Wall, draw_heart, mitral_opening, systole_curve

STILL = Wall(shortening=0.0, defect=0.0, defect_at=0.5)


def heart_with(wall: Wall = STILL, descent: float = 0.0, **changes: float) -> Heart:
    values = {"length": 80.0, "radius": 22.0, "ovality": 1.0, "wall": 9.0, "rr": 0.9,
              "irregularity": 0.0, "atrial_kick": 0.2}  # fmt: skip
    return Heart(descent=descent, walls=(wall,) * 4, **{**values, **changes})


def test_volume_is_that_of_the_truncated_ellipsoid():
    half_axis = WAIST * 80.0
    above = 80.0 - half_axis  # from the waist to the mitral plane
    solid = np.pi * 22.0**2 * (2 / 3 * half_axis + above - above**3 / (3 * half_axis**2)) / 1000
    assert heart_with().volume(0.0) == pytest.approx(solid, rel=1e-3)


def test_discs_of_the_clinical_method_agree_with_fine_ones():
    heart = draw_heart(np.random.default_rng(3))
    assert heart.volume(0.5, discs=20) == pytest.approx(heart.volume(0.5), rel=0.01)


def test_ejection_fraction_of_a_uniform_contraction():
    heart = heart_with(Wall(0.3, 0.0, 0.5), descent=0.15)
    assert heart.ejection_fraction() == pytest.approx(100 * (1 - 0.85 * 0.7**2), abs=0.01)


def test_a_regional_defect_lowers_ejection_fraction():
    whole, hurt = Wall(0.3, 0.0, 0.5), Wall(0.3, 0.8, 0.5)
    assert heart_with(hurt).ejection_fraction() < heart_with(whole).ejection_fraction() - 10


def test_drawn_patients_have_the_stated_distribution_and_size_says_nothing():
    hearts = [draw_heart(np.random.default_rng([7, i])) for i in range(300)]
    fractions = np.array([heart.ejection_fraction() for heart in hearts])
    assert 48 < fractions.mean() < 54
    assert 11 < fractions.std() < 16
    assert fractions.min() > 10
    assert fractions.max() < 80
    middle = [float(np.cbrt(heart.volume(np.array([0.0, 1.0]))).mean()) for heart in hearts]
    assert np.corrcoef(middle, fractions)[0, 1] ** 2 < 0.05


def test_cycle_has_the_heart_rate_and_visits_both_ends():
    heart = heart_with(rr=0.8)
    times = np.arange(0, 8, 0.005)
    curve = systole_curve(heart, times, np.random.default_rng(0))
    assert curve.min() == pytest.approx(0, abs=0.01)
    assert curve.max() == pytest.approx(1, abs=0.01)
    beats = (np.diff((curve > 0.5).astype(int)) == 1).sum()
    assert abs(beats - 10) <= 1


def test_fibrillation_is_irregular_and_has_no_atrial_contraction():
    heart = heart_with(rr=0.8, irregularity=0.2, atrial_kick=0.0)
    times = np.arange(0, 60, 0.005)
    curve = systole_curve(heart, times, np.random.default_rng(0))
    starts = times[1:][np.diff((curve > 0.5).astype(int)) == 1]
    assert 0.1 < np.diff(starts).std() / np.diff(starts).mean() < 0.3
    assert (curve == 0).mean() > 0.15  # at rest between filling and the next beat


def test_mitral_valve_is_shut_in_ejection_and_open_in_filling():
    curve = np.array([0.0, 0.3, 0.8, 1.0, 0.7, 0.3, 0.2], np.float32)
    opening = mitral_opening(curve)
    assert (opening[1:3] < 0.5).all()
    assert (opening[4:] == 1).all()
