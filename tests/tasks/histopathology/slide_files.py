"""Small pyramidal TIFFs, as scanners and converters write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def write_slide(path: Path, pixels: Array, mpp: float | None = 0.25, levels: int = 3) -> None:
    """A tiled TIFF of (H, W, 3) pixels with `levels` halvings, `mpp` micrometres per pixel."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for level in range(levels + 1):
            step = 2**level
            unit: dict[str, Any] = {}
            if mpp is not None:
                per_cm = 1e4 / (mpp * step)
                unit = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
            file.write(
                np.ascontiguousarray(pixels[::step, ::step]),
                tile=(64, 64),
                photometric="rgb",
                compression="zlib",
                subfiletype=1 if level else 0,
                metadata=None,
                **unit,
            )


def tissue(colour: tuple[int, int, int], seed: int, side: int = 768) -> Array:
    """(side, side, 3): a coloured square of tissue over the middle of white glass."""
    generator = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 245, np.uint8)
    middle = slice(side // 4, 3 * side // 4)
    noise = generator.integers(0, 25, (side // 2, side // 2, 3))
    pixels[middle, middle] = (np.array(colour) + noise).astype(np.uint8)
    return pixels
