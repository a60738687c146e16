"""Scores of folds and of runs."""

from typing import Any

import numpy as np
import pytest

from benchmark.catalog import load_task
from benchmark.cross_validation import join, mean_scores
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split

CARD = load_task("mock-pitch").card


def split(name: str, groups: int = 40, seed: int = 1) -> Split:
    rng = np.random.default_rng([seed, *name.encode()])
    labels = np.arange(40) % 3
    names = np.array([f"{name}{index % groups}" for index in range(40)])
    values = (rng.standard_normal((40, 5)) + labels[:, None]).astype(np.float32)
    return Split(values, labels, names, np.array([f"{name}-{index}" for index in range(40)]))


def scored(train: Split, tested: list[Split]) -> list[Any]:
    return [protocol("knn").run(train, None, test, CARD) for test in tested]


def test_folds_of_many_groups_are_resampled_apart() -> None:
    tested = [split("b"), split("c")]
    found = scored(split("a"), tested)
    mean = mean_scores(found, tested)
    values = [scores.metrics["accuracy"].value for scores in found]
    assert mean.metrics["accuracy"].value == pytest.approx(np.mean(values))
    assert mean.replicates == pytest.approx((found[0].replicates + found[1].replicates) / 2)
    one, both = found[0].metrics["macro_f1"], mean.metrics["macro_f1"]
    assert both.high - both.low < one.high - one.low  # twice the data


def test_folds_of_one_speaker_each_are_resampled_themselves() -> None:
    tested = [split(name, groups=1) for name in "bcdefg"]
    found = scored(split("a"), tested)
    assert np.isnan(found[0].replicates).all()
    values = np.array([scores.metrics["accuracy"].value for scores in found])
    mean = mean_scores(found, tested)
    score = mean.metrics["accuracy"]
    assert score.value == pytest.approx(values.mean())
    # the bootstrap of a mean has the standard error of the values, divisor n
    assert mean.replicates.std() == pytest.approx(values.std() / np.sqrt(6), rel=0.1)
    assert values.min() <= score.low < score.value < score.high <= values.max()
    other = mean.metrics["macro_f1"]
    assert other.low < other.value < other.high
    again = mean_scores(found, tested)
    assert np.array_equal(mean.replicates, again.replicates)  # pairs with other encoders'
    assert [fold["accuracy"] for fold in mean.hyperparameters["folds"]] == values.tolist()


def test_independent_runs_are_resampled_themselves() -> None:
    tested = [split(name) for name in "bcdefg"]
    found = scored(split("a"), tested)
    mean = mean_scores(found, tested, independent=True)
    values = np.array([scores.metrics["accuracy"].value for scores in found])
    assert mean.counts["runs"] == 6
    assert mean.replicates.std() == pytest.approx(values.std() / np.sqrt(6), rel=0.1)


def test_shapes_with_points_are_joined() -> None:
    parts = [split("a"), split("b")]
    for index, part in enumerate(parts):
        part.points = [np.full((index + 3, 3), i) for i in range(40)]
        part.centres = np.full((40, 2, 3), index)
    joined = join(parts)
    assert joined.points is not None
    assert joined.centres is not None
    assert [len(points) for points in joined.points] == [3] * 40 + [4] * 40
    assert joined.points[41][0].tolist() == [1, 1, 1]
    assert joined.centres.shape == (80, 2, 3)
    assert len(joined) == 80
