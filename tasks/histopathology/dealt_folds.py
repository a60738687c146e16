"""Fixed folds for image sets that come without a split."""

from __future__ import annotations

import hashlib


def fold_of(group: str, number: int) -> str:
    """`fold-1` .. `fold-number` by the SHA-256 of a group's name, whatever else is there."""
    digest = hashlib.sha256(group.encode()).digest()
    return f"fold-{int.from_bytes(digest[:8], 'big') % number + 1}"
