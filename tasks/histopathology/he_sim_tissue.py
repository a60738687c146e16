"""Tissue type of simulated H&E tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from tasks.histopathology.he_sim import SimulatedTiles, draw_tiles
from tasks.histopathology.nuclei import MPP
from tasks.histopathology.optics import draw_slide


class HeSimTissue(SimulatedTiles):
    """Tiles of eight tissues, three of each per slide; label column `tissue`."""

    source = "he-sim-tissue"
    stream = 0
    slides: ClassVar[Mapping[str, int]] = {"train": 28, "validation": 8, "test": 12}

    def slide(
        self, split: str, number: int, rng: np.random.Generator
    ) -> Iterator[Mapping[str, Any]]:
        """Yield 24 tiles."""
        names = list(self.card.target.classes)
        labels = np.repeat(np.arange(len(names)), 3)
        slide = draw_slide(rng)
        images, _ = draw_tiles(split, [names[label] for label in labels], slide, rng)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield {
                "id": f"slide{number:03d}-{i:02d}",
                "group": f"slide{number:03d}",
                "input": {"image": image, "mpp": MPP},
                "tissue": int(label),
            }
