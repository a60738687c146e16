"""knn, retrieval, anomaly and zero-shot against independent definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from benchmark.errors import SslBenchError
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split
from benchmark.protocols.knn import KnnProtocol, nearest


def weights(distance):
    return np.exp((1 - distance) / 0.07)


@pytest.fixture
def parts(make_split):
    return (
        make_split(120, 1, signal=0.5),
        make_split(40, 2, signal=0.5),
        make_split(80, 3, signal=0.5),
    )


def test_knn_is_that_of_scikit_learn(parts, make_card):
    train, validation, test = parts
    scores = protocol("knn").run(train, validation, test, make_card())
    model = KNeighborsClassifier(20, metric="cosine", algorithm="brute", weights=weights)
    model.fit(train.embeddings, train.targets)
    shares = model.predict_proba(test.embeddings)
    expected = sk.accuracy_score(test.targets, shares.argmax(1))
    assert scores.metrics["accuracy"].value == pytest.approx(expected)
    expected = sk.roc_auc_score(test.targets, shares, multi_class="ovr")
    assert scores.metrics["macro_auroc"].value == pytest.approx(expected, abs=1e-4)
    assert scores.hyperparameters == {"k": 20, "temperature": 0.07, "bank": "train"}


def test_knn_regression_is_that_of_scikit_learn(make_split, make_card):
    train, test = make_split(120, 1, "regression"), make_split(80, 3, "regression")
    scores = protocol("knn").run(train, None, test, make_card("regression", "r2"))
    model = KNeighborsRegressor(20, metric="cosine", algorithm="brute", weights=weights)
    predicted = model.fit(train.embeddings, train.targets).predict(test.embeddings)
    assert scores.metrics["r2"].value == pytest.approx(
        sk.r2_score(test.targets, predicted), abs=1e-5
    )


def test_a_bank_smaller_than_k_votes_as_a_whole(make_split, make_card):
    scores = KnnProtocol().run(make_split(8, 1), None, make_split(40, 3), make_card())
    assert scores.hyperparameters["k"] == 8


def test_nearest_works_in_blocks(parts, monkeypatch):
    train, _, test = parts
    labels = np.arange(120) % 3
    similarity = cosine_similarity(test.embeddings, train.embeddings)
    for sizes in ({}, {"knn._BLOCK": 100, "blocks.BLOCK_VALUES": 250}):
        for name, value in sizes.items():
            monkeypatch.setattr(f"benchmark.protocols.{name}", value)
        found = list(nearest(test.embeddings, train.embeddings, 5, parts=labels))
        values, rows = (np.concatenate([block[i] for block in found]) for i in (1, 2))
        for part in range(3):
            own = np.flatnonzero(labels == part)
            order = own[np.argsort(-similarity[:, own], axis=1)[:, :5]]
            np.testing.assert_array_equal(rows[:, part], order)
            expected = np.take_along_axis(similarity, order, 1)
            np.testing.assert_allclose(values[:, part], expected, atol=1e-6)
    assert len(found) > 1


def average_precision(similarity, relevant, groups):
    """mAP and R@1 query by query, with scikit-learn."""
    precisions, hits = [], []
    for i, row in enumerate(np.round(similarity, 6)):
        others = groups != groups[i]
        if relevant[i, others].any():
            precisions.append(sk.average_precision_score(relevant[i, others], row[others]))
            top = row[others] == row[others].max()
            hits.append(relevant[i, others][top].mean())
    return np.mean(precisions), np.mean(hits)


@pytest.mark.parametrize("ties", [False, True])
def test_retrieval_is_average_precision_over_other_groups(parts, make_card, ties):
    test = parts[2]
    if ties:
        test.embeddings = np.round(test.embeddings[:, :2] / 2) + np.float32(0.5)
    scores = protocol("retrieval").run(parts[0], None, test, make_card())
    relevant = test.targets[:, None] == test.targets
    expected = average_precision(cosine_similarity(test.embeddings), relevant, test.groups)
    assert scores.main == "map"
    tolerance = 2e-3 if ties else 1e-5
    assert scores.metrics["map"].value == pytest.approx(expected[0], abs=tolerance)
    assert scores.metrics["recall@1"].value == pytest.approx(expected[1], abs=tolerance)


def test_a_collapsed_encoder_retrieves_at_chance(parts, make_card):
    test = replace(parts[2], embeddings=np.ones((80, 12), np.float32))
    scores = protocol("retrieval").run(parts[0], None, test, make_card())
    chance = (20 - 4) / (80 - 4)
    assert scores.chance == pytest.approx(chance)
    assert scores.metrics["map"].value == pytest.approx(chance)
    assert scores.metrics["recall@1"].value == pytest.approx(chance)


def test_a_query_never_meets_its_own_group(parts, make_card):
    test = parts[2]
    # every example is identical to its group and to nothing else, and each group has its own axis
    _, codes = np.unique(test.groups, return_inverse=True)
    test.embeddings = np.eye(20, dtype=np.float32)[codes]
    scores = protocol("retrieval").run(parts[0], None, test, make_card())
    assert scores.metrics["recall@1"].value < 0.3


def test_multilabel_retrieval_needs_a_common_label(make_split, make_card):
    test = make_split(40, 3, "multilabel")
    scores = protocol("retrieval").run(test, None, test, make_card("multilabel", "macro_auroc"))
    relevant = (test.targets @ test.targets.T) > 0
    expected = average_precision(cosine_similarity(test.embeddings), relevant, test.groups)
    assert scores.metrics["map"].value == pytest.approx(expected[0], abs=1e-5)
    assert scores.counts["queries"] == (test.targets.sum(1) > 0).sum()


def test_cross_modal_retrieval_goes_both_ways(parts, make_card):
    test = parts[2]
    generator = np.random.default_rng(0)
    test.towers = {
        "spectrum": test.embeddings,
        "metadata": test.embeddings + 0.05 * generator.normal(size=(80, 12)).astype(np.float32),
        "image": generator.normal(size=(80, 7)).astype(np.float32),
    }
    scores = protocol("retrieval").run(parts[0], None, test, make_card())
    both = {"(metadata to spectrum)", "(spectrum to metadata)"}
    assert {k.split(" ", 1)[1] for k in scores.metrics if " " in k} == both  # image: other width
    similarity = cosine_similarity(test.towers["spectrum"], test.towers["metadata"])
    relevant = test.targets[:, None] == test.targets
    expected = average_precision(similarity, relevant, test.groups)[0]
    found = scores.metrics["map (spectrum to metadata)"].value
    assert found == pytest.approx(expected, abs=1e-5)
    assert scores.metrics["pair_recall@1 (spectrum to metadata)"].value > 0.9


def test_pairs_are_scored_by_finding_the_same_example(parts, make_card):
    test = replace(parts[2], targets=None, embeddings=np.empty((0, 0), np.float32))
    with pytest.raises(SslBenchError, match="no two towers"):
        protocol("retrieval").run(parts[0], None, test, make_card("pairs"))
    tower = parts[2].embeddings
    test.towers = {"a": tower, "b": tower + np.float32(0.01)}
    scores = protocol("retrieval").run(parts[0], None, test, make_card("pairs"))
    assert scores.main == "pair_map"
    assert scores.metrics["pair_map"].value == pytest.approx(1, abs=0.02)
    test.towers = {"a": tower, "b": np.random.default_rng(0).normal(size=tower.shape).astype("f4")}
    assert protocol("retrieval").run(parts[0], None, test, make_card("pairs")).metrics[
        "pair_recall@1"
    ].value < 0.1  # fmt: skip


def novelty(bank, queries, k=2):
    return 1 - np.sort(cosine_similarity(queries, bank), axis=1)[:, -k:].mean(1)


def test_anomaly_scores_the_distance_to_the_normal_class(parts, make_card):
    train, _, test = parts
    card = make_card(normal_class="bell")
    scores = protocol("anomaly").run(train, None, test, card)
    distance = novelty(train.embeddings[train.targets == 1], test.embeddings)
    expected = sk.roc_auc_score(test.targets != 1, distance)
    assert scores.main == "auroc"
    assert scores.metrics["auroc"].value == pytest.approx(expected, abs=1e-4)
    with pytest.raises(SslBenchError, match="'cat' is none of the card's classes"):
        protocol("anomaly").run(train, None, test, make_card(normal_class="cat"))


def test_anomaly_without_a_normal_class_leaves_one_class_out(parts, make_card):
    train, _, test = parts
    scores = protocol("anomaly").run(train, None, test, make_card())
    expected = [
        sk.roc_auc_score(
            test.targets == c, novelty(train.embeddings[train.targets != c], test.embeddings)
        )
        for c in range(4)
    ]
    assert scores.metrics["auroc"].value == pytest.approx(np.mean(expected), abs=1e-4)
    assert scores.per_class["rain"]["auroc"] == pytest.approx(expected[2], abs=1e-4)


def test_multilabel_anomaly_leaves_out_every_example_with_the_label(make_split, make_card):
    train, test = make_split(60, 1, "multilabel"), make_split(80, 3, "multilabel")
    scores = protocol("anomaly").run(train, None, test, make_card("multilabel", "macro_ap"))
    expected = [
        sk.roc_auc_score(
            test.targets[:, c],
            novelty(train.embeddings[train.targets[:, c] == 0], test.embeddings),
        )
        for c in range(4)
    ]
    assert scores.metrics["auroc"].value == pytest.approx(np.mean(expected), abs=1e-4)


def test_zero_shot_takes_the_nearest_prompt(parts, make_card):
    test = parts[2]
    test.class_texts = 5 * np.random.default_rng(99).normal(size=(4, 12))
    scores = protocol("zero-shot").run(parts[0], None, test, make_card())
    cosine = cosine_similarity(test.embeddings, test.class_texts)
    expected = sk.accuracy_score(test.targets, cosine.argmax(1))
    assert scores.metrics["accuracy"].value == pytest.approx(expected)


def test_multilabel_zero_shot_ranks_without_a_threshold(make_split, make_card):
    test = make_split(80, 3, "multilabel")
    test.class_texts = np.eye(4, 12)
    scores = protocol("zero-shot").run(test, None, test, make_card("multilabel", "macro_auroc"))
    cosine = cosine_similarity(test.embeddings, test.class_texts)
    expected = sk.roc_auc_score(test.targets, cosine)
    assert scores.metrics["macro_auroc"].value == pytest.approx(expected)
    assert "macro_f1" not in scores.metrics


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "has no text tower"),
        (np.ones((4, 5)), r"shape \(4, 5\), expected \(4, 12\)"),
        (np.where(np.eye(4, 12) == 1, np.nan, 0), "prompts of class 'dog'"),
    ],
)
def test_zero_shot_says_what_is_missing(parts, make_card, texts, message):
    test = replace(parts[2], class_texts=texts)
    with pytest.raises(SslBenchError, match=message):
        protocol("zero-shot").run(parts[0], None, test, make_card())


def test_a_test_split_of_one_group_searches_the_training_split(parts, make_card, monkeypatch):
    train, _, test = parts
    test.groups = np.full(80, "theo")
    train.groups = np.where(np.arange(120) < 10, "theo", train.groups)
    monkeypatch.setattr("benchmark.protocols.retrieval._BLOCK", 5000)  # in several blocks
    scores = protocol("retrieval").run(train, None, test, make_card())
    others = train.embeddings[10:], train.targets[10:]
    similarity = np.round(cosine_similarity(test.embeddings, others[0]), 6)
    relevant = test.targets[:, None] == others[1]
    expected = np.mean([
        sk.average_precision_score(*rows) for rows in zip(relevant, similarity, strict=True)
    ])  # fmt: skip
    nearest_is = relevant[np.arange(80), similarity.argmax(1)].mean()
    assert scores.metrics["map"].value == pytest.approx(expected, abs=1e-5)
    assert scores.metrics["recall@1"].value == pytest.approx(nearest_is, abs=0.02)
    assert scores.chance == pytest.approx(relevant.mean())
    assert scores.counts["queries"] == 80
    assert scores.hyperparameters["gallery"] == "test + train"
    assert np.isnan(scores.metrics["map"].low)  # one speaker says nothing about others
    train.groups = np.full(120, "theo")
    with pytest.raises(SslBenchError, match="all examples are of the group 'theo'"):
        protocol("retrieval").run(train, None, test, make_card())


def test_towers_of_one_group_search_the_training_split(parts, make_card):
    train, _, test = parts
    test.groups = np.full(80, "theo")
    for split in (train, test):
        split.towers = {"a": split.embeddings, "b": split.embeddings + np.float32(0.01)}
    for kind in ("multiclass", "pairs"):
        scores = protocol("retrieval").run(train, None, test, make_card(kind))
        assert scores.metrics["pair_recall@1 (a to b)"].value > 0.9
        assert scores.counts["gallery"] == 200
    train.towers = {}
    with pytest.raises(SslBenchError, match="no two towers"):
        protocol("retrieval").run(train, None, test, make_card("pairs"))


def test_retrieval_without_a_relevant_candidate_is_refused(make_card):
    alone = Split(
        np.eye(4, dtype="f4"), np.arange(4), np.array(list("abcd")), np.array(list("wxyz"))
    )
    with pytest.raises(SslBenchError, match="no test example has a relevant one"):
        protocol("retrieval").run(alone, None, alone, make_card())
