"""Keys by their relation, and classes that macro averages leave out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from benchmark.bootstrap import resample_groups
from benchmark.classification import Classification, Multilabel, key_weights, scored_classes
from benchmark.errors import SslBenchError
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split
from benchmark.protocols.scoring import measure
from benchmark.protocols.selection import selection_score, softmax
from benchmark.task import Target, TaskCard

TONICS = ("C", "C#", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS)


def card(
    metric: str, kind: str = "multiclass", classes: tuple[str, ...] = KEYS, **target
) -> TaskCard:
    return TaskCard(
        name="mock", title="Mock", modality="audio", implementation="mock:Mock",
        target={"kind": "multiclass", "column": "y", "classes": classes, **target}, metric=metric,
        chance=0.1, split="random", grouping="track", access="embedded", simulated=True,
        licence="CC0", citation="none",
    )  # fmt: skip


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_key_score_is_the_mean_of_mir_eval_scores(generator) -> None:
    from mir_eval.key import evaluate

    truth = generator.integers(0, 24, 80)
    logits = generator.normal(size=(80, 24)) + 2 * np.eye(24)[(truth + 12) % 24]
    logits += 2.5 * np.eye(24)[truth]
    groups = generator.integers(0, 20, 80)
    resamples = resample_groups(groups, 0, 20)
    statistics = Classification(
        truth, softmax(logits), resamples.codes, resamples.groups, weights=key_weights(KEYS)
    )
    scores = np.array([
        evaluate(KEYS[t], KEYS[p])["Weighted Score"]
        for t, p in zip(truth, logits.argmax(1), strict=True)
    ])  # fmt: skip
    found = statistics(resamples.counts)["key_score"]
    for b, counts in enumerate(resamples.counts):
        rows = np.repeat(np.arange(80), counts[resamples.codes].astype(int))
        assert found[b] == pytest.approx(scores[rows].mean())
    chosen = selection_score("key_score", "multiclass", card("key_score").target)
    assert chosen(logits[..., None], truth)[0] == pytest.approx(scores.mean())


def test_names_of_one_key_are_worth_the_same() -> None:
    weights = key_weights(("C# major", "Db major", "Bb minor", "A# minor", "G# major", "C# minor"))
    assert weights[0].tolist() == [1, 1, 0.3, 0.3, 0.5, 0.2]
    assert weights[4, 0] == 0  # a fifth below is worth nothing
    for bad in (("C", "D"), ("H major", "C major"), ("C Major", "C major")):
        with pytest.raises(SslBenchError, match="classes named like 'C major'"):
            key_weights(bad)


def test_the_probe_reports_the_key_score(generator) -> None:
    def split(number: int, seed: int) -> Split:
        own = np.random.default_rng(seed)
        truth = own.permutation(np.arange(number) % 24)
        x = np.random.default_rng(9).normal(size=(24, 16))[truth] + 0.8 * own.normal(
            size=(number, 16)
        )
        names = np.array([f"{seed}-{i}" for i in range(number)])
        return Split(x.astype(np.float32), truth, names, names)

    scores = protocol("linear-probe").run(
        split(240, 1), split(96, 2), split(96, 3), card("key_score")
    )
    assert scores.main == "key_score"
    assert scores.metrics["key_score"].value >= scores.metrics["accuracy"].value > 0.5
    plain = protocol("linear-probe").run(
        split(240, 1), split(96, 2), split(96, 3), card("accuracy")
    )
    assert "key_score" not in plain.metrics


def mean_over_classes(metric, truth: np.ndarray, scores: np.ndarray) -> float:
    return np.mean([metric(truth == c, scores[:, c]) for c in range(3)])


def test_unscored_classes_are_left_out_of_macro_averages(generator) -> None:
    names = ("normal", "af", "other", "noise")
    target = Target(kind="multiclass", column="y", classes=names, unscored=("noise",))
    assert scored_classes(target).tolist() == [True, True, True, False]
    assert scored_classes(Target(kind="multiclass", column="y", classes=names)) is None
    truth = generator.integers(0, 4, 120)
    scores = softmax(generator.normal(size=(120, 4)) + np.eye(4)[truth])
    groups = generator.integers(0, 30, 120)
    resamples = resample_groups(groups, 0, 15)
    found = Classification(
        truth, scores, resamples.codes, resamples.groups, scored_classes(target)
    )(resamples.counts)
    for b, counts in enumerate(resamples.counts):
        rows = np.repeat(np.arange(120), counts[resamples.codes].astype(int))
        y, p = truth[rows], scores[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = {"labels": [0, 1, 2], "average": "macro"}
            expected = {
                "accuracy": sk.accuracy_score(y, p.argmax(1)),
                "macro_f1": sk.f1_score(y, p.argmax(1), **kept),
                "balanced_accuracy": sk.recall_score(y, p.argmax(1), **kept),
                "macro_auroc": np.mean([sk.roc_auc_score(y == c, p[:, c]) for c in range(3)]),
                "macro_ap": np.mean(
                    [sk.average_precision_score(y == c, p[:, c]) for c in range(3)]
                ),
            }
        for name, value in expected.items():
            assert found[name][b] == pytest.approx(value), name
    measured = measure(
        card("macro_f1", classes=names, unscored=("noise",)),
        Split(np.zeros((120, 1)), truth, groups.astype(str), groups.astype(str)), scores, 0,
    )  # fmt: skip
    f1 = [measured.per_class[name]["f1"] for name in names]
    assert measured.estimates["macro_f1"].value == pytest.approx(np.mean(f1[:3]))


def test_unscored_labels_are_left_out_of_multilabel_averages(generator) -> None:
    truth = generator.integers(0, 2, (90, 3))
    scores = generator.random((90, 3)) + 0.3 * truth
    kept = np.array([True, False, True])
    ones = np.ones((1, 90))
    found = Multilabel(truth, scores, np.arange(90), 90, 0.5, kept)(ones)
    rest = Multilabel(truth[:, kept], scores[:, kept], np.arange(90), 90, 0.5)(ones)
    assert {k: v[0] for k, v in found.items()} == {k: v[0] for k, v in rest.items()}


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "macro_auroc", "macro_ap"])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_penalty_is_chosen_by_the_scored_classes(generator, metric: str, kind: str) -> None:
    if kind == "multilabel" and metric == "balanced_accuracy":
        return
    names = ("a", "b", "c")
    target = Target(kind=kind, column="y", classes=names, unscored=("b",))
    decision = generator.normal(size=(80, 3, 2))
    y = generator.integers(0, 3, 80) if kind == "multiclass" else generator.integers(0, 2, (80, 3))
    found = selection_score(metric, kind, target)(decision, y)
    for k in range(2):
        logits = decision[..., k]
        if kind == "multilabel":
            statistics = Multilabel(
                y, logits, np.arange(80), 80, 0.0, scored=scored_classes(target)
            )
        else:
            statistics = Classification(
                y, softmax(logits), np.arange(80), 80, scored_classes(target)
            )
        assert found[k] == pytest.approx(statistics(np.ones((1, 80)))[metric][0])
    other = selection_score(metric, kind)(decision, y)
    assert not np.allclose(found, other)
