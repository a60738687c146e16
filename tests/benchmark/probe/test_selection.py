"""Choosing the penalty: folds, scores, ties, and that nothing else is looked at."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import SslBenchError
from benchmark.probe import PENALTIES, fit_probe
from benchmark.probe.folds import group_folds
from benchmark.probe.selection import accuracy, choose, negative_log_loss, r2


def samples(n: int, d: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.standard_normal((classes, d))[y] * 0.6 + rng.standard_normal((n, d))
    return x.astype(np.float32), y


def test_grid_is_dinov2s() -> None:
    assert len(PENALTIES) == 45
    assert PENALTIES[0] == pytest.approx(1e-6)
    assert PENALTIES[-1] == pytest.approx(1e5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(2, 120),
    groups=st.integers(2, 40),
    classes=st.integers(0, 5),
    folds=st.integers(2, 7),
    seed=st.integers(0, 50),
)
def test_no_group_is_split(n: int, groups: int, classes: int, folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    of = rng.integers(0, groups, n)
    of[:2] = (0, 1)
    labels = rng.integers(0, classes, n) if classes else None
    parts = group_folds(labels, of, n, folds=folds, seed=seed)
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert 2 <= len(parts) <= folds
    seen = [set(of[rows]) for rows in parts]
    assert sum(len(s) for s in seen) == len(set(of))


def test_folds_balance_classes_and_sizes() -> None:
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 200, 4000)
    label = (rng.random(200) < 0.2).astype(int)[patients]
    parts = group_folds(label, patients, 4000, folds=5, seed=0)
    assert max(abs(len(rows) - 800) for rows in parts) < 40
    assert max(abs(label[rows].mean() - label.mean()) for rows in parts) < 0.02
    alone = group_folds(np.repeat(np.arange(10), 50), None, 500, folds=5, seed=0)
    assert all((np.bincount(np.repeat(np.arange(10), 50)[rows]) == 10).all() for rows in alone)


def test_fewer_groups_than_folds_and_a_single_group() -> None:
    x, y = samples(30, 3, 2, 0)
    groups = np.repeat([0, 1, 2], 10)
    probe = fit_probe(x, y, kind="multiclass", groups=groups)
    assert probe.selection == "3-fold group cross-validation"
    with pytest.raises(SslBenchError, match="at least 2 groups"):
        fit_probe(x, y, kind="multiclass", groups=np.zeros(30))
    assert fit_probe(x, y, kind="multiclass", groups=np.zeros(30), penalties=[1.0]).converged


def test_one_class_folds_survive() -> None:
    x, y = samples(40, 3, 2, 0)
    x, y = x[np.argsort(y)], np.sort(y)
    probe = fit_probe(x, y, kind="multiclass", groups=y)  # each fold trains on one class
    assert probe.selection_scores is not None
    assert (probe.selection_scores == 0).all()
    assert probe.penalty == PENALTIES[0]
    assert np.isfinite(probe.decision(x)).all()


def test_ties_choose_the_strongest_regularisation() -> None:
    assert choose(np.array([0.1, 0.5, 0.5, np.nan]), np.array([1.0, 3.0, 2.0, 0.5])) == 2
    x, y = samples(50, 3, 2, 0)
    probe = fit_probe(
        x, y, kind="multiclass", validation=(x, y), score=lambda d, _: np.ones(d.shape[2])
    )
    assert probe.penalty == PENALTIES[0]


def test_scores_follow_the_order_of_the_given_penalties() -> None:
    x, y = samples(200, 10, 4, 0)
    up = np.logspace(-4, 2, 7)
    a = fit_probe(x[:150], y[:150], kind="multiclass", validation=(x[150:], y[150:]), penalties=up)
    b = fit_probe(
        x[:150], y[:150], kind="multiclass", validation=(x[150:], y[150:]), penalties=up[::-1]
    )
    assert a.selection_scores is not None
    assert b.selection_scores is not None
    assert (a.selection_scores == b.selection_scores[::-1]).all()
    assert a.penalty == b.penalty
    assert a.selection == "validation"


def test_scores_are_those_of_the_train_fit_on_validation() -> None:
    x, y = samples(300, 8, 3, 1)
    train, held = (x[:200], y[:200]), (x[200:], y[200:])
    probe = fit_probe(*train, kind="multiclass", validation=held, penalties=np.logspace(-5, 1, 4))
    assert probe.selection_scores is not None
    for c, score in zip(np.logspace(-5, 1, 4), probe.selection_scores, strict=True):
        alone = fit_probe(*train, kind="multiclass", penalties=[c])
        assert (alone.decision(held[0]).argmax(1) == held[1]).mean() == pytest.approx(
            score, abs=0.02
        )


def test_refit_uses_validation_and_can_be_left_out() -> None:
    x, y = samples(300, 8, 3, 1)
    train, held = (x[:200], y[:200]), (x[200:], y[200:])
    both = fit_probe(*train, kind="multiclass", validation=held, penalties=np.logspace(-4, 1, 6))
    pooled = fit_probe(x, y, kind="multiclass", penalties=[both.penalty])
    np.testing.assert_allclose(both.decision(x), pooled.decision(x), atol=0.01)
    only = fit_probe(
        *train, kind="multiclass", validation=held, penalties=np.logspace(-4, 1, 6), refit=False
    )
    alone = fit_probe(*train, kind="multiclass", penalties=[only.penalty])
    np.testing.assert_allclose(only.decision(x), alone.decision(x), atol=0.01)
    assert np.abs(only.decision(x) - both.decision(x)).max() > 0.02


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_the_choice_sees_held_out_samples_only_through_the_score(kind: str) -> None:
    """Validation targets that change the refit but not the scores change no choice."""
    x, y = samples(160, 6, 2, 2)
    target = np.stack((y, 1 - y), 1) if kind == "multilabel" else y

    def constant_order(decision: np.ndarray, _: np.ndarray) -> np.ndarray:
        return -np.abs(decision).mean((0, 1))

    runs = [
        fit_probe(
            x[:100], target[:100], kind=kind, validation=(x[100:], held), score=constant_order
        )
        for held in (target[100:], 1 - target[100:])
    ]
    assert (runs[0].selection_scores == runs[1].selection_scores).all()
    assert runs[0].penalty == runs[1].penalty
    assert np.abs(runs[0].coef - runs[1].coef).max() > 0 or runs[0].penalty < 1e-3


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_twice_is_bitwise_the_same(kind: str) -> None:
    x, y = samples(120, 9, 3, 3)
    target = np.eye(3, dtype=int)[y] if kind == "multilabel" else y
    groups = np.arange(120) // 4
    one, two = (fit_probe(x, target, kind=kind, groups=groups, seed=5) for _ in range(2))
    assert (one.coef == two.coef).all()
    assert (one.intercept == two.intercept).all()
    assert (one.selection_scores == two.selection_scores).all()


def test_default_scores() -> None:
    decision = np.array([[[2.0, 0.0], [1.0, 5.0]], [[0.0, 1.0], [3.0, 0.0]]])
    assert accuracy(decision, np.array([0, 1])).tolist() == [1.0, 0.0]
    assert accuracy(decision, np.array([[0.7, 0.3], [0.1, 0.9]])).tolist() == pytest.approx(
        [0.8, 0.2]
    )
    y = np.array([[1, 0], [0, 1]])
    p = 1 / (1 + np.exp(-decision[:, :, 0]))
    expected = (y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    assert negative_log_loss(decision, y)[0] == pytest.approx(expected)
    from sklearn.metrics import r2_score

    truth = np.random.default_rng(0).standard_normal((9, 2))
    guess = truth + 0.3
    assert r2(guess[:, :, None], truth)[0] == pytest.approx(r2_score(truth, guess))
