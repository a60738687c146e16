"""Rounds of training and testing: what a score of a task is the mean of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmark.task import Task


class Round(NamedTuple):
    """One training and testing: names of splits, those in `train` are joined."""

    train: tuple[str, ...]
    validation: str | None
    test: str

    @property
    def splits(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.train, *([self.validation] if self.validation else []), self.test)


def rounds(task: Task) -> tuple[Round, ...]:
    """One round per official fold (the others are its training data), one per independent run, or
    the single one of train, validation and test."""
    names = task.splits
    if names[0].startswith("fold-"):
        return tuple(Round(tuple(n for n in names if n != fold), None, fold) for fold in names)
    if independent_runs(task):
        pairs = zip(names[::2], names[1::2], strict=True)
        return tuple(Round((train,), None, test) for train, test in pairs)
    train = tuple(name for name in names if name == "train")
    return (Round(train, "validation" if "validation" in names else None, "test"),)


def splits_read(task: Task, read: Sequence[str]) -> list[str]:
    """The splits that a protocol which reads these roles needs, in the task's order."""
    needed = {names.test for names in rounds(task)}
    if "train" in read:
        needed |= {split for names in rounds(task) for split in names.train}
    if "validation" in read:
        needed |= {names.validation for names in rounds(task) if names.validation}
    return [split for split in task.splits if split in needed]


def independent_runs(task: Task) -> bool:
    """Whether the task is several small datasets, each with classes of its own."""
    return task.splits[0].startswith("run-")


def rivals(task: Task) -> tuple[tuple[str, str], ...]:
    """Pairs of splits that must have nothing in common: those of one round."""
    together = [set(found.splits) for found in rounds(task)]
    pairs = combinations(task.splits, 2)
    return tuple(pair for pair in pairs if any(names.issuperset(pair) for names in together))
