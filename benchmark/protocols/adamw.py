"""Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2).

torch.optim brings in the whole compiler stack when its first optimiser is made, which takes longer
than the small models here take to train.
"""

from __future__ import annotations

import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class AdamW:
    """Updates `parameters` in place."""

    def __init__(self, parameters: list[torch.Tensor], rate: float, decay: float) -> None:
        self.parameters, self.rate, self.decay = parameters, rate, decay
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]
        self.steps = 0

    def step(self, loss: torch.Tensor) -> None:
        """One step down the gradient of a scalar `loss`."""
        self.steps += 1
        gradients = torch.autograd.grad(loss, self.parameters)
        first, second = (1 - beta**self.steps for beta in BETAS)
        with torch.no_grad():
            for p, g, m, v in zip(self.parameters, gradients, self.first, self.second, strict=True):
                m.lerp_(g, 1 - BETAS[0])
                v.lerp_(g * g, 1 - BETAS[1])
                p.mul_(1 - self.rate * self.decay)
                p.addcdiv_(m, (v / second).sqrt_().add_(EPSILON), value=-self.rate / first)
