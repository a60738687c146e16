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


def write_aperio(path: Path, pixels: Array, mpp: float) -> None:
    """A slide as Aperio's scanners write it: tiled levels, of which the second stands behind a
    striped thumbnail, and the resolution in the text of the image description."""
    import tifffile

    size = f"{pixels.shape[1]}x{pixels.shape[0]}"
    head = f"Aperio Image Library v12.0.15\r\n{size} [0,0 {size}] (64x64)"
    tiled: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"}
    striped: dict[str, Any] = {"rowsperstrip": 16, "compression": "zlib"}
    with tifffile.TiffWriter(path) as file:
        for step, told, layout in (
            (1, f"{head} JPEG/RGB Q=70|AppMag = 20|MPP = {mpp:.4f}", tiled),
            (8, f"{head} -> thumbnail", striped),
            (4, f"{head} -> level", tiled),
        ):
            file.write(
                np.ascontiguousarray(pixels[::step, ::step]),
                photometric="rgb",
                description=told,
                metadata=None,
                **layout,
            )


def tissue(colour: tuple[int, int, int], seed: int, side: int = 768) -> Array:
    """(side, side, 3): a coloured square of tissue over the middle of white glass."""
    generator = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 245, np.uint8)
    middle = slice(side // 4, 3 * side // 4)
    noise = generator.integers(0, 25, (side // 2, side // 2, 3))
    pixels[middle, middle] = (np.array(colour) + noise).astype(np.uint8)
    return pixels
