"""Simulated H&E slides as bags of tiles, with tumour in a few of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tasks.histopathology.he_sim import SEED, SimulatedTiles, draw_tiles
from tasks.histopathology.nuclei import MPP
from tasks.histopathology.optics import draw_slide
from tasks.histopathology.tissues import BENIGN

TUMOURS = ("tumour-low-grade", "tumour-high-grade")
NORMAL = (*BENIGN, "normal-gland")


class HeSimSlides(SimulatedTiles):
    """Bags of 8 tiles, half of them with two or three tumour tiles; label column `tumour`."""

    source = "he-sim-slides"
    stream = 2
    slides: ClassVar[Mapping[str, int]] = {"train": 104, "validation": 26, "test": 60}
    tiles = 8

    def slide(
        self, split: str, number: int, rng: np.random.Generator
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the slide's tiles; slides 2k and 2k + 1 belong to patient k, one has a tumour."""
        with_tumour = int(np.random.default_rng([SEED, 8, number // 2]).integers(2))
        label = int(number % 2 == with_tumour)
        slide = draw_slide(rng)
        names = [str(name) for name in rng.choice(NORMAL, self.tiles)]
        count = int(rng.integers(2, 4)) if label else 0
        for place in rng.choice(self.tiles, count, replace=False):
            names[place] = str(rng.choice(TUMOURS))
        images, _ = draw_tiles(split, names, slide, rng)
        for i, image in enumerate(images):
            yield {
                "id": f"slide{number:03d}-{i:02d}",
                "group": f"patient{number // 2:03d}",
                "bag": f"slide{number:03d}",
                "input": {"image": image, "mpp": MPP},
                "tumour": label,
            }
