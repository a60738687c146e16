"""Generated image sets in published layouts: every class has its colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def tile(label: int, seed: int, height: int, width: int) -> np.ndarray[Any, Any]:
    """(H, W, 3) uint8 noise around a colour that belongs to the class; no two seeds are equal."""
    colour = np.random.default_rng(label).integers(40, 200, 3)
    noise = np.random.default_rng([label, seed]).normal(0, 12, (height // 4 + 1, width // 4 + 1, 3))
    noise = noise.repeat(4, 0).repeat(4, 1)[:height, :width]
    return (colour + noise).clip(0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    """Write an image in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def shorten(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
