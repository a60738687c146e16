"""Sets that are streamed: the optimum of a set in memory, whatever the size of the blocks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from benchmark import store as stores
from benchmark.probe import features, fit_probe, streamed
from benchmark.sharded import ShardedArray
from benchmark.store import EmbeddingStore, EntryKey

GRID = [1e-3, 1e-1, 10.0]


def data(n: int, d: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Samples of overlapping classes, columns off centre and of different scales."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).standard_normal((classes, d))
    y = rng.integers(0, classes, n)
    x = (0.4 * means[y] + rng.standard_normal((n, d))) * np.geomspace(0.1, 10, d) + 5
    return x.astype(np.float32), y


def sharded(x: np.ndarray, root: Path, dtype: str = "float32") -> Any:
    key = EntryKey("e", "d", "clip", "float32", dtype=dtype)
    entry = EmbeddingStore(root).entry(key, len(x), 100, {})
    for index in entry.missing():
        span = entry.span(index)
        entry.write(index, {"values": x[span.start : span.stop]})
    entry.finish()
    return entry.read()["values"]


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything is too large for memory, chunks are small and odd."""
    monkeypatch.setattr(features, "LARGE_BYTES", 0)
    monkeypatch.setattr(features, "BLOCK_VALUES", 333)
    monkeypatch.setattr(streamed, "READ_VALUES", 1111)
    monkeypatch.setattr(stores, "LARGE_BYTES", 0)
    return monkeypatch


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("penalty", [1e-3, 1.0])
def test_the_optimum_is_scikit_learns(
    tmp_path: Path, forced: Any, classes: int, penalty: float
) -> None:
    x, y = data(1500, 20, classes)
    lazy = sharded(x, tmp_path)
    assert isinstance(lazy, ShardedArray)
    probe = fit_probe(lazy, y, kind="multiclass", penalties=[penalty], tol=1e-8)
    assert probe.converged
    z = StandardScaler().fit_transform(x.astype(np.float64))
    theirs = LogisticRegression(C=penalty, tol=1e-12, max_iter=10_000).fit(z, y)
    ours = probe.decision(lazy)
    expected = theirs.decision_function(z)
    if classes == 2:
        np.testing.assert_allclose(ours[:, 1] - ours[:, 0], expected, atol=2e-4)
    else:
        centred = ours - ours.mean(1, keepdims=True)
        np.testing.assert_allclose(centred, expected - expected.mean(1, keepdims=True), atol=2e-4)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "soft", "regression"])
@pytest.mark.parametrize("split", ["validation", "folds"])
def test_streamed_and_in_memory_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, split: str
) -> None:
    x, labels = data(1600, 12, 4)
    rng = np.random.default_rng(3)
    y: np.ndarray = {
        "multiclass": labels,
        "multilabel": (rng.random((len(x), 3)) < 0.2 + 0.2 * (labels[:, None] > 1)).astype(int),
        "soft": np.eye(4)[labels] * 0.8 + 0.05,
        "regression": x[:, :3].sum(1) + rng.standard_normal(len(x)),
    }[kind]
    name = "multiclass" if kind == "soft" else kind
    fitted = []
    for large in (False, True):
        if large:
            monkeypatch.setattr(features, "LARGE_BYTES", 0)
            monkeypatch.setattr(stores, "LARGE_BYTES", 0)
            monkeypatch.setattr(streamed, "READ_VALUES", 1111)
        train: Any = sharded(x[:1200], tmp_path / f"train-{large}")
        held: Any = sharded(x[1200:], tmp_path / f"held-{large}")
        assert isinstance(train, ShardedArray) == large
        given: dict[str, Any] = {"validation": (held, y[1200:])} if split == "validation" else {}
        fitted.append(fit_probe(train, y[:1200], kind=name, penalties=GRID, **given))
    memory, disk = fitted
    assert memory.penalty == disk.penalty
    np.testing.assert_allclose(memory.selection_scores, disk.selection_scores, atol=2e-3)
    scale = np.abs(memory.coef * x.std(0)[:, None]).max()
    difference = np.abs((memory.coef - disk.coef) * x.std(0)[:, None]).max()
    assert difference < 2e-3 * scale


def test_ridge_on_the_disk_is_scikit_learns(tmp_path: Path, forced: Any) -> None:
    x, labels = data(900, 15, 3)
    y = labels + 0.1 * x[:, 3]
    probe = fit_probe(sharded(x, tmp_path), y, kind="regression", penalties=[0.5])
    z = StandardScaler().fit_transform(x.astype(np.float64))
    expected = Ridge(alpha=2.0).fit(z, y).predict(z)
    np.testing.assert_allclose(probe.decision(x)[:, 0], expected, rtol=1e-4, atol=1e-4)


def test_the_size_of_the_blocks_changes_nothing(tmp_path: Path, forced: Any) -> None:
    x, y = data(1300, 10, 3)
    lazy = sharded(x, tmp_path)
    coefs = []
    for values in (1 << 20, 2000, 137):
        forced.setattr(streamed, "READ_VALUES", values)
        coefs.append(fit_probe(lazy, y, kind="multiclass", penalties=[1.0], tol=1e-8).coef)
    np.testing.assert_allclose(coefs[0], coefs[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(coefs[0], coefs[2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_shards_are_read_as_they_were_rounded(
    tmp_path: Path, forced: Any, dtype: str
) -> None:
    x, y = data(1200, 10, 3)
    lazy = sharded(x, tmp_path, dtype)
    whole = np.asarray(lazy)
    found = fit_probe(lazy, y, kind="multiclass", penalties=[1.0], tol=1e-8)
    forced.setattr(features, "LARGE_BYTES", 1 << 28)
    expected = fit_probe(whole, y, kind="multiclass", penalties=[1.0], tol=1e-8)
    np.testing.assert_allclose(found.coef, expected.coef, rtol=1e-4, atol=1e-6)


def test_nan_on_the_disk_names_the_sample(tmp_path: Path, forced: Any) -> None:
    from benchmark.errors import SslBenchError

    x, y = data(500, 10, 3)
    x[321, 4] = np.nan
    with pytest.raises(SslBenchError, match="sample a321 holds NaN"):
        fit_probe(
            sharded(x, tmp_path), y, kind="multiclass", ids=np.array([f"a{i}" for i in range(500)])
        )  # type: ignore[arg-type]
