"""Ridge probes against scikit-learn's Ridge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from benchmark.probe import fit_probe, ridge
from benchmark.probe.selection import r2


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    n=st.integers(3, 80),
    d=st.integers(1, 120),
    targets=st.integers(1, 3),
    log_c=st.floats(-4, 3),
    seed=st.integers(0, 100),
    constant=st.booleans(),
    extreme=st.booleans(),
)
def test_same_predictions_as_scikit_learn(
    n: int, d: int, targets: int, log_c: float, seed: int, constant: bool, extreme: bool
) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, d)) + 3).astype(np.float32)
    if constant:
        x[:, -1] = 0.1
    if extreme:
        x = (x * 10.0 ** np.linspace(-6, 6, d)).astype(np.float32)
    y = rng.standard_normal((n, targets)) * 7 + 100
    probe = fit_probe(x, y, kind="regression", penalties=[10.0**log_c])
    z = StandardScaler().fit_transform(x.astype(np.float64))
    z[:, x.max(0) == x.min(0)] = 0
    expected = Ridge(alpha=10.0**-log_c).fit(z, y).predict(z).reshape(n, targets)
    np.testing.assert_allclose(probe.decision(x), expected, rtol=1e-4, atol=1e-2)


def test_folds_by_subtraction_equal_refitting_each_fold() -> None:
    rng = np.random.default_rng(0)
    n, d = 120, 15
    x = (rng.standard_normal((n, d)) * np.logspace(-3, 3, d)).astype(np.float32)
    y = (x / np.logspace(-3, 3, d)).sum(1) + rng.standard_normal(n)
    groups = rng.integers(0, 20, n)
    penalties = np.logspace(-4, 2, 7)
    held: list[tuple[np.ndarray, np.ndarray]] = []

    def score(decision: np.ndarray, truth: np.ndarray) -> np.ndarray:
        held.append((decision.copy(), truth.copy()))
        return r2(decision, truth)

    probe = fit_probe(x, y, kind="regression", groups=groups, penalties=penalties, score=score)
    assert sum(len(t) for _, t in held) == n
    for decision, truth in held:
        rows = np.flatnonzero(np.isin(y, truth))
        kept = np.setdiff1d(np.arange(n), rows)
        assert not set(groups[rows]) & set(groups[kept])
        scaler = StandardScaler().fit(x[kept].astype(np.float64))
        for k, c in enumerate(penalties):
            model = Ridge(alpha=1 / c).fit(scaler.transform(x[kept].astype(np.float64)), y[kept])
            expected = model.predict(scaler.transform(x[rows].astype(np.float64)))
            np.testing.assert_allclose(decision[:, 0, k], expected, rtol=1e-4, atol=1e-4)
    assert probe.selection == "5-fold group cross-validation"


@pytest.mark.parametrize("chosen_by", ["validation", "folds"])
def test_the_final_fit_is_scikit_learns_on_all_samples(
    chosen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "GRAM_COLUMNS", 7)
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((460, 30)) @ rng.standard_normal((30, 30)) + 5).astype(np.float32)
    y = (x @ rng.standard_normal((30, 2)) + 9 * rng.standard_normal((460, 2))).astype(np.float32)
    x[400:] += 1  # the validation part has another mean
    penalties = np.logspace(-3, 1, 5)
    if chosen_by == "validation":
        held = x[400:], y[400:]
        probe = fit_probe(x[:400], y[:400], kind="regression", validation=held, penalties=penalties)
    else:
        probe = fit_probe(x, y, kind="regression", penalties=penalties)
    z = StandardScaler().fit_transform(x.astype(np.float64))
    expected = Ridge(alpha=1 / probe.penalty).fit(z, y).predict(z)
    np.testing.assert_allclose(probe.decision(x), expected, rtol=1e-5, atol=1e-4)


def test_wide_and_tall_agree_and_choose_the_same() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((40, 30)).astype(np.float32)
    y = x[:, 0] + 0.1 * rng.standard_normal(40)
    wide = np.concatenate((x, np.zeros((40, 50), np.float32)), 1)
    a = fit_probe(x, y, kind="regression")
    b = fit_probe(wide, y, kind="regression")
    assert a.penalty == b.penalty
    np.testing.assert_allclose(a.selection_scores, b.selection_scores, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(a.decision(x), b.decision(wide), atol=1e-4)


def test_constant_target_does_not_crash() -> None:
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    probe = fit_probe(x, np.full(20, 4.0), kind="regression")
    np.testing.assert_allclose(probe.decision(x), 4.0, atol=1e-5)


def test_group_k_fold_is_what_the_oracle_assumes() -> None:
    """Guard: scikit-learn's GroupKFold and ours agree on what a group split may never do."""
    from benchmark.probe.folds import group_folds

    groups = np.random.default_rng(0).integers(0, 9, 50)
    ours = group_folds(None, groups, 50, folds=4, seed=0)
    theirs = [test for _, test in GroupKFold(4).split(np.zeros(50), groups=groups)]
    for parts in (ours, theirs):
        assert sorted(np.concatenate(parts)) == list(range(50))
        owner = {g: f for f, rows in enumerate(parts) for g in groups[rows]}
        assert all(owner[g] == f for f, rows in enumerate(parts) for g in groups[rows])
