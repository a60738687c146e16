"""Nuclei in simulated H&E tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tasks.histopathology.he_sim import SimulatedTiles, draw_tiles
from tasks.histopathology.nuclei import MPP
from tasks.histopathology.optics import draw_slide
from tasks.histopathology.tissues import TISSUES

CELLULAR = tuple(name for name in TISSUES if name != "adipose")


class HeSimNuclei(SimulatedTiles):
    """Masks of nuclei, three tiles per slide; label column `nuclei`."""

    source = "he-sim-nuclei"
    stream = 1
    slides: ClassVar[Mapping[str, int]] = {"train": 34, "validation": 10, "test": 16}

    def slide(
        self, split: str, number: int, rng: np.random.Generator
    ) -> Iterator[Mapping[str, Any]]:
        """Yield 3 tiles of different tissues."""
        slide = draw_slide(rng)
        names = rng.choice(CELLULAR, 3, replace=False)
        images, masks = draw_tiles(split, [str(name) for name in names], slide, rng)
        for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
            yield {
                "id": f"slide{number:03d}-{i}",
                "group": f"slide{number:03d}",
                "input": {"image": image, "mpp": MPP},
                "nuclei": mask.astype(np.uint8),
            }
