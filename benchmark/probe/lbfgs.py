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
from scipy.linalg.lapack import dtrtri

from benchmark.probe import arrays
from benchmark.probe.arrays import Array


class Memory:
    """The last steps s and gradient changes y, stacked (m, C, r + 1).

    joint=True treats theta as one vector; False keeps one memory per row. A pair that shows
    no positive curvature has no column in the inverse, which leaves the recursion untouched.
    """

    def __init__(self, like: Array, *, joint: bool, size: int = 20) -> None:
        self.joint, self.size, self.used, self.head = joint, size, 0, 0
        self.steps = arrays.zeros((size, *like.shape), like)
        self.changes = arrays.zeros((size, *like.shape), like)
        problems = 1 if joint else len(like)
        self.inverse = np.zeros((problems, size, size))
        self.diagonal = np.zeros((problems, size))  # s · y of each pair
        self.newest = 0
        self.trust = np.ones(problems)

    def dot(self, a: Array, b: Array) -> np.ndarray:
        """Inner products (problems,) of two thetas."""
        if self.joint:
            return np.array([arrays.inner(a, b)])
        return arrays.numbers((a * b).sum(1))

    def _inner(self, stack: Array, v: Array) -> np.ndarray:
        """Products (problems, m) of all stored vectors with v."""
        if self.joint:
            return arrays.numbers(stack.reshape(self.size, -1) @ v.reshape(-1))[None]
        return arrays.numbers((stack * v).sum(2)).T

    def _add(self, v: Array, stack: Array, weights: np.ndarray) -> Array:
        """v + the stored vectors weighted (problems, m)."""
        factors = arrays.convert(weights, v)
        if self.joint:
            return v + (factors[0] @ stack.reshape(self.size, -1)).reshape(v.shape)
        return v + (stack * factors.T[:, :, None]).sum(0)

    def push(self, step: Array, change: Array) -> None:
        """Store a pair, over the oldest one when the memory is full."""
        i = self.head
        self.steps[i], self.changes[i] = step, change
        self.inverse[:, i] = 0
        self.inverse[:, :, i] = 0
        products = self._inner(self.steps, change)
        seen = products[:, i]
        useful = seen > 0
        reciprocal = np.divide(1.0, seen, out=np.zeros_like(seen), where=useful)
        column = np.matmul(self.inverse, products[:, :, None])[:, :, 0] * -reciprocal[:, None]
        column[:, i] = reciprocal
        self.inverse[:, :, i] = column
        self.diagonal[:, i] = seen * useful
        self.newest = i
        self.head, self.used = (i + 1) % self.size, min(self.used + 1, self.size)

    def shift(self, difference: float) -> None:
        """Account for a penalty that grew by `difference`: exact, since y gains difference · s."""
        m = self.used
        if m == 0:
            return
        changes = self.changes[:, :, :-1]
        changes += self.steps[:, :, :-1] * difference
        first = self.head if m == self.size else 0
        rows = (first + np.arange(m)) % self.size  # oldest first
        if self.joint:
            flat = self.steps.reshape(self.size, -1), self.changes.reshape(self.size, -1)
            products = (flat[0] @ flat[1].T)[None]
        else:
            steps, changes = self.steps.swapaxes(0, 1), self.changes.swapaxes(0, 1)
            products = steps @ changes.swapaxes(1, 2)
        upper = np.triu(arrays.numbers(products)[:, rows[:, None], rows])
        diagonal = np.diagonal(upper, axis1=1, axis2=2).copy()
        useful = (diagonal > 0) & (self.diagonal[:, rows] > 0)
        # A useless pair stands apart: unit pivot, nothing else in its row and column.
        pair = useful[:, :, None] & useful[:, None, :]
        upper = np.where(pair, upper, np.eye(m))
        inverse = np.stack([dtrtri(some)[0] for some in upper])
        self.inverse[:] = 0
        self.inverse[:, rows[:, None], rows] = np.where(pair, inverse, 0.0)
        self.diagonal[:] = 0
        self.diagonal[:, rows] = np.where(useful, diagonal, 0.0)

    def clear(self) -> None:
        self.used = self.head = 0
        self.inverse[:] = 0
        self.diagonal[:] = 0
        self.trust[:] = 1

    def column(self, numbers: np.ndarray) -> Array | float:
        """One number per problem as a factor of theta."""
        if self.joint:
            return float(numbers[0])
        return arrays.convert(numbers, self.steps)[:, None]

    def calibrate(self, initial: Callable[[Array], Array]) -> None:
        """Fit the size of the initial matrix to the newest pair.

        A model that averages over samples is too soft in the few directions that hard samples
        dominate; it is trusted less then, never more.
        """
        change, seen = self.changes[self.newest], self.diagonal[:, self.newest]
        modelled = self.dot(change, initial(change))
        usable = (seen > 0) & (modelled > 0)
        ratio = np.divide(seen, modelled, out=np.ones_like(seen), where=usable)
        self.trust = np.clip(ratio, 1e-3, 1.0)

    def direction(self, gradient: Array, initial: Callable[[Array], Array]) -> Array:
        """Direction H g of ascent; `initial` applies the initial inverse Hessian."""
        if self.used == 0:
            return initial(gradient)
        right = self._inner(self.steps, gradient)
        alpha = np.matmul(self.inverse, right[:, :, None])[:, :, 0]
        r = initial(self._add(gradient, self.changes, -alpha))
        r *= self.column(self.trust)
        right = self.diagonal * alpha - self._inner(self.changes, r)
        delta = np.matmul(right[:, None, :], self.inverse)[:, 0]
        return self._add(r, self.steps, delta)
