"""Regularised logistic losses: gradients and class-wise moments, in blocks of samples.

Parameters are one matrix theta (C, r + 1): a row per class, the intercept last. The objective is
mean loss + penalty / 2 |weights|², with penalty = 1 / (C n) for scikit-learn's C. Samples are read
once for a gradient: logits and residuals of a block stay in the cache, none is kept. Logits are
laid out class by class, (C, block): products and softmax of few classes run several times faster.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmark.probe.features import Features

MOMENT_ROWS = 4096  # samples that settle the curvature,
MOMENT_ROWS_PER_CLASS = 32  # of many classes more
CPU_BLOCK = 1 << 19  # values of a block of samples, or of their logits, that stay in the cache
CUDA_BLOCK = 1 << 26


class Objective:
    """What both losses share; a subclass turns logits into probabilities and residuals.

    `joint` is True where the rows of theta are one optimisation problem (softmax) and
    False where each row is its own (one-vs-rest).
    """

    joint: bool

    def __init__(self, features: Features, columns: int) -> None:
        self.features = features
        self.columns = columns
        z = features.z
        self.shape = (columns, z.shape[1] + 1)
        widest = max(1, z.shape[1], columns)
        rows = CUDA_BLOCK // widest if z.is_cuda else max(512, min(2048, CPU_BLOCK // widest))
        self.block = min(len(z), max(1, rows))
        self.buffers = z.new_empty((2, columns * self.block))
        self._sample: torch.Tensor | None = None

    def probabilities(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Probabilities (C, n) of logits (C, n), written to `out`."""
        raise NotImplementedError

    def subtract_targets(self, p: torch.Tensor, rows: slice, which: torch.Tensor | None) -> None:
        """Turn probabilities of the samples `rows` into d loss / d logits, in place."""
        raise NotImplementedError

    def _forward(
        self, theta: torch.Tensor, z: torch.Tensor
    ) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """Blocks of samples: their place, themselves (n, r), and their probabilities (C, n)."""
        weights, bias = theta[:, :-1], theta[:, -1:]
        for start in range(0, len(z), self.block):
            part = z[start : start + self.block]
            shape = (len(theta), len(part))
            logits, p = self.buffers[:, : shape[0] * shape[1]].view(2, *shape).unbind()
            torch.addmm(bias, weights, part.T, out=logits)
            yield slice(start, start + len(part)), part, self.probabilities(logits, p)

    def gradient(
        self, theta: torch.Tensor, penalty: float, which: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Gradient at theta, both (C, r + 1); or (k, r + 1), the rows `which` (k,) alone."""
        z = self.features.z
        out = theta * penalty
        out[:, -1] = 0
        weights, bias = out[:, :-1], out[:, -1]
        for rows, part, residual in self._forward(theta, z):
            self.subtract_targets(residual, rows, which)
            weights.addmm_(residual, part, alpha=1.0 / len(z))
            bias.add_(residual.sum(1), alpha=1.0 / len(z))
        # All classes shifted alike change nothing: what is left there is rounding.
        return out.sub_(out.mean(0)) if self.joint else out

    def moments(self, theta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Curvature of each class, p (1 - p), as a weight of the samples.

        Returns the mean weight (C, 1) and, in the eigenbasis, the weighted mean (C, r) and
        variance (C, r) of the features; over a part of the samples where there are many.
        """
        basis, sample = self.features.basis, self.sample()
        if basis is not None:
            theta = torch.cat((theta[:, :-1] @ basis, theta[:, -1:]), 1)
        shape = (len(theta), sample.shape[1])
        mass, first, second = theta.new_zeros((len(theta), 1)), *theta.new_zeros((2, *shape))
        for _, part, p in self._forward(theta, sample):
            weight = p.sub_(p.square())
            mass += weight.sum(1, keepdim=True)
            first.addmm_(weight, part)
            second.addmm_(weight, part.square())
        mass.clamp_min_(1e-12 * len(sample))
        first /= mass
        second = (second / mass).addcmul_(first, first, value=-1.0).clamp_min_(0.0)
        return mass / len(sample), first, second

    def sample(self) -> torch.Tensor:
        """The samples that stand for all in `moments`, in the eigenbasis."""
        if self._sample is None:
            z, basis = self.features.z, self.features.basis
            wanted = max(MOMENT_ROWS, MOMENT_ROWS_PER_CLASS * self.columns)
            stride = max(1, len(z) // wanted)
            some = z if stride == 1 else z[::stride].contiguous()
            self._sample = some if basis is None else some @ basis
        return self._sample


class SoftmaxLoss(Objective):
    """Multinomial logistic loss with integer labels (n,) or soft targets (n, C) summing to 1."""

    joint = True

    def __init__(self, features: Features, targets: torch.Tensor, columns: int) -> None:
        super().__init__(features, columns)
        self.soft = targets.T.contiguous() if targets.ndim == 2 else None
        if self.soft is None:
            self.labels = targets.unsqueeze(0)
            self.minus = -torch.ones((1, self.block), dtype=features.z.dtype, device=targets.device)

    def probabilities(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.softmax(logits, 0, out=out)

    def subtract_targets(self, p: torch.Tensor, rows: slice, which: torch.Tensor | None) -> None:
        if self.soft is not None:
            p.sub_(self.soft[:, rows])
        else:
            p.scatter_add_(0, self.labels[:, rows], self.minus[:, : p.shape[1]])


class BinaryLoss(Objective):
    """One logistic loss per column, with targets (n, C) in [0, 1]."""

    joint = False

    def __init__(self, features: Features, targets: torch.Tensor) -> None:
        super().__init__(features, targets.shape[1])
        self.targets = targets.T.contiguous()

    def probabilities(self, logits: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(logits, out=out)

    def subtract_targets(self, p: torch.Tensor, rows: slice, which: torch.Tensor | None) -> None:
        targets = self.targets[:, rows]
        p.sub_(targets if which is None else targets[which])
