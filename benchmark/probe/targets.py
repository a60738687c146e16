"""Targets of a probe: checked, and reduced to the columns that the training data can teach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmark.errors import SslBenchError

ABSENT_LOGIT = -1e4  # intercept of a class without a training sample: its softmax is exactly 0


def check_targets(y: np.ndarray, kind: str, n: int, n_classes: int | None, what: str) -> np.ndarray:
    """y as integers (N,), float32 (N, C) or float64 (N, T); `SslBenchError` says what is wrong."""
    y = np.asarray(y)
    if len(y) != n:
        raise SslBenchError(f"{what}: {n} embeddings but {len(y)} targets; they must match.")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise SslBenchError(f"{what}: targets hold NaN or infinite values.")
    if kind == "regression":
        return y.reshape(n, -1).astype(np.float64)
    if kind == "multiclass" and y.ndim == 1:
        labels = y if y.dtype.kind == "i" else y.astype(np.int64)
        if (labels != y).any() or (n and labels.min() < 0):
            raise SslBenchError(f"{what}: class labels must be integers from 0.")
        if n_classes is not None and n and labels.max() >= n_classes:
            raise SslBenchError(f"{what}: label {labels.max()} with {n_classes} classes.")
        few = n_classes is not None and n_classes <= np.iinfo(np.int16).max
        return labels.astype(np.int16 if few else np.int64)  # of millions of samples, less to hold
    if y.ndim != 2 or (n_classes is not None and y.shape[1] != n_classes):
        raise SslBenchError(f"{what}: {kind} targets of shape {y.shape}; (N, classes) expected.")
    if kind == "multilabel" and not np.isin(y, (0, 1)).all():
        raise SslBenchError(f"{what}: multilabel targets must be 0 or 1.")
    if kind == "multiclass" and (
        (y < 0).any() or (np.abs(y.sum(1, dtype=np.float64) - 1) > 1e-3).any()
    ):
        raise SslBenchError(f"{what}: soft targets must be non-negative, every row summing to 1.")
    return y.astype(np.float32)


@dataclass
class Columns:
    """Which classes are fitted, and the logits of the others.

    Two present classes of a multiclass problem are one binary column (m), returned as the
    logits (-m/2, m/2): then C means what it does in scikit-learn. `active` are the fitted
    classes; `rest` (classes,) is the intercept of each class that is not.
    """

    kind: str
    classes: int
    active: np.ndarray
    rest: np.ndarray

    @property
    def binary(self) -> bool:
        return self.kind == "multiclass" and len(self.active) == 2

    @property
    def fitted(self) -> int:
        """Columns of the optimisation problem; 0 when the prediction is a constant."""
        if self.kind == "multiclass" and len(self.active) < 2:
            return 0
        return 1 if self.binary else len(self.active)

    def expand(self, theta: torch.Tensor) -> torch.Tensor:
        """Fitted parameters (r + 1, columns) as (r + 1, classes)."""
        if self.fitted == self.classes and not self.binary:
            return theta
        out = theta.new_zeros((len(theta), self.classes))
        out[-1] = torch.from_numpy(self.rest).to(theta)
        if self.binary:
            theta = torch.cat((-0.5 * theta, 0.5 * theta), 1)
        if self.fitted:
            out[:, torch.from_numpy(self.active).to(theta.device)] = theta
        return out

    def encode(self, y: np.ndarray, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        """Targets of the optimisation problem: labels (n,), or (n, columns)."""
        if self.kind == "multilabel":
            return torch.from_numpy(y[:, self.active]).to(device, dtype)
        if y.ndim == 2:
            soft = torch.from_numpy(y[:, self.active]).to(device, dtype)
            soft = soft / soft.sum(1, keepdim=True)
            return soft[:, 1:].contiguous() if self.binary else soft
        if self.binary:
            return torch.from_numpy(y == self.active[1]).to(device, dtype).unsqueeze(1)
        position = np.zeros(self.classes, dtype=np.int64)
        position[self.active] = np.arange(len(self.active))
        return torch.from_numpy(position[y]).to(device)


def columns_of(y: np.ndarray, kind: str, classes: int) -> Columns:
    """The columns that training targets y can teach.

    A class without a sample gets zero weights and the logit `ABSENT_LOGIT`. A label that never
    varies gets zero weights and its smoothed log-odds.
    """
    if kind == "multilabel":
        positive = y.sum(0, dtype=np.float64)
        active = np.flatnonzero((positive > 0) & (positive < len(y)))
        rest = np.log((positive + 0.5) / (len(y) - positive + 0.5))
        return Columns(kind, classes, active, rest)
    mass = np.bincount(y, minlength=classes) if y.ndim == 1 else y.sum(0)
    active = np.flatnonzero(mass > 0)
    rest = np.full(classes, ABSENT_LOGIT)
    rest[active] = 0.0
    return Columns(kind, classes, active, rest)
