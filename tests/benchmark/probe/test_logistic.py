"""Logistic probes against scikit-learn at tight tolerance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark.probe import fit_probe

TIGHT = 1e-8


def standardised(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    scale = x.std(0)
    constant = x.max(0) == x.min(0)
    return np.where(constant, 0.0, (x - x.mean(0)) / np.where(constant, 1.0, scale))


def samples(
    n: int, d: int, classes: int, seed: int, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.concatenate((np.arange(classes), rng.integers(0, classes, max(0, n - classes))))
    x = rng.standard_normal((classes, d))[y] * spread + rng.standard_normal((len(y), d))
    return x.astype(np.float32), y


def softmax_objective(logits: np.ndarray, y: np.ndarray, weights: np.ndarray, c: float) -> float:
    loss = logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]
    return float(c * loss.sum() + 0.5 * (weights**2).sum())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    n=st.integers(6, 80),
    d=st.integers(1, 60),
    classes=st.integers(2, 6),
    log_c=st.floats(-4, 2),
    seed=st.integers(0, 1000),
    repeat=st.booleans(),
    constant=st.booleans(),
    extreme=st.booleans(),
    torch_arrays=st.booleans(),
)
def test_same_optimum_as_scikit_learn(
    n: int,
    d: int,
    classes: int,
    log_c: float,
    seed: int,
    repeat: bool,
    constant: bool,
    extreme: bool,
    torch_arrays: bool,
) -> None:
    x, y = samples(n, d, classes, seed)
    if repeat:
        x, y = np.concatenate((x, x)), np.concatenate((y, y))
    if constant:
        x[:, 0] = 3.7
    if extreme:
        x = (x * 10.0 ** np.linspace(-6, 6, d)).astype(np.float32)
    c = 10.0**log_c
    with pytest.MonkeyPatch.context() as patch:
        if torch_arrays:
            patch.setattr("benchmark.probe.arrays.NUMPY_PRODUCTS", 0)
        probe = fit_probe(x, y, kind="multiclass", penalties=[c], tol=TIGHT)
    assert probe.selection == "fixed"
    assert probe.selection_scores is None
    assert probe.converged
    z = standardised(x)
    reference = LogisticRegression(C=c, tol=1e-10, max_iter=20_000).fit(z, y)
    ours = probe.decision(x).astype(np.float64)
    weights = probe.coef.astype(np.float64) * x.astype(np.float64).std(0)[:, None]
    weights[x.max(0) == x.min(0)] = 0
    theirs = reference.decision_function(z)
    if classes == 2:
        logits = np.stack((-theirs / 2, theirs / 2), 1)
        best = softmax_objective(logits, y, reference.coef_, c)
        mine = softmax_objective(ours, y, weights[:, 1] - weights[:, 0], c)
    else:
        logits = theirs
        best = softmax_objective(logits, y, reference.coef_, c)
        mine = softmax_objective(ours, y, weights, c)
    assert mine == pytest.approx(best, rel=1e-4)
    top = np.sort(logits, 1)
    clear = top[:, -1] - top[:, -2] > 1e-3 * (1 + np.abs(top[:, -1]))
    assert (ours.argmax(1) == logits.argmax(1))[clear].all()


def test_whole_path_agrees_at_the_default_tolerance() -> None:
    x, y = samples(600, 40, 5, 0, spread=0.3)
    x_val, y_val = samples(400, 40, 5, 0, spread=0.3)[0][200:], samples(400, 40, 5, 0, 0.3)[1][200:]
    penalties = 10.0 ** np.linspace(-6, 5, 12)
    seen: list[np.ndarray] = []

    def score(decision: np.ndarray, _: np.ndarray) -> np.ndarray:
        seen.extend(decision.transpose(2, 0, 1))
        return np.zeros(decision.shape[2])

    fit_probe(x, y, kind="multiclass", validation=(x_val, y_val), penalties=penalties, score=score)
    scaler = StandardScaler().fit(x.astype(np.float64))
    for c, ours in zip(penalties, seen, strict=True):
        model = LogisticRegression(C=c, tol=1e-10, max_iter=5000)
        model.fit(scaler.transform(x.astype(np.float64)), y)
        theirs = model.predict_proba(scaler.transform(x_val.astype(np.float64)))
        p = np.exp(ours - logsumexp(ours, axis=1, keepdims=True))
        assert np.abs(p - theirs).max() < 0.01


def test_intermediate_dimension_modes_agree() -> None:
    """Rotated columns, columns kept with a basis beside them, and D > n are one problem."""
    x, y = samples(500, 20, 3, 1, spread=0.5)
    one = fit_probe(x, y, kind="multiclass", penalties=[0.1], tol=TIGHT)  # kept: few passes
    wide = np.concatenate((x, np.zeros((500, 600), np.float32)), 1)  # D > n
    other = fit_probe(wide, y, kind="multiclass", penalties=[0.1], tol=TIGHT)
    np.testing.assert_allclose(one.decision(x), other.decision(wide), atol=1e-4)
    grid = [0.1 * 10**k for k in np.linspace(-2, 2, 45)]  # rotated: many passes
    held: list[np.ndarray] = []

    def score(decision: np.ndarray, _: np.ndarray) -> np.ndarray:
        held.extend(decision.transpose(2, 0, 1))
        return np.zeros(decision.shape[2])

    fit_probe(x, y, kind="multiclass", penalties=grid, validation=(x, y), score=score, tol=TIGHT)
    np.testing.assert_allclose(held[22], one.decision(x), atol=1e-4)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_blocks_and_kinds_of_arrays_do_not_change_the_result(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmark.probe import arrays, features, objective

    x, y = samples(700, 30, 4, 2, spread=0.4)
    if kind == "multilabel":
        y = np.stack((y % 2, y > 1), 1).astype(np.int64)

    def fit() -> np.ndarray:
        return fit_probe(x, y, kind=kind, penalties=[0.05], tol=TIGHT).coef

    whole = fit()  # small: NumPy
    monkeypatch.setattr(features, "BLOCK_VALUES", 30 * 37)
    monkeypatch.setattr(objective, "block_rows", lambda widest, cuda: 41)
    np.testing.assert_allclose(whole, fit(), atol=1e-5)
    monkeypatch.setattr(arrays, "NUMPY_PRODUCTS", 0)  # torch
    np.testing.assert_allclose(whole, fit(), atol=1e-5)


def test_soft_targets_equal_weighted_samples() -> None:
    x, _ = samples(90, 6, 3, 3)
    rng = np.random.default_rng(3)
    soft = rng.dirichlet(np.ones(3), len(x)).astype(np.float32)
    soft /= soft.sum(1, keepdims=True)
    probe = fit_probe(x, soft, kind="multiclass", penalties=[0.3], tol=TIGHT)
    z = standardised(x)
    model = LogisticRegression(C=0.3, tol=1e-10, max_iter=5000)
    model.fit(np.repeat(z, 3, 0), np.tile(np.arange(3), len(x)), sample_weight=soft.reshape(-1))
    ours = probe.decision(x)
    p = np.exp(ours - logsumexp(ours, axis=1, keepdims=True))
    np.testing.assert_allclose(p, model.predict_proba(z), atol=1e-4)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    n=st.integers(20, 120),
    d=st.integers(1, 150),
    labels=st.integers(1, 12),
    log_c=st.floats(-3, 1),
    seed=st.integers(0, 100),
)
def test_multilabel_is_one_vs_rest(n: int, d: int, labels: int, log_c: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    y = (x @ rng.standard_normal((d, labels)) + rng.standard_normal((n, labels)) > 0).astype(int)
    y[0], y[1] = 0, 1
    probe = fit_probe(x, y, kind="multilabel", penalties=[10.0**log_c], tol=TIGHT)
    z = standardised(x)
    ours = probe.decision(x)
    for k in range(labels):
        model = LogisticRegression(C=10.0**log_c, tol=1e-10, max_iter=10_000).fit(z, y[:, k])
        np.testing.assert_allclose(ours[:, k], model.decision_function(z), atol=2e-3, rtol=1e-3)


def test_label_that_never_varies_gets_its_smoothed_log_odds() -> None:
    x, y = samples(50, 4, 2, 0)
    labels = np.stack((y, np.zeros(len(y), int), np.ones(len(y), int)), 1)
    decision = fit_probe(x, labels, kind="multilabel", penalties=[1.0]).decision(x)
    assert np.allclose(decision[:, 1], -np.log(101))
    assert np.allclose(decision[:, 2], np.log(101))


def test_absent_class_is_never_predicted() -> None:
    x, y = samples(60, 5, 3, 0)
    probe = fit_probe(x, np.array([0, 2, 4])[y], kind="multiclass", n_classes=6, penalties=[1.0])
    assert probe.coef.shape == (5, 6)
    assert (probe.coef[:, [1, 3, 5]] == 0).all()
    decision = probe.decision(x * 100)
    assert set(decision.argmax(1)) <= {0, 2, 4}
    compact = fit_probe(x, y, kind="multiclass", penalties=[1.0])
    np.testing.assert_allclose(probe.coef[:, [0, 2, 4]], compact.coef, atol=1e-6)


def test_columns_far_off_centre_keep_their_digits() -> None:
    x, y = samples(200, 5, 3, 0)
    far = (x + 1000).astype(np.float32)
    near = fit_probe((far - 1000).astype(np.float32), y, kind="multiclass", penalties=[1.0])
    probe = fit_probe(far, y, kind="multiclass", penalties=[1.0])
    np.testing.assert_allclose(
        probe.decision(far), near.decision((far - 1000).astype(np.float32)), atol=1e-3
    )


def test_the_tolerance_bounds_the_gradient_relative_to_zero() -> None:
    x, y = samples(800, 60, 7, 5, spread=0.4)
    z = standardised(x)
    onehot = np.eye(7)[y]

    def gradient(weights: np.ndarray, intercept: np.ndarray, c: float) -> float:
        logits = z @ weights + intercept
        r = (np.exp(logits - logsumexp(logits, axis=1, keepdims=True)) - onehot) / len(z)
        g = z.T @ r + weights / (c * len(z))
        return float(np.sqrt((g**2).sum() + (r.sum(0) ** 2).sum()))

    zero = gradient(np.zeros((60, 7)), np.zeros(7), 1.0)
    for c in (1e-5, 1e-2, 1.0, 1e3):
        probe = fit_probe(x, y, kind="multiclass", penalties=[c])
        weights = probe.coef * x.astype(np.float64).std(0)[:, None]
        assert probe.centre is not None
        assert probe.at_centre is not None
        assert probe.converged
        assert gradient(weights, probe.at_centre, c) <= 1.05e-4 * zero
