from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.bootstrap import (
    aggregate,
    bootstrap,
    borda,
    interval,
    normalised,
    paired_difference,
    rank_intervals,
    resample_groups,
    seed_from,
)
from benchmark.classification import Classification
from benchmark.errors import SslBenchError


def accuracy_of(correct, groups, seed=0):
    """Accuracy and its replicates for an array of right and wrong answers."""
    resamples = resample_groups(groups, seed)
    truth = np.zeros(len(correct), dtype=int)
    statistics = Classification(
        truth, np.eye(2)[1 - np.asarray(correct, dtype=int)], resamples.codes, resamples.groups
    )
    estimates, replicates = bootstrap(statistics, resamples)
    return estimates["accuracy"], replicates["accuracy"]


def test_resamples_depend_on_groups_and_seed_alone():
    groups = np.array(["b", "a", "c", "a"])
    first = resample_groups(groups, 0)
    same = resample_groups(groups[::-1], 0)
    np.testing.assert_array_equal(first.counts, same.counts)
    assert first.counts.shape == (1000, 3)
    assert (first.counts.sum(1) == 3).all()
    assert (resample_groups(groups, 1).counts != first.counts).any()
    assert (resample_groups(np.array(["x", "y", "z"]), 0).counts != first.counts).any()


def test_draws_are_those_of_sampling_with_replacement():
    counts = resample_groups(np.arange(40), 0, 4000).counts
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.08)
    assert counts.var(0).mean() == pytest.approx(1 - 1 / 40, abs=0.03)


def test_interval_covers_the_standard_error_of_groups_not_of_examples():
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    correct = np.repeat(generator.random(60) < 0.6, 10)  # a group is right or wrong as a whole
    found, replicates = accuracy_of(correct, groups)
    error = np.sqrt(found.value * (1 - found.value) / 60)
    assert replicates.std() == pytest.approx(error, rel=0.1)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert found.low < found.value < found.high


def test_coverage_of_the_interval_is_near_nominal():
    generator = np.random.default_rng(1)
    inside = 0
    for trial in range(150):
        shares = generator.beta(6, 4, 50)  # accuracy 0.6, varying between groups
        correct = (generator.random((50, 6)) < shares[:, None]).ravel()
        found, _ = accuracy_of(correct, np.repeat(np.arange(50), 6), seed=trial)
        inside += found.low <= 0.6 <= found.high
    assert stats.binomtest(inside, 150, 0.93).pvalue > 0.01


def test_one_group_gives_no_interval_and_no_comparison():
    found, replicates = accuracy_of([1, 0, 1, 1], np.zeros(4))
    assert found.value == 0.75
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(replicates).all()
    difference, low, _, p = paired_difference(replicates, replicates, 0.75, 0.25)
    assert (difference, p) == (0.5, 1.0)
    assert np.isnan(low)
    assert rank_intervals([0.75, 0.25], np.stack([replicates] * 2)) == [(1, 2), (1, 2)]


def test_many_groups_without_an_error_give_a_point():
    found, replicates = accuracy_of(np.ones(12), np.arange(12))
    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert (replicates == 1).all()


def test_paired_difference_is_sharper_than_two_intervals():
    generator = np.random.default_rng(2)
    groups = np.arange(200)
    easy = generator.random(200) < 0.7
    better = easy | (generator.random(200) < 0.15)
    a, drawn_a = accuracy_of(better, groups)
    b, drawn_b = accuracy_of(easy, groups)
    difference, low, high, p = paired_difference(drawn_a, drawn_b, a.value, b.value)
    assert difference == pytest.approx(a.value - b.value)
    assert 0 < low < difference < high
    assert p < 0.05
    assert a.low < b.high  # the separate intervals overlap and would not have told
    back = paired_difference(drawn_b, drawn_a, b.value, a.value)
    assert back[0] == -difference
    assert back[3] == p


def test_equal_encoders_do_not_differ():
    drawn = np.random.default_rng(0).random(1000)
    assert paired_difference(drawn, drawn, 0.5, 0.5) == (0.0, 0.0, 0.0, 1.0)


def test_p_value_agrees_with_the_sign_test_of_normal_theory():
    generator = np.random.default_rng(5)
    noise = generator.normal(0, 1, 20_000)
    *_, p = paired_difference(1.5 + noise, np.zeros(20_000), 1.5, 0.0)
    assert p == pytest.approx(2 * stats.norm.sf(1.5), abs=0.01)


def test_replicates_of_different_length_are_refused():
    with pytest.raises(SslBenchError, match="1000 and 10 bootstrap resamples"):
        paired_difference(np.zeros(1000), np.zeros(10), 0, 0)


def test_encoders_that_are_not_separable_share_ranks():
    generator = np.random.default_rng(3)
    values = [0.9, 0.8, 0.79, 0.5]
    drawn = np.array(values)[:, None] + generator.normal(0, 0.02, (4, 1000))
    assert rank_intervals(values, drawn) == [(1, 1), (2, 3), (2, 3), (4, 4)]
    reverse = rank_intervals(values, drawn, higher_is_better=False)
    assert reverse == [(4, 4), (2, 3), (2, 3), (1, 1)]
    assert rank_intervals([0.3], drawn[:1]) == [(1, 1)]


@pytest.mark.parametrize("higher", [True, False])
def test_rank_intervals_count_the_paired_comparisons(higher):
    generator = np.random.default_rng(8)
    values = np.round(generator.normal(0, 0.05, 20), 2)
    drawn = values[:, None] + np.round(generator.normal(0, 0.02, (20, 1000)), 2)
    values[5], drawn[5] = values[6], drawn[6]
    drawn[3] = np.nan
    expected = []
    for i in range(20):
        ups = downs = 0
        for j in range(20):
            difference, *_, p = paired_difference(drawn[i], drawn[j], values[i], values[j])
            if i != j and p < 0.05 and difference != 0:
                ups += (difference > 0) != higher
                downs += (difference > 0) == higher
        expected.append((1 + ups, 20 - downs))
    assert rank_intervals(values, drawn, higher) == expected


def test_rank_intervals_of_a_chain_overlap():
    # a ~ b and b ~ c, but a > c: the middle one may have any rank
    spread = np.linspace(-1, 1, 1000)
    drawn = np.stack([0.6 + 0 * spread, 0.5 + 0.2 * spread, 0.4 + 0 * spread])
    assert rank_intervals([0.6, 0.5, 0.4], drawn) == [(1, 2), (1, 3), (2, 3)]


def test_normalised_scores():
    assert normalised(0.1, 0.1, 1.0) == 0
    assert normalised(1.0, 0.1, 1.0) == 1
    np.testing.assert_allclose(normalised(np.array([0.55]), 0.1, 1.0), 0.5)
    assert normalised(5.0, 10.0, 0.0, "mae") == 0.5
    assert normalised(12.0, 10.0, 0.0, "mae") < 0
    with pytest.raises(SslBenchError, match="below"):
        normalised(5.0, 10.0, 20.0, "mae")
    with pytest.raises(SslBenchError, match="above"):
        normalised(0.5, 0.5, 0.5, "accuracy")


def test_borda_counts_wins_and_halves_ties():
    points, ranks = borda(np.array([[0.9, 0.5], [0.8, 0.5], [0.1, 0.6]]))
    np.testing.assert_allclose(points, [(2 + 0.5) / 2, (1 + 0.5) / 2, (0 + 2) / 2])
    assert ranks.tolist() == [1, 3, 2]
    assert borda(np.ones((3, 2)))[1].tolist() == [1, 1, 1]
    points, ranks = borda(np.array([[0.9], [np.nan], [0.1], [np.nan]]))
    assert points.tolist() == [1.0, -0.5, 0.0, -0.5]
    assert ranks.tolist() == [1, 3, 2, 3]


def test_aggregate_weighs_domains_equally():
    generator = np.random.default_rng(4)

    def task(value):
        return value, value + generator.normal(0, 0.1, 1000)

    found = aggregate({
        "audio": {"a": task(0.2), "b": task(0.4), "c": task(0.6)},
        "ecg": {"d": task(0.8)},
        "echo": {},
    })  # fmt: skip
    assert found.total.value == pytest.approx((0.4 + 0.8) / 2)
    assert set(found.domains) == {"audio", "ecg"}
    assert found.domains["audio"].value == pytest.approx(0.4)
    # independent tasks: variances of means add up
    expected = 0.1 * np.sqrt((1 / 3 + 1) / 4)
    assert found.replicates.std() == pytest.approx(expected, rel=0.1)
    assert found.total.high - found.total.low == pytest.approx(2 * 1.96 * expected, rel=0.15)
    with pytest.raises(SslBenchError):
        aggregate({"audio": {}})


def test_interval_and_seeds():
    found = interval(2.0, np.arange(1001) / 1000)
    assert (found.low, found.high) == (pytest.approx(0.025), pytest.approx(0.975))
    assert seed_from("a", 1) == seed_from("a", "1")
    assert seed_from("a", 1) != seed_from("a", 2)
