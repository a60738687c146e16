"""How many examples an encoder takes at a time: halved where memory runs out, and remembered."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmark.paths import cache_root, explained, replacing

REMEMBERED_SECONDS = 30 * 86_400  # a device that was shared once may be free now
_SIZES: dict[Path, int] = {}  # of this process


@dataclass(frozen=True)
class BatchSize:
    """The batch size of one encoder and kind of output on one sort of device."""

    wanted: int
    encoder: str  # digest
    kind: str
    precision: str
    device: str

    @cached_property
    def path(self) -> Path:
        """Where it is remembered for later runs and, where the cache is shared, other machines."""
        facts = json.dumps([self.encoder, self.kind, self.precision, _hardware(self.device)])
        name = hashlib.sha256(facts.encode()).hexdigest()[:24]
        return cache_root() / "batch-sizes" / name

    @property
    def current(self) -> int:
        """The wanted size, or a smaller one that was found to be the most that fits."""
        if self.path not in _SIZES:
            with suppress(OSError, ValueError):
                if time.time() - self.path.stat().st_mtime < REMEMBERED_SECONDS:
                    _SIZES[self.path] = max(1, int(self.path.read_text()))
        return min(self.wanted, _SIZES.get(self.path, self.wanted))

    def halve(self, size: int) -> int:
        """Remember half of `size`, at least 1, and give back what the failed batch held.

        Raises:
            SslBenchError: the cache folder is full or unusable.
        """
        smaller = max(1, size // 2)
        _SIZES[self.path] = smaller
        with explained(self.path.parent), replacing(self.path) as scratch:
            scratch.write_text(str(smaller))
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()
        return smaller


def _hardware(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name} {properties.total_memory >> 20} MiB"
