"""Passes that all penalties share: the optimum of one after the other, in a fraction of them."""

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark.probe import features, fit_probe, sample, streamed

GRID = 10.0 ** np.linspace(-6, 5, 45)


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything is too large for memory, and a few hundred samples stand for it."""
    monkeypatch.setattr(features, "LARGE_BYTES", 0)
    monkeypatch.setattr(streamed, "READ_VALUES", 5555)
    monkeypatch.setattr(sample, "LEAST_ROWS", 400)
    monkeypatch.setattr(sample, "ROWS_PER_COLUMN", 30)
    return monkeypatch


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every pass over the samples."""
    made: list[int] = []
    original = streamed.Stream.chunks

    def counted(stream: streamed.Stream) -> Any:
        made.append(len(stream))
        return original(stream)

    monkeypatch.setattr(streamed.Stream, "chunks", counted)
    return made


def data(
    n: int, d: int, classes: int, spread: float = 0.4, shares: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    means = rng.standard_normal((classes, d))
    y = rng.choice(classes, n, p=shares)
    x = (spread * means[y] + rng.standard_normal((n, d))) * np.geomspace(0.1, 10, d) + 5
    return x.astype(np.float32), y


def assert_optimum_of_scikit_learn(
    x: np.ndarray, y: np.ndarray, penalty: float, atol: float = 2e-4
) -> None:
    """A tight probe has scikit-learn's logits, up to a part common to all classes."""
    probe = fit_probe(x, y, kind="multiclass", penalties=[penalty], tol=1e-8)
    assert probe.converged
    z = StandardScaler().fit_transform(x.astype(np.float64))
    model = LogisticRegression(C=penalty, tol=1e-12, max_iter=10_000).fit(z, y)
    theirs = model.decision_function(z)
    theirs = np.stack((-theirs / 2, theirs / 2), 1) if theirs.ndim == 1 else theirs
    ours = probe.decision(x)
    ours -= ours.mean(1, keepdims=True)
    np.testing.assert_allclose(ours, theirs - theirs.mean(1, keepdims=True), atol=atol)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 100.0])
def test_the_optimum_is_scikit_learns(
    forced: Any, passes: list[int], classes: int, penalty: float
) -> None:
    x, y = data(5000, 12, classes)
    assert_optimum_of_scikit_learn(x, y, penalty)
    assert len(passes) < 25


@pytest.mark.parametrize("kind", ["classes", "two classes", "soft"])
def test_a_whole_path_agrees_with_the_one_in_memory(
    forced: pytest.MonkeyPatch, passes: list[int], kind: str
) -> None:
    x, labels = data(6000, 16, 2 if kind == "two classes" else 4, spread=0.3)
    y = np.eye(4)[labels] * 0.8 + 0.05 if kind == "soft" else labels
    seen: list[list[np.ndarray]] = []
    for large in (True, False):
        forced.setattr(features, "LARGE_BYTES", 0 if large else 1 << 26)
        seen.append([])

        def score(decision: np.ndarray, _: np.ndarray) -> np.ndarray:
            seen[-1].extend(decision.transpose(2, 0, 1))
            return np.zeros(decision.shape[2])

        fit_probe(
            x[:5000],
            y[:5000],
            kind="multiclass",
            penalties=GRID,
            validation=(x[5000:], y[5000:]),
            score=score,
            refit=False,
        )
    assert 0 < len(passes) < 2 * len(GRID)
    for disk, memory in zip(*seen, strict=True):
        np.testing.assert_allclose(_softmax(disk), _softmax(memory), atol=5e-3)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def test_classes_that_are_far_apart_are_solved_too(forced: Any) -> None:
    x, y = data(5000, 12, 4, spread=6.0)
    assert_optimum_of_scikit_learn(x, y, 1.0, atol=1e-3)


def test_rare_classes_reach_the_same_optimum(forced: Any) -> None:
    x, y = data(6000, 8, 4, spread=1.0, shares=[0.6, 0.39, 0.008, 0.002])
    assert_optimum_of_scikit_learn(x, y, 0.1, atol=1e-3)


def test_too_few_iterations_are_said(forced: Any) -> None:
    x, y = data(5000, 12, 4)
    probe = fit_probe(x, y, kind="multiclass", penalties=[1e-2], tol=1e-8, max_iter=1)
    assert not probe.converged


def test_many_labels_are_solved_one_penalty_after_the_other(forced: Any) -> None:
    x, labels = data(5000, 12, 4)
    y = np.eye(4, dtype=int)[labels]
    probe = fit_probe(x, y, kind="multilabel", penalties=[1e-2], tol=1e-8)
    z = StandardScaler().fit_transform(x.astype(np.float64))
    for label in range(4):
        model = LogisticRegression(C=1e-2, tol=1e-12, max_iter=10_000).fit(z, y[:, label])
        ours = probe.decision(x)[:, label]
        np.testing.assert_allclose(ours, model.decision_function(z), atol=2e-4)


def test_a_sample_holds_the_rare_and_stands_for_all() -> None:
    y = np.random.default_rng(0).choice(3, 100_000, p=[0.9, 0.0999, 0.0001])
    places, weights = sample.draw(y, 2000)
    assert 900 < len(places) < 2200
    assert (np.diff(places) > 0).all()
    rare = np.flatnonzero(y == 2)
    assert np.isin(rare, places).all()
    estimated = np.bincount(y[places], weights) / weights.sum()
    np.testing.assert_allclose(estimated, np.bincount(y) / len(y), atol=0.02)
    again, _ = sample.draw(y, 2000)
    np.testing.assert_array_equal(places, again)


def test_a_sample_follows_no_period_of_the_labels() -> None:
    y = np.arange(100_000) % 50
    places, _ = sample.draw(y, 2000)
    counts = np.bincount(y[places], minlength=50)
    assert counts.min() > 10


def test_a_sample_holds_what_predictors_are_wrong_about() -> None:
    y = np.zeros(50_000, dtype=np.int64)
    y[::2] = 1
    hardness = sample.Hardness.unseen(len(y), 1)
    hard = np.zeros((1, len(y)), dtype=np.float32)
    hard[:, 1000:1300] = 1.0
    hardness.see(slice(0, len(y)), hard)
    places, weights = sample.draw(y, 1000, hardness)
    assert np.isin(np.arange(1000, 1300), places).all()
    estimated = weights[(places >= 1000) & (places < 1300)].sum() / weights.sum()
    assert estimated == pytest.approx(300 / len(y), rel=0.15)


def test_repeated_penalties_have_the_same_solution(forced: Any, passes: list[int]) -> None:
    x, y = data(6000, 12, 4)
    grid = [0.01] * 9 + [0.1] * 9 + [1.0] * 6
    found = fit_probe(
        x[:5000], y[:5000], kind="multiclass", penalties=grid, validation=(x[5000:], y[5000:])
    )
    assert len(passes) < 60
    assert found.selection_scores is not None
    assert len(set(found.selection_scores[:9])) == len(set(found.selection_scores[9:18])) == 1
    assert found.selection_scores.min() > 0.5


def test_a_feature_that_is_seldom_active_keeps_small_weights(forced: Any) -> None:
    x, y = data(6000, 12, 4)
    x[:, 2] = x[:, 7] = 0
    x[17, 2], x[5999, 7] = 1e6, 1.0
    grid = list(10.0 ** np.linspace(-4, 4, 20))
    kept: list[np.ndarray] = []
    for large in (True, False):
        forced.setattr(features, "LARGE_BYTES", 0 if large else 1 << 26)

        def score(decision: np.ndarray, _: np.ndarray) -> np.ndarray:
            kept.extend(decision.transpose(2, 0, 1))
            return np.zeros(decision.shape[2])

        held = x[:100].copy()
        held[:, 2] = 1e6
        fit_probe(
            x, y, kind="multiclass", penalties=grid, validation=(held, y[:100]), score=score,
            refit=False,
        )  # fmt: skip
    for disk, memory in zip(kept[:20], kept[20:], strict=True):
        assert np.ptp(disk) < 2 * np.ptp(memory) + 1


def test_separable_classes_and_weak_penalties_are_as_exact_as_one_after_the_other(
    forced: pytest.MonkeyPatch,
) -> None:
    x, y = data(6000, 12, 4, spread=6.0)
    coefs = []
    for large in (True, False):
        forced.setattr(features, "LARGE_BYTES", 0 if large else 1 << 26)
        coefs.append(fit_probe(x, y, kind="multiclass", penalties=[1e3]).coef * x.std(0)[:, None])
    difference = np.linalg.norm(coefs[0] - coefs[1]) / np.linalg.norm(coefs[1])
    assert difference < 0.25


def test_penalties_beyond_what_float32_holds_end(forced: Any) -> None:
    x, y = data(5000, 12, 4)
    fit_probe(x, y, kind="multiclass", penalties=[1e-40], max_iter=5)
