"""Linear probes: a whole penalty path of logistic or ridge regression, fitted in one sweep.

Importing this package is light; torch is imported on first use of a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.probe.probe import PENALTIES, LinearProbe, fit_probe

__all__ = ["PENALTIES", "LinearProbe", "fit_probe"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from benchmark.probe import probe

        return getattr(probe, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
