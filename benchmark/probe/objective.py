"""Regularised logistic losses: gradients over row blocks, and a Kronecker curvature model.

Parameters are one matrix theta (r + 1, C): weights, then the intercept as the last row. The
objective is mean loss + penalty / 2 |weights|², with penalty = 1 / (C n) for scikit-learn's C.
"""

from __future__ import annotations

import torch

from benchmark.probe.features import Features

CURVATURE_ROWS = 2048


class Objective:
    """What both losses share; a subclass says what the residual and the curvature are.

    `joint` is True where the columns of theta are one optimisation problem (softmax) and
    False where each column is its own (one-vs-rest).
    """

    joint: bool

    def __init__(self, features: Features, columns: int) -> None:
        self.features = features
        self.columns = columns
        z = features.z
        self.shape = (z.shape[1] + 1, columns)
        values = 1 << (26 if z.is_cuda else 19)
        # A block's rows and logits stay in the cache between the two matrix products.
        self.block = max(256, values // max(1, z.shape[1], columns))
        wanted = min(CURVATURE_ROWS, max(256, len(z) // 4))
        self.sample = z[:: max(1, len(z) // wanted)].contiguous()

    def residual(
        self, logits: torch.Tensor, start: int, which: torch.Tensor | None
    ) -> torch.Tensor:
        """d loss / d logits (b, C) from the logits of rows start: onwards, which it may reuse."""
        raise NotImplementedError

    def curvature(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Eigenvalues (C,) and eigenvectors (C, C) of the mean Hessian in logit space."""
        raise NotImplementedError

    def logits(self, z: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        """(n, C) logits of rows already in the solver's columns."""
        return torch.addmm(theta[-1], z, theta[:-1])

    def gradient(
        self, theta: torch.Tensor, penalty: float, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Gradient (r + 1, C) at theta; `which` names the columns that theta holds (None: all)."""
        z, columns = self.features.z, theta.shape[1]
        # Matrix products of 9 to 63 columns run fastest at multiples of 16 (measured with MKL).
        padded = -columns % 16 if 8 < columns < 64 else 0
        weights = torch.nn.functional.pad(theta[:-1], (0, padded)) if padded else theta[:-1]
        out = torch.zeros((len(theta), columns + padded), dtype=theta.dtype, device=theta.device)
        few = columns <= 8
        transposed = weights.T.contiguous().T if few else weights
        for start in range(0, len(z), self.block):
            rows = z[start : start + self.block]
            full = rows @ transposed
            logits = full[:, :columns]
            logits += theta[-1]
            residual = self.residual(logits, start, which)
            if few:
                out[:-1] += (residual.T.contiguous() @ rows).T
            else:
                if padded:
                    full[:, :columns] = residual
                    residual = full
                out[:-1].addmm_(rows.T, residual)
            out[-1] += residual.sum(0)
        out = out[:, :columns] / len(z)
        out[:-1] += penalty * theta[:-1]
        # All classes shifted alike change nothing: what is left there is rounding.
        return out - out.mean(1, keepdim=True) if self.joint else out


class SoftmaxLoss(Objective):
    """Multinomial logistic loss with integer labels (n,) or soft targets (n, C) summing to 1."""

    joint = True

    def __init__(self, features: Features, targets: torch.Tensor, columns: int) -> None:
        super().__init__(features, columns)
        self.targets = targets
        self.rows = torch.arange(self.block, device=targets.device)

    def residual(
        self, logits: torch.Tensor, start: int, which: torch.Tensor | None
    ) -> torch.Tensor:
        p = torch.softmax(logits, 1)
        targets = self.targets[start : start + len(logits)]
        if targets.ndim == 1:
            p[self.rows[: len(p)], targets] -= 1
        else:
            p -= targets
        return p

    def curvature(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        p = torch.softmax(self.logits(self.sample, theta), 1)
        hessian = torch.diag(p.mean(0)) - p.T @ p / len(p)
        values, vectors = torch.linalg.eigh(hessian)
        return values, vectors


class BinaryLoss(Objective):
    """One logistic loss per column, with targets (n, C) in [0, 1]."""

    joint = False

    def __init__(self, features: Features, targets: torch.Tensor) -> None:
        super().__init__(features, targets.shape[1])
        self.targets = targets

    def residual(
        self, logits: torch.Tensor, start: int, which: torch.Tensor | None
    ) -> torch.Tensor:
        targets = self.targets[start : start + len(logits)]
        return logits.sigmoid_().sub_(targets if which is None else targets[:, which])

    def curvature(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        p = torch.sigmoid(self.logits(self.sample, theta))
        return (p * (1 - p)).mean(0), None
