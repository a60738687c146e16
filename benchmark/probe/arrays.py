"""The few operations that NumPy and torch spell differently.

The logistic solver is written once for both. Torch has the faster products and runs on CUDA; a call
of it costs several times what a NumPy call costs, which is most of the time of a small problem.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from threadpoolctl import ThreadpoolController

Array = Any  # numpy.ndarray or torch.Tensor

NUMPY_PRODUCTS = 1 << 21  # samples · features · classes up to which a problem is small


def suited(z: torch.Tensor, columns: int) -> Array:
    """Samples z (n, r) themselves; for a small problem a NumPy array with a column of ones."""
    if not isinstance(z, torch.Tensor):
        return z  # streamed
    if z.device.type != "cpu" or z.numel() * columns > NUMPY_PRODUCTS:
        return z
    design = np.ones((len(z), z.shape[1] + 1), dtype=z.numpy().dtype)
    design[:, :-1] = z.numpy()
    return design


def transposed(samples: Array) -> Array:
    """Samples (n, r) as (r, n), as `affine` reads them fastest: torch takes any strides."""
    return np.ascontiguousarray(samples.T) if isinstance(samples, np.ndarray) else samples.T


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def threads_for(products: int) -> AbstractContextManager[object]:
    """One thread for a small problem: others cost more to wake than they take over, and they spin
    meanwhile. products: samples · features · classes."""
    if products > NUMPY_PRODUCTS:
        return nullcontext()
    return _libraries().limit(limits=1, user_api="blas")


def affine(theta: Array, transposed: Array, out: Array) -> Array:
    """Logits (C, n) for theta (C, r + 1) of samples (r, n), or (r + 1, n) with ones."""
    if isinstance(theta, np.ndarray):
        return np.matmul(theta, transposed, out=out)
    # A column of ones would give products a width that is no multiple of a vector's.
    return torch.addmm(theta[:, -1:], theta[:, :-1], transposed, out=out)


def add_products(total: Array, weights: Array, samples: Array) -> None:
    """Add the sums of samples (n, r) and of ones, weighted (C, n), to total (C, r + 1)."""
    if isinstance(total, np.ndarray):
        total += weights @ samples
    else:
        total[:, :-1].addmm_(weights, samples)
        total[:, -1].add_(weights.sum(1))


def add_weighted_grams(total: Array, weights: Array, samples: Array) -> None:
    """Add, for each row of weights (C, n), the second moments of samples (n, r) and of ones to
    total (C, r + 1, r + 1)."""
    roots = weights**0.5
    for c, root in enumerate(roots):
        part = samples * root[:, None]
        if isinstance(total, np.ndarray):
            total[c] += part.T @ part
            continue
        sums = part.T @ root
        total[c, :-1, :-1].addmm_(part.T, part)
        total[c, :-1, -1] += sums
        total[c, -1, :-1] += sums
        total[c, -1, -1] += root @ root


def module(x: Array) -> ModuleType:
    """The module whose functions take x."""
    return np if isinstance(x, np.ndarray) else torch


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    if isinstance(like, np.ndarray):
        return np.zeros(shape, dtype=like.dtype)
    return torch.zeros(shape, dtype=like.dtype, device=like.device)


def inner(a: Array, b: Array) -> float:
    """Inner product of all numbers."""
    if isinstance(a, np.ndarray):
        return float(np.vdot(a, b))
    return float(a.reshape(-1) @ b.reshape(-1))


def copy(x: Array) -> Array:
    return x.copy() if isinstance(x, np.ndarray) else x.clone()


def numbers(x: Array) -> np.ndarray:
    """x as float64 in main memory, for decisions."""
    if not isinstance(x, np.ndarray):
        x = x.cpu().numpy()
    return x.astype(np.float64)


def convert(x: np.ndarray, like: Array) -> Array:
    """Numbers in the precision and place of `like`."""
    if isinstance(like, np.ndarray):
        return x.astype(like.dtype)
    return torch.from_numpy(x).to(like.device, like.dtype)


def same_kind(x: torch.Tensor, like: Array) -> Array:
    """A tensor as `like` is: the same memory as a NumPy array, or itself."""
    return x.cpu().numpy() if isinstance(like, np.ndarray) else x


def tensor(x: Array) -> torch.Tensor:
    return torch.from_numpy(x) if isinstance(x, np.ndarray) else x


def add_at(x: Array, places: Array, values: Array) -> None:
    """Add values (n,) to x at distinct places (n,) of its flattened form."""
    if isinstance(x, np.ndarray):
        x.reshape(-1)[places] += values
    else:
        x.view(-1).scatter_add_(0, places, values)


def softmax(x: Array, out: Array) -> Array:
    """Softmax over the last axis but one."""
    if isinstance(x, np.ndarray):  # torch goes over the numbers once
        torch.softmax(torch.from_numpy(x), -2, out=torch.from_numpy(out))
        return out
    return torch.softmax(x, -2, out=out)


def sigmoid(x: Array, out: Array) -> Array:
    """Logistic function."""
    return expit(x, out=out) if isinstance(x, np.ndarray) else torch.sigmoid(x, out=out)
