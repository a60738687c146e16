"""few-shot and label-efficiency."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestCentroid

from benchmark.errors import SslBenchError
from benchmark.protocols import protocol
from benchmark.protocols.episodes import classify_episodes, draw_episodes
from benchmark.protocols.few_shot import FewShotProtocol
from benchmark.protocols.label_efficiency import LabelEfficiencyProtocol, draw_groups


def unit(generator, n, labels):
    x = generator.normal(size=(n, 12)) + 0.7 * np.eye(12)[labels]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def pool():
    generator = np.random.default_rng(0)
    train, test = np.arange(80) % 4, np.arange(60) % 4
    return train, test, unit(generator, 80, train), unit(generator, 60, test)


def test_episodes_have_the_right_shape(pool):
    train, test, *_ = pool
    drawn = draw_episodes(train, test, ways=3, shots=5, queries=8, episodes=50, seed=[1])
    assert drawn.support.shape == (50, 3, 5)
    assert drawn.queries.shape == (50, 3, 8)
    for support, queries in zip(drawn.support, drawn.queries, strict=True):
        assert len(np.unique(support)) == 15
        assert len(np.unique(queries)) == 24
        classes = train[support]
        assert (classes == classes[:, :1]).all()
        assert (test[queries] == classes[:, :1]).all()
        assert len(np.unique(classes[:, 0])) == 3
    shares = np.bincount(train[drawn.support[:, :, 0]].ravel(), minlength=4) / 50
    assert (shares > 0.5).all()
    again = draw_episodes(train, test, ways=3, shots=5, queries=8, episodes=50, seed=[1])
    np.testing.assert_array_equal(drawn.support, again.support)


def test_only_classes_with_enough_examples_take_part(pool):
    train, test = pool[0].copy(), pool[1]
    train[train == 2] = -1
    drawn = draw_episodes(train, test, ways=5, shots=20, queries=15, episodes=20, seed=[1])
    assert drawn.support.shape == (20, 3, 20)
    assert not np.isin(train[drawn.support], [-1, 2]).any()
    assert draw_episodes(train, test, ways=5, shots=21, queries=15, episodes=20, seed=[1]) is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NearestCentroid with one example
@pytest.mark.parametrize("shots", [1, 5])
def test_classifiers_are_those_of_scikit_learn(pool, shots):
    train, test, support, queries = pool
    drawn = draw_episodes(train, test, ways=4, shots=shots, queries=10, episodes=12, seed=[2])
    centroid, logistic = classify_episodes(
        torch.from_numpy(support), torch.from_numpy(queries), drawn, c=1.0
    )
    labels = np.repeat(np.arange(4), shots)
    agree = []
    for e in range(12):
        x, q = support[drawn.support[e].ravel()], queries[drawn.queries[e].ravel()]
        np.testing.assert_array_equal(centroid[e], NearestCentroid().fit(x, labels).predict(q))
        model = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-8, max_iter=2000)
        agree.append((logistic[e] == model.fit(x, labels).predict(q)).mean())
    assert np.mean(agree) > 0.995


def test_few_shot_improves_with_shots_and_names_its_main_metric(make_split, make_card):
    train, test = make_split(160, 1, signal=0.4), make_split(100, 3, signal=0.4)
    scores = FewShotProtocol(episodes=100).run(train, None, test, make_card())
    assert scores.main == "accuracy@5-shot"
    values = [scores.metrics[f"accuracy@{k}-shot"].value for k in (1, 5, 10, 20)]
    assert values == sorted(values)
    assert [row["shots"] for row in scores.curve] == [1, 5, 10, 20]
    assert scores.metrics["logistic_accuracy@5-shot"].value > 0.4
    assert scores.chance == 0.25  # four classes: 4-way


def test_few_shot_keeps_the_shots_that_the_task_allows(make_split, make_card):
    train, test = make_split(16, 1), make_split(100, 3)
    scores = FewShotProtocol(episodes=20).run(train, None, test, make_card())
    assert scores.main == "accuracy@1-shot"
    assert "accuracy@5-shot" not in scores.metrics
    train.targets = np.zeros(16, dtype=int)
    with pytest.raises(SslBenchError, match="fewer than two classes"):
        FewShotProtocol().run(train, None, test, make_card())


def test_support_and_queries_never_share_a_group(make_split, make_card):
    train, test = make_split(80, 1), make_split(80, 1)  # the same data: all groups are shared
    with pytest.raises(SslBenchError, match="fewer than two classes"):
        FewShotProtocol().run(train, None, test, make_card())


def test_the_modelnet40_convention(make_split, make_card):
    scores = FewShotProtocol.modelnet40().run(
        make_split(160, 1), None, make_split(100, 3), make_card()
    )
    # four classes here, so both 5- and 10-way become 4-way
    assert {k for k in scores.metrics if k.startswith("accuracy")} == {
        "accuracy@4-way-10-shot", "accuracy@4-way-20-shot",
    }  # fmt: skip
    assert scores.curve[0]["std"] > 0


def test_label_efficiency_at_100_percent_is_the_linear_probe(make_split, make_card):
    parts = [make_split(n, s, signal=0.4) for n, s in ((160, 1), (80, 2), (100, 3))]
    scores = LabelEfficiencyProtocol(draws=3).run(*parts, make_card())
    probe = protocol("linear-probe").run(*parts, make_card())
    assert scores.metrics["accuracy@100%"] == probe.metrics["accuracy"]
    assert scores.main == "accuracy"
    values = [scores.metrics[f"accuracy@{f}"].value for f in ("1%", "10%", "100%")]
    assert scores.metrics["accuracy"].value == pytest.approx(np.mean(values))
    assert values[0] < values[2]
    assert [row["fraction"] for row in scores.curve] == [0.01, 0.1, 1.0]
    assert len(scores.hyperparameters["penalties"]["10%"]) == 3
    assert scores.counts["train@1%"] == 16  # one group of four per class is the least


def test_label_efficiency_without_validation(make_split, make_card):
    parts = make_split(160, 1), None, make_split(100, 3)
    scores = LabelEfficiencyProtocol(draws=2).run(*parts, make_card())
    # one group per class cannot be cross-validated: the fixed penalty
    assert scores.hyperparameters["penalties"]["1%"] == [1.0, 1.0]
    assert scores.metrics["accuracy@1%"].value > 0.4


def test_draws_are_whole_groups_of_every_class(make_split, make_card):
    split = make_split(400, 1)
    rows = draw_groups(split, make_card(), 0.1, seed=0, draw=0)
    taken = np.isin(split.groups, split.groups[rows])
    np.testing.assert_array_equal(np.flatnonzero(taken), rows)
    assert np.bincount(split.targets[rows]).tolist() == [8, 8, 8, 8]  # 2 of 25 groups per class
    other = draw_groups(split, make_card(), 0.1, seed=0, draw=1)
    assert set(rows) != set(other)
    np.testing.assert_array_equal(rows, draw_groups(split, make_card(), 0.1, seed=0, draw=0))


def test_draws_hold_a_positive_of_every_label(make_split, make_card):
    split = make_split(400, 1, "multilabel")
    split.targets[:, 3] = 0
    split.targets[7, 3] = 1  # one positive in the whole split
    for draw in range(5):
        rows = draw_groups(split, make_card("multilabel", "macro_ap"), 0.01, 0, draw)
        assert (split.targets[rows].sum(0) > 0).all()


def test_draws_of_a_regression_span_its_range(make_split, make_card):
    split = make_split(400, 1, "regression")
    for draw in range(5):
        rows = draw_groups(split, make_card("regression", "r2"), 0.01, 0, draw)
        assert len(rows) == 20
        low, high = np.quantile(split.targets, [0.4, 0.6])
        assert split.targets[rows].min() < low < high < split.targets[rows].max()
