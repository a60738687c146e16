"""The curvature models against second derivatives of the objective itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.probe import PENALTIES, arrays, fit_probe, path
from benchmark.probe.features import Features, eigenbasis
from benchmark.probe.objective import BinaryLoss, Objective, SoftmaxLoss
from benchmark.probe.preconditioner import Preconditioner

CLASSES, WIDTH, PENALTY = 3, 5, 0.03


def objective(kind: str, rows: int, *, kept: bool, large: bool, monkeypatch) -> Objective:
    """A loss on correlated columns, beside their basis (kept) or rotated, in torch (large)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, WIDTH)) @ rng.standard_normal((WIDTH, WIDTH))
    z = torch.from_numpy(x - x.mean(0))
    basis = eigenbasis(z)
    features = Features(z, basis, None, np.zeros(WIDTH), np.ones(WIDTH))
    if not kept:
        features = Features(z @ basis, None, basis, np.zeros(WIDTH), np.ones(WIDTH))
    if large:
        monkeypatch.setattr(arrays, "NUMPY_PRODUCTS", 0)
    labels = torch.from_numpy(rng.integers(0, CLASSES, rows))
    if kind == "softmax":
        return SoftmaxLoss(features, labels, CLASSES)
    return BinaryLoss(features, torch.nn.functional.one_hot(labels, CLASSES).double())


def class_hessians(loss: Objective, theta: np.ndarray, penalty: float) -> np.ndarray:
    """Second derivatives (C, r + 1, r + 1) within each class, by central differences."""
    out = np.zeros((CLASSES, WIDTH + 1, WIDTH + 1))
    for c, i in np.ndindex(CLASSES, WIDTH + 1):
        gradients = []
        for step in (1e-5, -1e-5):
            moved = theta.copy()
            moved[c, i] += step
            gradients.append(loss.gradient(arrays.convert(moved, loss.zero), penalty))
        out[c, i] = arrays.numbers(gradients[0] - gradients[1])[c] / 2e-5
        if loss.joint and i < WIDTH:  # softmax gradients come without what all classes share
            out[c, i, i] += penalty / CLASSES
    return out


@pytest.mark.parametrize("kind", ["softmax", "binary"])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_blocks_are_the_hessian_of_each_class(kind, kept, large, monkeypatch) -> None:
    loss = objective(kind, 300, kept=kept, large=large, monkeypatch=monkeypatch)
    theta = np.random.default_rng(1).standard_normal((CLASSES, WIDTH + 1))
    hessians = class_hessians(loss, theta, PENALTY)
    model = Preconditioner(loss, blocks=True)
    at = arrays.convert(theta, loss.zero)
    model.price = 0.0  # build them now
    assert model.refresh(at, PENALTY)
    v = np.random.default_rng(2).standard_normal(theta.shape)
    if loss.joint:
        v -= v.mean(0)
    found = arrays.numbers(model.apply(arrays.convert(v, loss.zero)))
    expected = np.linalg.solve(hessians, v[:, :, None])[:, :, 0]
    if loss.joint:
        expected -= expected.mean(0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_blocks_save_iterations_and_change_no_solution(monkeypatch) -> None:
    """Few samples, hardly separable, and weak penalties: what the second model is for."""
    rng = np.random.default_rng(1)
    spectrum = (1.0 + np.arange(48)) ** -0.7
    means = rng.standard_normal((10, 48)) * spectrum**1.5
    y = rng.integers(0, 10, 800)
    latent = (means[y] * 0.8 + rng.standard_normal((800, 48)) * spectrum).astype(np.float32)
    x = latent @ rng.standard_normal((48, 48)).astype(np.float32)
    x += 0.3 * np.maximum(x, 0)
    split = {"validation": (x[600:], y[600:]), "kind": "multiclass", "penalties": PENALTIES}
    with_blocks = fit_probe(x[:600], y[:600], **split)
    init = path.Preconditioner.__init__

    def never(self, objective: Objective, *, blocks: bool) -> None:
        init(self, objective, blocks=False)

    monkeypatch.setattr(path.Preconditioner, "__init__", never)
    without = fit_probe(x[:600], y[:600], **split)
    assert with_blocks.iterations < 0.7 * without.iterations
    assert with_blocks.penalty == without.penalty
    np.testing.assert_allclose(with_blocks.selection_scores, without.selection_scores, atol=0.011)
    np.testing.assert_allclose(with_blocks.coef, without.coef, atol=2e-3)
