"""A fixed split for sets of records that are published without one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

# of every ten records; spread out, so that rare labels reach every split soon
DEAL = (
    "train", "test", "train", "validation", "train", "train", "test", "train", "train", "train",
)  # fmt: skip


def deal_splits(labels: Mapping[str, str]) -> dict[str, str]:
    """Name and label of every record -> its split: 70% train, 10% validation, 20% test.

    The records are dealt label by label, in alphabetical order, in the order of the SHA-256 of
    their names; the label of a record with several is all of them, joined.
    """
    order = sorted(labels, key=lambda r: (labels[r], hashlib.sha256(r.encode()).hexdigest()))
    return {name: DEAL[place % len(DEAL)] for place, name in enumerate(order)}
