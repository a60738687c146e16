"""Sets that stay on the disk: the scores of a set in memory, never more than a block at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmark.cross_validation import join
from benchmark.probe import features, streamed
from benchmark.probe import probe as solver
from benchmark.protocols import blocks, episodes, knn, protocol, retrieval
from benchmark.protocols.contract import Scores, Split, layer
from benchmark.protocols.few_shot import FewShotProtocol
from benchmark.protocols.label_efficiency import LabelEfficiencyProtocol
from benchmark.sharded import ArrayOnDisk

from .test_bags import slides
from .test_frames import recordings
from .test_segmentation import discs

MOST = 50  # rows of 12 values in memory at once, or a single larger one


class Watched(ArrayOnDisk):
    """An array that refuses to be read as a whole, or many rows at a time."""

    def __init__(self, values: np.ndarray, rows: Any = None) -> None:
        self.values = values
        self.most = max(1, MOST * 12 // int(np.prod(values.shape[1:])))
        self.read = 0  # rows
        super().__init__(len(values), values.shape[1:], values.dtype, rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        assert len(self) <= self.most, "read as a whole"
        return super().__array__(dtype)

    def _with_rows(self, rows: Any) -> ArrayOnDisk:
        return Watched(self.values, rows)

    def _span(self, start: int, stop: int) -> np.ndarray:
        assert stop - start <= self.most
        self.read += stop - start
        return self.values[start:stop].copy()

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        assert len(rows) <= self.most
        return self.values[rows]


def on_disk(split: Split) -> Split:
    towers: Any = {name: Watched(values) for name, values in split.towers.items()}
    kept: Any = Watched(split.embeddings)
    layers: Any = split.layers
    if layers is not None:
        layers = Watched(layers)
        kept = layer(layers, layers.shape[1] - 1)
    return replace(split, embeddings=kept, towers=towers, layers=layers)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 37 * 12)
    monkeypatch.setattr("benchmark.protocols.checks._BLOCK", 37 * 12)
    monkeypatch.setattr("benchmark.protocols.verification.BLOCK_VALUES", 37 * 12)
    monkeypatch.setattr(knn, "_BLOCK", 900)
    monkeypatch.setattr(knn, "_VOTES", 900)
    monkeypatch.setattr(retrieval, "_BLOCK", 900)
    monkeypatch.setattr(retrieval, "_HELD", 4000)
    monkeypatch.setattr(episodes, "_BLOCK", 50 * 12)
    monkeypatch.setattr(features, "LARGE_BYTES", 0)
    monkeypatch.setattr(features.blocks, "__defaults__", (37 * 12,))
    monkeypatch.setattr(solver, "DECISION_VALUES", 37 * 12)
    monkeypatch.setattr(streamed, "READ_VALUES", 37 * 12)
    monkeypatch.setattr("benchmark.sharded._BLOCK", 37 * 12)
    monkeypatch.setattr("benchmark.protocols.layers.IN_MEMORY", 0)
    monkeypatch.setattr("benchmark.protocols.abmil._HELD", 0)


def assert_same(found: Scores, expected: Scores) -> None:
    assert found.main == expected.main
    assert found.hyperparameters == expected.hyperparameters
    assert found.counts == expected.counts
    for name, estimate in expected.metrics.items():
        got = found.metrics[name]
        np.testing.assert_allclose(
            [got.value, got.low, got.high],
            [estimate.value, estimate.low, estimate.high], atol=1e-6, err_msg=name,
        )  # fmt: skip
    np.testing.assert_allclose(found.replicates, expected.replicates, atol=1e-6)


CASES = [
    ("multiclass", "accuracy", ("knn", "retrieval", "anomaly", "zero-shot")),
    ("multilabel", "macro_auroc", ("knn", "retrieval", "anomaly", "zero-shot")),
    ("regression", "r2", ("knn",)),
    ("bags", "accuracy", ("knn", "retrieval", "anomaly", "zero-shot")),
    ("pairs", "eer", ("verification",)),
]


@pytest.mark.parametrize(
    ("kind", "metric", "name"),
    [(kind, metric, name) for kind, metric, names in CASES for name in names],
)
def test_scores_are_those_of_a_set_in_memory(
    make_split: Any, make_card: Any, request: Any, kind: str, metric: str, name: str
) -> None:
    train, test = (make_split(n, n, kind, 0.3) for n in (160, 120))
    card = make_card(kind, metric)
    test.class_texts = np.random.default_rng(3).normal(size=(4, 12))
    if kind == "bags":
        for split in (train, test):
            split.bags = np.char.add(
                split.groups, np.array(["-a", "-b"])[np.arange(len(split)) % 2]
            )
    if kind == "pairs":
        other = np.random.default_rng(5).integers(0, 120, (120, 6))
        test.targets = [np.column_stack((rows, np.arange(6) % 2)) for rows in other]
    expected = protocol(name).run(train, None, test, card)
    request.getfixturevalue("small_blocks")
    assert_same(protocol(name).run(on_disk(train), None, on_disk(test), card), expected)


def test_a_gallery_of_train_and_test_and_towers_stay_on_the_disk(
    make_split: Any, make_card: Any, request: Any
) -> None:
    train, test = make_split(160, 1), make_split(120, 2)
    test.groups = np.full(120, "one")
    for split in (train, test):
        noise = np.random.default_rng(0).normal(size=split.embeddings.shape)
        split.towers = {"a": split.embeddings, "b": split.embeddings + noise.astype(np.float32)}
    expected = protocol("retrieval").run(train, None, test, make_card())
    request.getfixturevalue("small_blocks")
    found = protocol("retrieval").run(on_disk(train), None, on_disk(test), make_card())
    assert_same(found, expected)


def test_episodes_read_the_rows_they_draw(make_split: Any, make_card: Any, request: Any) -> None:
    train, test = make_split(160, 1, signal=0.3), make_split(120, 2, signal=0.3)
    asked = FewShotProtocol(shots=(1, 3), episodes=20, queries=4)
    expected = asked.run(train, None, test, make_card())
    request.getfixturevalue("small_blocks")
    found = asked.run(on_disk(train), None, on_disk(test), make_card())
    assert_same(found, expected)


def test_fractions_of_the_labels_are_probed_where_they_are(
    make_split: Any, make_card: Any, request: Any
) -> None:
    train, held, test = (make_split(n, n, signal=0.3) for n in (240, 100, 120))
    asked = LabelEfficiencyProtocol(fractions=(0.1, 1.0), draws=1)
    expected = asked.run(train, held, test, make_card())
    request.getfixturevalue("small_blocks")
    found = asked.run(on_disk(train), on_disk(held), on_disk(test), make_card())
    assert_same(found, expected)


def test_folds_are_joined_on_the_disk(make_split: Any) -> None:
    whole = make_split(160, 1), make_split(120, 2)
    both: Any = join([on_disk(whole[0]), on_disk(whole[1])]).embeddings
    assert isinstance(both, ArrayOnDisk)
    expected = np.concatenate([split.embeddings for split in whole])
    np.testing.assert_array_equal(both[140:185], expected[140:185])
    rows = np.array([200, 3, 159, 160, 279, 3])
    np.testing.assert_array_equal(both[rows], expected[rows])
    np.testing.assert_array_equal(both.take(rows[::-1])[1:4], expected[rows[::-1]][1:4])


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("metric", ["event_f1", "onset_f1", "frame_macro_f1"])
def test_frames_are_probed_where_they_are(
    make_card: Any, request: Any, monkeypatch: Any, metric: str, validated: bool
) -> None:
    monkeypatch.setattr("benchmark.protocols.frames.MAX_FRAMES", MOST)
    train, held, test = (recordings(n, n, noise=1.0) for n in (16, 8, 12))
    card = make_card("frames", metric, classes=("cough", "wheeze"))
    expected = protocol("linear-probe").run(train, held if validated else None, test, card)
    request.getfixturevalue("small_blocks")
    given = on_disk(train), on_disk(held) if validated else None, on_disk(test)
    assert_same(protocol("linear-probe").run(*given, card), expected)


def test_layers_are_probed_where_they_are(
    make_split: Any, make_card: Any, request: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("benchmark.protocols.layers.MAX_EXAMPLES", 16)
    parts = [make_split(n, n, signal=0.3) for n in (160, 100, 120)]
    for split in parts:
        noise = np.random.default_rng(len(split)).normal(size=(3, *split.embeddings.shape))
        mixed = [split.embeddings + scale * n for scale, n in zip((2, 0.2, 1), noise, strict=True)]
        split.layers = np.stack(mixed, 1).astype(np.float32)
        split.embeddings = split.layers[:, -1]
    expected = protocol("linear-probe").run(*parts, make_card())
    request.getfixturevalue("small_blocks")
    given = [on_disk(part) for part in parts]
    found = protocol("linear-probe").run(*given, make_card())
    for split in given:  # to be checked, and once for each of three layers and their average
        assert split.layers.read <= 5 * len(split)
    assert found.metrics["accuracy"].value == pytest.approx(expected.metrics["accuracy"].value)
    assert found.hyperparameters["chosen"] == expected.hyperparameters["chosen"] == "layer 1"


@pytest.mark.parametrize("validated", [True, False])
def test_patches_are_probed_where_they_are(
    make_card: Any, request: Any, monkeypatch: Any, validated: bool
) -> None:
    monkeypatch.setattr("benchmark.protocols.segmentation.MAX_PATCHES", 600)
    train, held, test = (discs(n, n) for n in (24, 10, 16))
    card = make_card("segmentation", "dice", classes=("background", "wall", "cavity"))
    expected = protocol("linear-probe").run(train, held if validated else None, test, card)
    request.getfixturevalue("small_blocks")
    given = on_disk(train), on_disk(held) if validated else None, on_disk(test)
    found = protocol("linear-probe").run(*given, card)
    assert found.counts == expected.counts
    dice = expected.metrics["dice"].value  # of about equal penalties either may be chosen
    assert found.metrics["dice"].value == pytest.approx(dice, abs=2e-3)


@pytest.mark.parametrize("validated", [True, False])
def test_tiles_of_bags_are_probed_where_they_are(
    make_card: Any, request: Any, monkeypatch: Any, validated: bool
) -> None:
    monkeypatch.setattr("benchmark.protocols.abmil._BLOCK", 2 * 16 * 10)
    train, held, test = (slides(n, n, 1) for n in (40, 16, 24))
    card = make_card("bags", "balanced_accuracy", classes=("benign", "tumour"))
    expected = protocol("linear-probe").run(train, held if validated else None, test, card)
    request.getfixturevalue("small_blocks")
    given = on_disk(train), on_disk(held) if validated else None, on_disk(test)
    found = protocol("linear-probe").run(*given, card)
    assert found.hyperparameters["abmil"] == expected.hyperparameters["abmil"]
    for name, estimate in expected.metrics.items():
        assert found.metrics[name].value == pytest.approx(estimate.value), name
