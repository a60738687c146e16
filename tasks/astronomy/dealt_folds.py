"""Fixed folds for catalogues that come without a split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def deal_folds(groups: Iterable[tuple[str, str]], folds: int) -> dict[str, int]:
    """(group, class) pairs -> fold 1 .. `folds` of every group.

    The groups of each class, class by class in alphabetical order, in the order of the SHA-256 of
    their names, are dealt to the folds in turn: every class is in every fold in nearly equal
    numbers. A group that is named with several classes counts with the first of them.
    """
    classes: dict[str, str] = {}
    for group, name in groups:
        classes[group] = min(name, classes.get(group, name))
    order = sorted(classes, key=lambda g: (classes[g], hashlib.sha256(g.encode()).hexdigest()))
    return {group: place % folds + 1 for place, group in enumerate(order)}
