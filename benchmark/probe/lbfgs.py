"""Limited-memory BFGS with a variable initial matrix, on one matrix or many columns at once.

The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) is evaluated through the inner
products of the stored pairs (two triangular solves of the memory's size), so an iteration is
four products with the stack of pairs instead of four vector operations per pair.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


class Memory:
    """The last steps s and gradient changes y, stacked (m, r + 1, C).

    joint=True treats theta as one vector; False keeps one memory per column. A pair that shows
    no positive curvature is stored as zeros, which leaves the recursion untouched.
    """

    def __init__(self, like: torch.Tensor, *, joint: bool, size: int = 20) -> None:
        self.joint, self.size, self.used, self.head = joint, size, 0, 0
        self.steps = torch.zeros((size, *like.shape), dtype=like.dtype, device=like.device)
        self.changes = torch.zeros_like(self.steps)
        columns = 1 if joint else like.shape[1]
        self.products = torch.zeros((columns, size, size), dtype=torch.float64, device=like.device)

    def dot(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Inner product of two thetas: (1, 1) if joint, else (1, C)."""
        if self.joint:
            return torch.dot(a.reshape(-1), b.reshape(-1)).view(1, 1)
        return (a * b).sum(0, keepdim=True)

    def _inner(self, stack: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        if self.joint:
            return (stack.view(len(stack), -1) @ v.reshape(-1)).double().unsqueeze(0)
        return (stack * v).sum(1).double().T  # (C, m)

    def _combine(self, stack: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        weights = weights.to(stack.dtype)
        if self.joint:
            return (weights[0] @ stack.view(len(stack), -1)).view(stack.shape[1:])
        return (stack * weights.T.unsqueeze(1)).sum(0)

    def push(self, step: torch.Tensor, change: torch.Tensor) -> None:
        """Store a pair, over the oldest one when the memory is full."""
        curvature = self.dot(step, change)
        floor = 1e-10 * (self.dot(step, step) * self.dot(change, change)).sqrt()
        useful = curvature > floor
        i = self.head
        self.steps[i] = torch.where(useful, step, 0)
        self.changes[i] = torch.where(useful, change, 0)
        self.head, self.used = (i + 1) % self.size, min(self.used + 1, self.size)
        m = self.used
        self.products[:, i, :m] = self._inner(self.changes[:m], self.steps[i])
        self.products[:, :m, i] = self._inner(self.steps[:m], self.changes[i])

    def shift(self, difference: float) -> None:
        """Account for a penalty that grew by `difference`: exact, since y gains difference · s."""
        m = self.used
        self.changes[:m, :-1] += difference * self.steps[:m, :-1]
        for i in range(m):
            self.products[:, :m, i] = self._inner(self.steps[:m], self.changes[i])

    def last(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The newest pair."""
        i = (self.head - 1) % self.size
        return (self.steps[i], self.changes[i]) if self.used else None

    def clear(self) -> None:
        self.used = self.head = 0

    def direction(
        self, gradient: torch.Tensor, initial: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Descent direction -H g; `initial` applies the initial inverse Hessian."""
        m = self.used
        if m == 0:
            return -initial(gradient)
        steps, changes = self.steps[:m], self.changes[:m]
        first = self.head if m == self.size else 0
        order = torch.arange(m, device=gradient.device).roll(-first)  # oldest first
        upper = self.products[:, order][:, :, order].triu()
        diagonal = upper.diagonal(dim1=1, dim2=2)
        diagonal += (diagonal == 0).to(diagonal)  # zero pairs: any pivot will do
        back = torch.empty_like(order)
        back[order] = torch.arange(m, device=order.device)
        right = self._inner(steps, gradient)[:, order]
        alpha = torch.linalg.solve_triangular(upper, right.unsqueeze(2), upper=True).squeeze(2)
        r = initial(gradient - self._combine(changes, alpha[:, back]))
        right = diagonal * alpha - self._inner(changes, r)[:, order]
        delta = torch.linalg.solve_triangular(
            upper.transpose(1, 2), right.unsqueeze(2), upper=False
        ).squeeze(2)
        return -(r + self._combine(steps, delta[:, back]))
