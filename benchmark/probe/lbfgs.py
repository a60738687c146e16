"""Limited-memory BFGS with a variable initial matrix, on one matrix or many rows at once.

The two-loop recursion (Nocedal & Wright 2006, algorithm 7.4) is evaluated through the inner
products of the stored pairs. R, with R_ij = s_i · y_j for pair i not newer than j, is upper
triangular, and its inverse is kept up to date: a new pair adds a column, a forgotten one takes
its row and column away. An iteration is then four products with the stack of pairs; what is
left, a few numbers per pair, is done in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
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
        self.inverse = np.zeros((problems, size, size))
        self.diagonal = np.zeros((problems, size))  # s · y of each pair
        self.newest = 0
        self.trust = np.ones(problems)

    def dot(self, a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
        """Inner products (problems,) of two thetas."""
        if self.joint:
            return np.array([torch.dot(a.view(-1), b.view(-1)).item()])
        return (a * b).sum(1).double().cpu().numpy()

    def _inner(self, stack: torch.Tensor, v: torch.Tensor) -> np.ndarray:
        """Products (problems, m) of all stored vectors with v."""
        if self.joint:
            products = torch.mv(stack.view(self.size, -1), v.view(-1))
            return products.cpu().numpy().astype(np.float64)[None]
        return (stack * v).sum(2).T.double().cpu().numpy()

    def _add(
        self, v: torch.Tensor, stack: torch.Tensor, weights: np.ndarray, sign: float
    ) -> torch.Tensor:
        """v + sign · the stored vectors weighted (problems, m)."""
        factors = torch.from_numpy(weights).to(stack.device, stack.dtype)
        if self.joint:
            flat = stack.view(self.size, -1)
            return torch.addmv(v.view(-1), flat.T, factors[0], alpha=sign).view(v.shape)
        return v + sign * (stack * factors.T.unsqueeze(2)).sum(0)

    def push(self, step: torch.Tensor, change: torch.Tensor) -> None:
        """Store a pair, over the oldest one when the memory is full."""
        i = self.head
        self.steps[i], self.changes[i] = step, change
        self.inverse[:, i] = 0
        self.inverse[:, :, i] = 0
        products = self._inner(self.steps, change)
        seen = products[:, i]
        floor = 1e-10 * np.sqrt(self.dot(step, step) * self.dot(change, change))
        useful = seen > floor
        reciprocal = np.divide(1.0, seen, out=np.zeros_like(seen), where=useful)
        column = np.matmul(self.inverse, products[:, :, None])[:, :, 0] * -reciprocal[:, None]
        column[:, i] = reciprocal
        self.inverse[:, :, i] = column
        self.diagonal[:, i] = np.where(useful, seen, 0.0)
        self.newest = i
        self.head, self.used = (i + 1) % self.size, min(self.used + 1, self.size)

    def shift(self, difference: float) -> None:
        """Account for a penalty that grew by `difference`: exact, since y gains difference · s."""
        m = self.used
        if m == 0:
            return
        self.changes[:, :, :-1].add_(self.steps[:, :, :-1], alpha=difference)
        first = self.head if m == self.size else 0
        order = [(first + k) % self.size for k in range(m)]  # oldest first
        if self.joint:
            products = (self.flat_steps @ self.flat_changes.T).unsqueeze(0)
        else:
            products = torch.bmm(self.steps.transpose(0, 1), self.changes.permute(1, 2, 0))
        upper = np.triu(products.double().cpu().numpy()[:, order][:, :, order])
        diagonal = np.diagonal(upper, axis1=1, axis2=2).copy()
        useful = (diagonal > 0) & (self.diagonal[:, order] > 0)
        # A useless pair stands apart: unit pivot, nothing else in its row and column.
        pair = useful[:, :, None] & useful[:, None, :]
        inverse = np.linalg.inv(np.where(pair, upper, np.eye(m)))
        rows = np.array(order)
        self.inverse[:] = 0
        self.inverse[:, rows[:, None], rows] = np.where(pair, inverse, 0.0)
        self.diagonal[:] = 0
        self.diagonal[:, rows] = np.where(useful, diagonal, 0.0)

    def clear(self) -> None:
        self.used = self.head = 0
        self.inverse[:] = 0
        self.diagonal[:] = 0
        self.trust[:] = 1

    def column(self, numbers: np.ndarray) -> torch.Tensor | float:
        """One number per problem as a factor of theta."""
        if self.joint:
            return float(numbers[0])
        return torch.from_numpy(numbers).to(self.steps).unsqueeze(1)

    def calibrate(self, initial: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Fit the size of the initial matrix to the newest pair.

        A model that averages over samples is too soft in the few directions that hard samples
        dominate; it is trusted less then, never more.
        """
        change, seen = self.changes[self.newest], self.diagonal[:, self.newest]
        modelled = self.dot(change, initial(change))
        usable = (seen > 0) & (modelled > 0)
        ratio = np.divide(seen, modelled, out=np.ones_like(seen), where=usable)
        self.trust = np.clip(ratio, 1e-3, 1.0)

    def direction(
        self, gradient: torch.Tensor, initial: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Direction H g of ascent; `initial` applies the initial inverse Hessian."""
        if self.used == 0:
            return initial(gradient)
        right = self._inner(self.steps, gradient)
        alpha = np.matmul(self.inverse, right[:, :, None])[:, :, 0]
        r = initial(self._add(gradient, self.changes, alpha, -1.0)).mul_(self.column(self.trust))
        right = self.diagonal * alpha - self._inner(self.changes, r)
        delta = np.matmul(right[:, None, :], self.inverse)[:, 0]
        return self._add(r, self.steps, delta, 1.0)
