"""The asteroid tasks: one set of examples, three sets of inputs, no way from metadata to class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark.catalog import load_task
from tasks.astronomy.asteroids import (
    CATALOGUE,
    ORBITS,
    TABLE,
    WAVELENGTHS,
    fill_ends,
    reflectance,
)
from tasks.astronomy.data.build_asteroids import assign_splits, base_class

TASKS = ("asteroid-spectrum", "asteroid-metadata", "asteroid-both")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def examples():
    task = load_task("asteroid-both")
    return {split: list(task.examples(split)) for split in SPLITS}


def test_three_cards_share_one_dataset_and_differ_in_towers():
    tasks = [load_task(name) for name in TASKS]
    assert {task.source for task in tasks} == {"asteroids"}
    first = tasks[0].card
    for task in tasks:
        assert task.card.target == first.target
        assert (task.card.metric, task.card.chance) == (first.metric, first.chance)
    assert [task.card.towers for task in tasks] == [
        ("spectrum",),
        ("metadata",),
        ("spectrum", "metadata"),
    ]
    assert not any(task.card.simulated for task in tasks)


def test_labels_are_those_of_the_table(examples):
    classes = load_task("asteroid-both").card.target.classes
    table = pd.read_parquet(TABLE).set_index("spectrum")
    assert sorted(classes) == sorted(table["taxon"].unique())
    for rows in examples.values():
        assert {row["taxon"] for row in rows} == set(range(len(classes)))
        for row in rows[::50]:
            entry = table.loc[row["id"].removeprefix(row["group"] + "/")]
            assert (entry["taxon"], entry["name"]) == (classes[row["taxon"]], row["group"])


def test_no_asteroid_spectrum_or_metadata_is_in_two_splits(examples):
    seen = {"group": {}, "spectrum": {}, "metadata": {}}
    for split, rows in examples.items():
        for row in rows:
            keys = {name: value.tobytes() for name, value in row["input"].items()}
            for name, key in {**keys, "group": row["group"]}.items():
                assert seen[name].setdefault(key, split) == split


def test_stored_spectra_are_finite_with_mean_one_over_what_was_observed(examples):
    bins = pd.read_parquet(TABLE).set_index("spectrum")["bins"]
    for row in examples["test"][::10]:
        wavelength, flux = row["input"]["spectrum"].T
        seen = np.isfinite(bins[row["id"].removeprefix(row["group"] + "/")])
        np.testing.assert_allclose(wavelength, WAVELENGTHS, rtol=1e-6)
        assert flux[seen].mean() == pytest.approx(1, abs=1e-5)
        assert (flux > 0).all()
        first, last = np.flatnonzero(seen)[[0, -1]]
        assert (flux[:first] == flux[first]).all()
        assert (flux[last:] == flux[last]).all()


def test_the_level_of_the_source_does_not_reach_the_spectrum():
    log_values = np.r_[[np.nan, np.nan], np.linspace(-0.3, 0.2, 50), [np.nan]]
    np.testing.assert_allclose(reflectance(log_values), reflectance(log_values + 3), rtol=1e-6)
    np.testing.assert_array_equal(fill_ends(np.array([np.nan, 2, 5, np.nan])), [2, 2, 5, 5])


def test_metadata_has_one_kind_of_orbit_and_plausible_values(examples):
    metadata = np.array([row["input"]["metadata"] for row in examples["train"]])
    assert metadata.shape[1] == len(CATALOGUE) + len(ORBITS)
    values = dict(zip(CATALOGUE, metadata.T, strict=False))
    np.testing.assert_array_equal(metadata[:, len(CATALOGUE) :].sum(1), 1)
    assert np.nanmax(values["log10_albedo"]) <= 0
    trojan = metadata[:, len(CATALOGUE) + ORBITS.index("Trojan")] == 1
    assert 5.0 < np.nanmean(values["semi_major_axis"][trojan]) < 5.4


def test_no_metadata_column_gives_the_class_away(examples):
    from sklearn.tree import DecisionTreeClassifier

    label = np.array([row["taxon"] for row in examples["train"]])
    metadata = np.array([row["input"]["metadata"] for row in examples["train"]])
    columns = np.hstack([np.nan_to_num(metadata, nan=-99), np.isnan(metadata)])
    for column in columns.T:
        tree = DecisionTreeClassifier(max_leaf_nodes=30, class_weight="balanced", random_state=0)
        guess = tree.fit(column[:, None], label).predict(column[:, None])
        found = [np.mean(guess[label == k] == k) for k in np.unique(label)]
        assert np.mean(found) < 0.5  # balanced accuracy on the very rows it was fitted to


def test_suffixes_of_faint_features_are_dropped_but_ch_is_a_class():
    assert [base_class(x) for x in ("Mk", "Eek", "Ch", "C", "S")] == ["M", "E", "Ch", "C", "S"]


def test_asteroids_with_equal_metadata_stay_together():
    count = 400
    table = pd.DataFrame({"name": [f"a{i}" for i in range(count)], "taxon": "S", "orbit": "Trojan"})
    for column in CATALOGUE:
        table[column] = np.arange(count, dtype=float)
    table.loc[::2, list(CATALOGUE)] = np.nan  # 200 asteroids nobody can tell apart
    split = assign_splits(table)
    assert split[::2].nunique() == 1
    assert split[1::2].nunique() == 3
    pd.testing.assert_series_equal(split, assign_splits(table))
