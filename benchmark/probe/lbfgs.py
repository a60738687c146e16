"""Limited-memory BFGS with a variable initial matrix, on one matrix or many rows at once.

The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) is evaluated through the inner
products of the stored pairs. R, with R_ij = s_i · y_j for pair i not newer than j, is upper
triangular, and its inverse is kept up to date: a new pair adds a column, a forgotten one takes
its row and column away. An iteration is then four products with the stack of pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch


class Memory:
    """The last steps s and gradient changes y, stacked (m, C, r + 1).

    joint=True treats theta as one vector; False keeps one memory per row. A pair that shows
    no positive curvature has no column in the inverse, which leaves the recursion untouched.
    """

    def __init__(self, like: torch.Tensor, *, joint: bool, size: int = 20) -> None:
        self.joint, self.size, self.used, self.head = joint, size, 0, 0
        self.steps = torch.zeros((size, *like.shape), dtype=like.dtype, device=like.device)
        self.changes = torch.zeros_like(self.steps)
        self.flat_steps = self.steps.view(size, -1)
        self.flat_changes = self.changes.view(size, -1)
        problems = 1 if joint else len(like)
        self.inverse = torch.zeros((problems, size, size), dtype=torch.float64, device=like.device)
        self.diagonal = self.inverse.new_zeros((problems, size))
        self.seen: torch.Tensor | None = None  # s · y of the newest pair

    def dot(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Inner product of two thetas: (1, 1) if joint, else (C, 1)."""
        if self.joint:
            return torch.dot(a.reshape(-1), b.reshape(-1)).view(1, 1)
        return (a * b).sum(1, keepdim=True)

    def _inner(self, stack: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Products (problems, m) of all stored vectors with v."""
        if self.joint:
            return torch.mv(stack.view(self.size, -1), v.reshape(-1)).double().unsqueeze(0)
        return (stack * v).sum(2).double().T

    def _add(
        self, v: torch.Tensor, stack: torch.Tensor, weights: torch.Tensor, sign: float
    ) -> torch.Tensor:
        """v + sign · the stored vectors weighted (problems, m)."""
        weights = weights.to(stack.dtype)
        if self.joint:
            flat = stack.view(self.size, -1)
            return torch.addmv(v.reshape(-1), flat.T, weights[0], alpha=sign).view(v.shape)
        return v + sign * (stack * weights.T.unsqueeze(2)).sum(0)

    def push(self, step: torch.Tensor, change: torch.Tensor) -> None:
        """Store a pair, over the oldest one when the memory is full."""
        i = self.head
        self.steps[i], self.changes[i] = step, change
        self.inverse[:, i] = 0
        self.inverse[:, :, i] = 0
        products = self._inner(self.steps, change)
        self.seen = products[:, i : i + 1]
        floor = 1e-10 * (self.dot(step, step) * self.dot(change, change)).sqrt()
        useful = self.seen > floor
        reciprocal = torch.where(useful, 1.0 / self.seen, 0.0)
        column = torch.matmul(self.inverse, products.unsqueeze(2)).squeeze(2) * -reciprocal
        column[:, i : i + 1] = reciprocal
        self.inverse[:, :, i] = column
        self.diagonal[:, i : i + 1] = torch.where(useful, self.seen, 0.0)
        self.head, self.used = (i + 1) % self.size, min(self.used + 1, self.size)

    def shift(self, difference: float) -> None:
        """Account for a penalty that grew by `difference`: exact, since y gains difference · s."""
        m = self.used
        if m == 0:
            return
        self.changes[:, :, :-1] += difference * self.steps[:, :, :-1]
        first = self.head if m == self.size else 0
        order = [(first + k) % self.size for k in range(m)]  # oldest first
        at = torch.tensor(order, device=self.steps.device)
        if self.joint:
            products = (self.flat_steps @ self.flat_changes.T).double().unsqueeze(0)
        else:
            swapped = self.steps.transpose(0, 1), self.changes.permute(1, 2, 0)
            products = torch.bmm(*swapped).double()
        upper = products[:, at][:, :, at].triu()
        diagonal = upper.diagonal(dim1=1, dim2=2)
        useful = (diagonal > 0) & (self.diagonal[:, at] > 0)
        # A useless pair stands apart: unit pivot, nothing else in its row and column.
        pair = useful.unsqueeze(2) & useful.unsqueeze(1)
        identity = torch.eye(m, dtype=upper.dtype, device=upper.device)
        upper = torch.where(pair, upper, identity)
        inverse = torch.linalg.solve_triangular(upper, identity.expand_as(upper), upper=True)
        self.inverse.zero_()
        self.inverse[:, at.unsqueeze(1), at] = torch.where(pair, inverse, 0.0)
        self.diagonal.zero_()
        self.diagonal[:, at] = torch.where(useful, upper.diagonal(dim1=1, dim2=2), 0.0)
        self.seen = self.diagonal[:, order[-1] : order[-1] + 1]

    def newest(self) -> torch.Tensor:
        """The gradient change of the newest pair."""
        return self.changes[(self.head - 1) % self.size]

    def clear(self) -> None:
        self.used = self.head = 0
        self.inverse.zero_()
        self.diagonal.zero_()

    def direction(
        self, gradient: torch.Tensor, initial: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Direction H g of ascent; `initial` applies the initial inverse Hessian."""
        if self.used == 0:
            return initial(gradient)
        right = self._inner(self.steps, gradient).unsqueeze(2)
        alpha = torch.matmul(self.inverse, right).squeeze(2)
        r = initial(self._add(gradient, self.changes, alpha, -1.0))
        right = self.diagonal * alpha - self._inner(self.changes, r)
        delta = torch.matmul(right.unsqueeze(1), self.inverse).squeeze(1)
        return self._add(r, self.steps, delta, 1.0)
