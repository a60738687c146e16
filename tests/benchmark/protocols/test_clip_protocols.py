"""What all protocols promise, on clip-level tasks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.bootstrap import paired_difference
from benchmark.errors import SslBenchError
from benchmark.protocols import PROTOCOLS, protocol
from benchmark.protocols.contract import RESAMPLES
from benchmark.protocols.few_shot import FewShotProtocol
from benchmark.protocols.label_efficiency import LabelEfficiencyProtocol

CASES = [
    ("linear-probe", "multiclass", "accuracy"),
    ("linear-probe", "multilabel", "macro_auroc"),
    ("linear-probe", "regression", "r2"),
    ("knn", "multiclass", "balanced_accuracy"),
    ("knn", "multilabel", "macro_ap"),
    ("knn", "regression", "mae"),
    ("few-shot", "multiclass", "accuracy"),
    ("zero-shot", "multiclass", "accuracy"),
    ("zero-shot", "multilabel", "macro_auroc"),
    ("label-efficiency", "multiclass", "macro_f1"),
    ("label-efficiency", "regression", "mae"),
    ("retrieval", "multiclass", "accuracy"),
    ("anomaly", "multiclass", "accuracy"),
]


CLIP = [name for name in PROTOCOLS if name != "verification"]  # whose targets are trials


def quick(name):
    if name == "label-efficiency":
        return LabelEfficiencyProtocol(draws=2)
    return FewShotProtocol(episodes=60) if name == "few-shot" else protocol(name)


@pytest.fixture
def splits(make_split):
    def make(kind="multiclass", signal=1.0):
        made = [make_split(n, seed, kind, signal) for n, seed in ((120, 1), (60, 2), (100, 3))]
        means = np.random.default_rng(99).normal(size=(4, 12)).astype(np.float32)
        made[2].class_texts = np.eye(4, 12) if kind == "multilabel" else means
        return made

    return make


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind", "metric"), CASES)
def test_scores_are_complete_deterministic_and_above_chance(name, kind, metric, splits, make_card):
    card, parts = make_card(kind, metric), splits(kind)
    scores = quick(name).run(*parts, card)
    again = quick(name).run(*parts, card)
    main = scores.metrics[scores.main]
    assert next(iter(scores.metrics)) == scores.main
    assert scores.metrics == again.metrics
    np.testing.assert_array_equal(scores.replicates, again.replicates)
    assert scores.replicates.shape == (RESAMPLES,)
    assert scores.replicates.dtype == np.float32
    assert np.isfinite(scores.replicates).all()
    assert main.low <= main.value <= main.high
    assert main.low < main.high
    assert np.percentile(scores.replicates, 2.5) == pytest.approx(main.low, abs=1e-5)
    assert scores.counts["test"] == 100
    assert scores.counts["test_groups"] == 25
    no_signal = [
        replace(part, embeddings=np.random.default_rng(i).normal(size=(len(part), 12)).astype("f4"))
        for i, part in enumerate(parts)
    ]
    blind = quick(name).run(*no_signal, card)
    *_, p = paired_difference(
        scores.replicates, blind.replicates, main.value, blind.metrics[blind.main].value
    )
    assert p < 0.05
    assert (main.value > blind.metrics[blind.main].value) == (metric != "mae")


@pytest.mark.parametrize(("name", "kind", "metric"), CASES)
def test_nan_names_encoder_and_sample(name, kind, metric, splits, make_card):
    parts = splits(kind)
    parts[2].embeddings = parts[2].embeddings.copy()
    parts[2].embeddings[17, 3] = np.nan
    with pytest.raises(SslBenchError, match=r"encoder mert .*'s3-17'"):
        quick(name).run(*parts, make_card(kind, metric), encoder="mert")


@pytest.mark.parametrize("name", [n for n in CLIP if n not in ("zero-shot", "anomaly")])
def test_the_order_of_test_examples_does_not_matter(name, splits, make_card):
    parts = splits()
    order = np.random.default_rng(0).permutation(100)
    shuffled = replace(
        parts[2],
        **{
            key: getattr(parts[2], key)[order] for key in ("embeddings", "targets", "groups", "ids")
        },
    )
    first = quick(name).run(*parts, make_card())
    second = quick(name).run(*parts[:2], shuffled, make_card())
    tolerance = 0.05 if name == "few-shot" else 1e-6  # other queries are drawn
    value = first.metrics[first.main].value
    assert second.metrics[second.main].value == pytest.approx(value, abs=tolerance)


@pytest.mark.parametrize("name", CLIP)
def test_test_labels_are_used_for_no_choice(name, splits, make_card):
    parts = splits(signal=0.3)
    flipped = replace(parts[2], targets=(parts[2].targets + 1) % 4)
    scores, other = (quick(name).run(*parts[:2], test, make_card()) for test in (parts[2], flipped))
    chosen = [
        {k: v for k, v in s.hyperparameters.items() if k != "chance"} for s in (scores, other)
    ]
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_targets_a_protocol_does_not_score_are_refused(name, splits, make_card):
    kind = "regression" if name in ("retrieval", "verification") else "pairs"
    with pytest.raises(SslBenchError, match=f"{name} does not score {kind}"):
        protocol(name).run(*splits(), make_card(kind, "accuracy"))


def test_widths_that_differ_and_empty_splits_are_refused(splits, make_card):
    train, validation, test = splits()
    narrow = replace(test, embeddings=test.embeddings[:, :5])
    with pytest.raises(SslBenchError, match="train: 12, validation: 12, test: 5"):
        protocol("linear-probe").run(train, validation, narrow, make_card())
    empty = replace(test, embeddings=test.embeddings[:0], ids=test.ids[:0])
    with pytest.raises(SslBenchError, match="test split is empty"):
        protocol("knn").run(train, validation, empty, make_card())


def test_a_wrong_metric_is_refused(splits, make_card):
    with pytest.raises(SslBenchError, match="'r2' does not score multiclass"):
        protocol("linear-probe").run(*splits(), make_card(metric="r2"))


@pytest.mark.parametrize(("name", "kind", "metric"), CASES)
def test_one_test_group_gives_no_interval(name, kind, metric, splits, make_card):
    train, validation, test = splits(kind)
    test.groups = np.full(100, "one patient")
    scores = quick(name).run(train, validation, test, make_card(kind, metric))
    for found in scores.metrics.values():
        assert np.isfinite(found.value)
        assert np.isnan([found.low, found.high]).all()
    assert np.isnan(scores.replicates).all()


def test_unknown_protocols_suggest_the_nearest():
    with pytest.raises(SslBenchError, match="linear-probe"):
        protocol("linear-prob")
