"""What the checks of encoders and of datasets find."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One check and its outcome."""

    check: str
    passed: bool
    detail: str
    note: bool = False  # no fault, but worth knowing
