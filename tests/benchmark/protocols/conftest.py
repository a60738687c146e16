"""Mock tasks as arrays: Gaussian classes, several examples per group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.protocols.contract import Split
from benchmark.task import TaskCard

CLASSES = ("dog", "bell", "rain", "wind")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_card() -> Callable[..., TaskCard]:
    def make(kind: str = "multiclass", metric: str = "accuracy", **target: Any) -> TaskCard:
        classes = () if kind in ("regression", "pairs") else CLASSES
        return TaskCard(
            name="mock", title="Mock", modality="audio", implementation="mock:Mock",
            target={"kind": kind, "column": "y", "classes": classes, **target},
            metric=metric, chance=0.25, split="random", grouping="recording", access="embedded",
            simulated=True, licence="CC0", citation="none",
        )  # fmt: skip

    return make


@pytest.fixture
def make_split() -> Callable[..., Split]:
    """n examples in groups of 4 that share a class; `signal` scales the distance of the classes."""

    def make(
        n: int, seed: int, kind: str = "multiclass", signal: float = 1.0, width: int = 12
    ) -> Split:
        generator = np.random.default_rng(seed)
        means = signal * np.random.default_rng(99).normal(size=(len(CLASSES), width))
        groups = np.arange(n) // 4
        label = generator.permutation(np.arange(groups[-1] + 1) % len(CLASSES))[groups]
        x = (means[label] + generator.normal(size=(n, width))).astype(np.float32)
        targets: Any = label
        if kind == "regression":
            targets = x[:, :3].sum(1).astype(float) + generator.normal(size=n)
        elif kind == "multilabel":
            targets = (x[:, :4] + 0.5 * generator.normal(size=(n, 4)) > 0.3).astype(int)
        return Split(
            x, targets, np.array([f"s{seed}-g{g}" for g in groups]),
            np.array([f"s{seed}-{i}" for i in range(n)]),
        )  # fmt: skip

    return make
