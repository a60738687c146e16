"""What a probe refuses, and how it says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import SslBenchError
from benchmark.probe import LinearProbe, fit_probe

X = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
Y = np.arange(12) % 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_embedding_names_encoder_and_sample(value: float) -> None:
    x = X.copy()
    x[7, 1] = value
    with pytest.raises(SslBenchError, match="my-encoder.*sample 7"):
        fit_probe(x, Y, kind="multiclass", name="my-encoder")
    with pytest.raises(SslBenchError, match="my-encoder.*patient-107"):
        ids = [f"patient-{100 + i}" for i in range(12)]
        fit_probe(x, Y, kind="multiclass", name="my-encoder", ids=ids)
    with pytest.raises(SslBenchError, match="my-encoder.*validation.*sample 7"):
        fit_probe(X, Y, kind="multiclass", validation=(x, Y), name="my-encoder")


def test_cancelling_infinities_are_found() -> None:
    x = X.copy()
    x[2, 0], x[3, 0] = np.inf, -np.inf
    with pytest.raises(SslBenchError, match="sample 2"):
        fit_probe(x, Y, kind="multiclass")


@pytest.mark.parametrize(
    ("x", "y", "kind", "message"),
    [
        (X[:0], Y[:0], "multiclass", "both > 0"),
        (X[:, :0], Y, "multiclass", "both > 0"),
        (X[:, 0], Y, "multiclass", "shape"),
        (X, Y[:5], "multiclass", "12 embeddings but 5 targets"),
        (X, np.zeros(12, int), "multiclass", "holds 1 class"),
        (X, Y - 1, "multiclass", "integers from 0"),
        (X, Y + 0.5, "multiclass", "integers from 0"),
        (X, np.where(Y == 0, 2**63, Y.astype(np.uint64)), "multiclass", "integers from 0"),
        (X, np.full((12, 2), 0.7), "multiclass", "summing to 1"),
        (X, Y, "multilabel", "shape"),
        (X, np.full((12, 2), 2), "multilabel", "0 or 1"),
        (X, np.where(Y == 0, np.nan, 1.0), "regression", "NaN"),
        (X, Y, "ranking", "kind"),
    ],
)
def test_bad_input_is_one_clear_error(
    x: np.ndarray, y: np.ndarray, kind: str, message: str
) -> None:
    with pytest.raises(SslBenchError, match=message):
        fit_probe(x, y, kind=kind)


def test_more_bad_input() -> None:
    with pytest.raises(SslBenchError, match="label 2 with 2 classes"):
        fit_probe(X, Y, kind="multiclass", n_classes=2)
    with pytest.raises(SslBenchError, match="groups"):
        fit_probe(X, Y, kind="multiclass", groups=Y[:4])
    with pytest.raises(SslBenchError, match="width"):
        fit_probe(X, Y, kind="multiclass", validation=(X[:, :2], Y))
    with pytest.raises(SslBenchError, match="penalties"):
        fit_probe(X, Y, kind="multiclass", penalties=[0.0])
    probe = fit_probe(X, Y, kind="multiclass", penalties=[1.0])
    with pytest.raises(SslBenchError, match="3 features"):
        probe.decision(X[:, :2])


def test_labels_of_any_integer_type_and_size_are_the_same_classes() -> None:
    plain = fit_probe(X, Y, kind="multiclass", penalties=[1.0])
    for kind in (np.uint8, np.int16, np.uint64, np.float32):
        probe = fit_probe(X, Y.astype(kind), kind="multiclass", penalties=[1.0])
        np.testing.assert_array_equal(probe.coef, plain.coef)
    rare = fit_probe(X, Y * 20_000, kind="multiclass", penalties=[1.0])
    np.testing.assert_array_equal(rare.coef[:, np.unique(Y) * 20_000], plain.coef)


def test_memory_mapped_and_half_precision_embeddings(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    plain = fit_probe(X, Y, kind="multiclass", penalties=[1.0])
    assert (fit_probe(mapped, Y, kind="multiclass", penalties=[1.0]).coef == plain.coef).all()
    half = fit_probe(X.astype(np.float16), Y, kind="multiclass", penalties=[1.0])
    np.testing.assert_allclose(half.decision(X), plain.decision(X), atol=0.02)


def test_embeddings_that_say_nothing() -> None:
    probe = fit_probe(np.full((12, 3), 0.1, np.float32), Y, kind="multiclass")
    assert (probe.coef == 0).all()
    assert probe.converged
    np.testing.assert_allclose(probe.decision(X), probe.decision(X)[0, 0], atol=1e-6)


def test_coefficients_are_for_raw_features() -> None:
    probe = fit_probe(X, Y, kind="multiclass", penalties=[1.0])
    np.testing.assert_allclose(probe.decision(X), X @ probe.coef + probe.intercept, atol=1e-5)
    bare = LinearProbe(probe.coef, probe.intercept, 1.0, "fixed", None, True, 0)
    np.testing.assert_allclose(probe.decision(X), bare.decision(X), atol=1e-5)


def test_importing_the_package_is_light() -> None:
    code = "import sys, benchmark.probe; raise SystemExit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
