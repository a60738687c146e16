"""Regularised logistic losses on stored logits, and a Kronecker curvature model.

Parameters are one matrix theta (C, r + 1): a row per class, the intercept last. The objective is
mean loss + penalty / 2 |weights|², with penalty = 1 / (C n) for scikit-learn's C. Logits are kept
class by class, (C, n): matrix products and softmax of few classes run several times faster so.
"""

from __future__ import annotations

import torch

from benchmark.probe.features import Features

CURVATURE_ROWS = 2048


class Objective:
    """What both losses share; a subclass says what the residual and the curvature are.

    `joint` is True where the rows of theta are one optimisation problem (softmax) and
    False where each row is its own (one-vs-rest).
    """

    joint: bool

    def __init__(self, features: Features, columns: int) -> None:
        self.features = features
        self.columns = columns
        z = features.z
        self.shape = (columns, z.shape[1] + 1)
        # Rows that stay in the cache while a product reads them.
        values = max(512, min(2048, (1 << 19) // max(1, z.shape[1], columns)))
        self.block = len(z) if z.is_cuda else values
        wanted = min(CURVATURE_ROWS, max(256, len(z) // 4))
        self.stride = max(1, len(z) // wanted)

    def residual(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """d loss / d logits (C, n), written to `out`."""
        raise NotImplementedError

    def curvature(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Eigenvalues (C,) and eigenvectors (C, C) of the mean Hessian in logit space."""
        raise NotImplementedError

    def logits(
        self, theta: torch.Tensor, out: torch.Tensor, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (C, n) of theta, written to `out`; `which` rows only, the others zero."""
        z = self.features.z
        if which is not None:
            out.zero_()
            part = theta[which]
            out[which] = torch.addmm(part[:, -1:], part[:, :-1], z.T)
            return out
        weights, bias = theta[:, :-1], theta[:, -1:]
        for start in range(0, len(z), self.block):
            stop = start + self.block
            torch.addmm(bias, weights, z[start:stop].T, out=out[:, start:stop])
        return out

    def gradient(
        self,
        residual: torch.Tensor,
        theta: torch.Tensor,
        penalty: float,
        which: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Gradient (C, r + 1) at theta, of whose logits `residual` is; rows `which` only."""
        z = self.features.z
        if which is not None:
            residual, theta = residual[which], theta[which]
        out = theta * penalty
        weights = out[:, :-1]
        for start in range(0, len(z), self.block):
            stop = start + self.block
            weights.addmm_(residual[:, start:stop], z[start:stop], alpha=1.0 / len(z))
        torch.mean(residual, 1, out=out[:, -1])
        # All classes shifted alike change nothing: what is left there is rounding.
        return out.sub_(out.mean(0)) if self.joint else out


class SoftmaxLoss(Objective):
    """Multinomial logistic loss with integer labels (n,) or soft targets (n, C) summing to 1."""

    joint = True

    def __init__(self, features: Features, targets: torch.Tensor, columns: int) -> None:
        super().__init__(features, columns)
        self.soft = targets.T.contiguous() if targets.ndim == 2 else None
        if self.soft is None:
            self.labels = targets.unsqueeze(0)
            self.minus = -torch.ones_like(self.labels, dtype=features.z.dtype)

    def residual(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        torch.softmax(logits, 0, out=out)
        if self.soft is not None:
            return out.sub_(self.soft)
        return out.scatter_add_(0, self.labels, self.minus)

    def curvature(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        p = torch.softmax(logits[:, :: self.stride], 0)
        hessian = torch.diag(p.mean(1)) - p @ p.T / p.shape[1]
        values, vectors = torch.linalg.eigh(hessian)
        return values, vectors


class BinaryLoss(Objective):
    """One logistic loss per column, with targets (n, C) in [0, 1]."""

    joint = False

    def __init__(self, features: Features, targets: torch.Tensor) -> None:
        super().__init__(features, targets.shape[1])
        self.targets = targets.T.contiguous()

    def residual(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(logits, out=out).sub_(self.targets)

    def curvature(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        p = torch.sigmoid(logits[:, :: self.stride])
        return (p * (1 - p)).mean(1), None
