from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from benchmark.probe import PENALTIES
from benchmark.protocols import protocol
from benchmark.protocols.layers import average_weights
from benchmark.protocols.selection import selection_score


def test_the_probe_is_that_of_scikit_learn(make_split, make_card):
    train, validation, test = (
        make_split(n, s, signal=0.4) for n, s in ((120, 1), (60, 2), (100, 3))
    )
    scores = protocol("linear-probe").run(train, validation, test, make_card())
    scaler = StandardScaler().fit(train.embeddings)
    path = [
        LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(
            scaler.transform(train.embeddings), train.targets
        ).score(scaler.transform(validation.embeddings), validation.targets)
        for c in PENALTIES
    ]  # fmt: skip
    chosen = int(np.argmin(abs(np.log(PENALTIES / scores.hyperparameters["penalty"]))))
    assert path[chosen] == pytest.approx(max(path), abs=0.02)
    x = np.concatenate((train.embeddings, validation.embeddings))
    y = np.concatenate((train.targets, validation.targets))
    refitted = StandardScaler().fit(x)
    model = LogisticRegression(C=PENALTIES[chosen], tol=1e-8, max_iter=5000)
    predicted = model.fit(refitted.transform(x), y).predict(refitted.transform(test.embeddings))
    assert scores.metrics["accuracy"].value == pytest.approx(
        sk.accuracy_score(test.targets, predicted), abs=0.011
    )
    assert scores.metrics["macro_f1"].value == pytest.approx(
        sk.f1_score(test.targets, predicted, average="macro"), abs=0.02
    )
    assert scores.hyperparameters["selection"] == "validation"
    assert np.array(scores.confusion).sum() == 100
    assert set(scores.per_class) == {"dog", "bell", "rain", "wind"}


def test_ridge_is_that_of_scikit_learn(make_split, make_card):
    train, validation, test = (
        make_split(n, s, "regression") for n, s in ((120, 1), (60, 2), (100, 3))
    )
    scores = protocol("linear-probe").run(train, validation, test, make_card("regression", "r2"))
    x = np.concatenate((train.embeddings, validation.embeddings))
    y = np.concatenate((train.targets, validation.targets))
    scaler = StandardScaler().fit(x)
    model = Ridge(alpha=1 / scores.hyperparameters["penalty"]).fit(scaler.transform(x), y)
    predicted = model.predict(scaler.transform(test.embeddings))
    for metric, expected in (
        ("r2", sk.r2_score(test.targets, predicted)),
        ("mae", sk.mean_absolute_error(test.targets, predicted)),
        ("spearman", stats.spearmanr(test.targets, predicted)[0]),
    ):
        assert scores.metrics[metric].value == pytest.approx(expected, abs=2e-3)


def test_without_validation_the_penalty_is_cross_validated_over_groups(make_split, make_card):
    scores = protocol("linear-probe").run(make_split(120, 1), None, make_split(80, 3), make_card())
    assert "group cross-validation" in scores.hyperparameters["selection"]
    assert scores.metrics["accuracy"].value > 0.8
    assert "validation" not in scores.counts


def test_a_class_that_train_lacks_is_simply_never_predicted(make_split, make_card):
    train = make_split(120, 1)
    train.targets = np.where(train.targets == 3, 0, train.targets)
    scores = protocol("linear-probe").run(train, make_split(60, 2), make_split(80, 3), make_card())
    assert np.isfinite(scores.replicates).all()


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "macro_auroc"])
def test_selection_scores_are_those_of_scikit_learn(metric):
    generator = np.random.default_rng(0)
    y = generator.integers(0, 4, 60)
    decision = np.round(generator.normal(size=(60, 4, 3)) + np.eye(4)[y][:, :, None], 1)
    oracle = {
        "accuracy": lambda d: sk.accuracy_score(y, d.argmax(1)),
        "balanced_accuracy": lambda d: sk.balanced_accuracy_score(y, d.argmax(1)),
        "macro_f1": lambda d: sk.f1_score(y, d.argmax(1), average="macro"),
        "macro_auroc": lambda d: sk.roc_auc_score(
            y, np.exp(d) / np.exp(d).sum(1, keepdims=True), multi_class="ovr"
        ),
    }[metric]
    found = selection_score(metric, "multiclass")(decision, y)
    np.testing.assert_allclose(found, [oracle(decision[:, :, k]) for k in range(3)], atol=1e-9)


def test_multilabel_and_regression_selection_scores():
    generator = np.random.default_rng(1)
    y = (generator.random((50, 3)) < [0.5, 0.2, 0.0]).astype(int)
    decision = np.round(generator.normal(size=(50, 3, 2)) + y[:, :, None], 1)
    for metric, oracle in (
        ("macro_auroc", sk.roc_auc_score), ("macro_ap", sk.average_precision_score),
    ):  # fmt: skip
        expected = [np.mean([oracle(y[:, c], decision[:, c, k]) for c in (0, 1)]) for k in (0, 1)]
        np.testing.assert_allclose(selection_score(metric, "multilabel")(decision, y), expected)
    truth, values = generator.normal(size=50), generator.normal(size=(50, 1, 2))
    pairs = [(truth, values[:, 0, k]) for k in (0, 1)]
    score = {m: selection_score(m, "regression")(values, truth) for m in ("mae", "spearman", "r2")}
    np.testing.assert_allclose(score["mae"], [-sk.mean_absolute_error(*p) for p in pairs])
    np.testing.assert_allclose(score["spearman"], [stats.spearmanr(*p)[0] for p in pairs])
    assert np.argmax(score["r2"]) == np.argmax([sk.r2_score(*p) for p in pairs])


@pytest.fixture
def layered(make_split):
    """Layer 1 of 3 holds the signal, the others noise."""
    made = []
    for n, seed in ((160, 1), (80, 2), (100, 3)):
        split = make_split(n, seed, signal=0.8)
        noise = np.random.default_rng(seed).normal(size=(2, *split.embeddings.shape))
        split.layers = np.stack((noise[0], split.embeddings, noise[1]), 1).astype(np.float32)
        split.embeddings = split.layers[:, -1]
        made.append(split)
    return made


def test_the_layer_with_the_signal_is_found(layered, make_card):
    scores = protocol("linear-probe").run(*layered, make_card())
    assert scores.hyperparameters["best_layer"] == 1
    assert np.argmax([row["value"] for row in scores.curve]) == 1
    assert [row["layer"] for row in scores.curve] == [0, 1, 2]
    assert np.argmax(scores.hyperparameters["layer_weights"]) == 1
    assert sum(scores.hyperparameters["layer_weights"]) == pytest.approx(1, abs=1e-5)
    assert {"accuracy (best layer)", "accuracy (layer average)"} < set(scores.metrics)
    assert scores.metrics["accuracy"].value > 0.7


def test_an_average_beats_layers_that_each_hold_half(make_split, make_card):
    # the class means are split over two layers in the same coordinates with opposite noise
    made = []
    for n, seed in ((160, 1), (80, 2), (100, 3)):
        split = make_split(n, seed, signal=0.5)
        noise = 3 * np.random.default_rng(seed).normal(size=split.embeddings.shape)
        split.layers = np.stack((split.embeddings + noise, split.embeddings - noise), 1)
        split.layers = split.layers.astype(np.float32)
        made.append(split)
    scores = protocol("linear-probe").run(*made, make_card())
    assert scores.hyperparameters["chosen"] == "layer average"
    best, average = (
        scores.metrics[f"accuracy ({k})"].value for k in ("best layer", "layer average")
    )
    assert scores.metrics["accuracy"].value == average > best + 0.1


@pytest.mark.parametrize("kind", ["multilabel", "regression"])
def test_layer_weights_are_learned_for_every_kind(kind, make_split, make_card):
    split = make_split(160, 1, kind)
    noise = np.random.default_rng(0).normal(size=split.embeddings.shape)
    split.layers = np.stack((noise, split.embeddings), 1).astype(np.float32)
    weights = average_weights(split, make_card(kind, "r2" if kind == "regression" else "macro_ap"))
    assert weights[1] > 0.6


def test_other_protocols_take_the_last_layer(layered, make_card):
    card = make_card()
    whole = protocol("knn").run(*layered, card)
    for split in layered:
        split.embeddings = np.empty((0, 0), np.float32)
    assert protocol("knn").run(*layered, card).metrics == whole.metrics
