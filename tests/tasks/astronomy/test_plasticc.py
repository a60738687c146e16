"""The PLAsTiCC task: what is stored is what was observed, and types look like what they are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from benchmark.catalog import load_task
from tasks.astronomy import plasticc
from tasks.astronomy.data import build_plasticc

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def task():
    return load_task("plasticc-types")


@pytest.fixture(scope="module")
def examples(task):
    return {split: list(task.examples(split)) for split in SPLITS}


def test_card_has_the_types_of_the_data_and_says_it_is_simulated(task):
    assert sorted(task.card.target.classes) == sorted(build_plasticc.TYPES.values())
    assert task.card.target.normal_class in task.card.target.classes
    assert task.card.simulated
    assert task.card.chance == pytest.approx(1 / len(task.card.target.classes), abs=1e-4)


def test_types_are_balanced_in_every_split_but_for_the_rare_ones(task, examples):
    rare = {task.card.target.classes.index(name) for name in ("KN", "Mira")}
    for rows in examples.values():
        counts = Counter(row["type"] for row in rows)
        assert set(counts) == set(range(14))
        assert len({count for kind, count in counts.items() if kind not in rare}) == 1


def test_no_object_or_light_curve_is_in_two_splits(examples):
    rows = [row for split in SPLITS for row in examples[split]]
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row["input"]["photometry"].tobytes() for row in rows}) == len(rows)


def test_light_curves_are_in_order_of_time_with_errors_and_six_bands(examples):
    for row in examples["test"]:
        time, _, error, band = row["input"]["photometry"].T
        assert time[0] == 0
        assert (np.diff(time) >= 0).all()
        assert (error > 0).all()
        assert set(band) <= set(range(6))


def test_storage_keeps_observations_far_below_their_noise():
    rng = np.random.default_rng(0)
    count = 200
    curve = pd.DataFrame(
        {
            "mjd": 59_580 + np.sort(rng.uniform(0, 1100, count)).round(4),
            "passband": rng.integers(0, 6, count),
            "flux": rng.normal(0, 1, count) * 10 ** rng.uniform(0, 6, count),
            "flux_err": 10 ** rng.uniform(-0.3, 3, count),
        }
    )
    stored = build_plasticc.encode(curve)
    time, flux, error, band = plasticc.decode(**stored).T
    np.testing.assert_allclose(time, curve["mjd"] - curve["mjd"][0], atol=1.1e-3)
    np.testing.assert_allclose(error, curve["flux_err"], rtol=2.6e-3)
    allowed = 0.026 * curve["flux_err"] + 1e-6 * curve["flux"].abs()  # half a step; float32
    assert (np.abs(flux - curve["flux"]) < allowed).all()
    np.testing.assert_array_equal(band, curve["passband"])


def test_reader_and_builder_agree_on_the_steps():
    names = ("TIME_STEP", "FLUX_STEP", "ERROR_STEP")
    assert [getattr(plasticc, n) for n in names] == [getattr(build_plasticc, n) for n in names]


def above_half(curve: np.ndarray) -> float:
    """Days between the first and the last point at half of the peak that are no mere noise."""
    time, flux, error, _ = curve.T
    sure = np.where(flux > 5 * error, flux, 0)
    high = time[sure > sure.max() / 2]
    return float(high[-1] - high[0]) if len(high) else 0.0


def test_kilonovae_fade_in_days_superluminous_supernovae_in_months(task, examples):
    spans = {name: [] for name in task.card.target.classes}
    for row in examples["train"]:
        spans[task.card.target.classes[row["type"]]].append(above_half(row["input"]["photometry"]))
    assert np.median(spans["KN"]) < 15
    assert 20 < np.median(spans["SLSN-I"]) < 200
    assert np.median(spans["Mira"]) > 200
