"""What the tasks on simulated H&E share: a random stream per slide, one set of pieces per split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.task import SPLITS, Task
from tasks.histopathology.nuclei import build_bank
from tasks.histopathology.optics import Slide, scan
from tasks.histopathology.textures import build_textures
from tasks.histopathology.tissues import Pieces, tile

SEED = 20_010_823
TILE = 96  # pixels


@cache
def _pieces(split: str) -> Pieces:
    """Textures and nuclei of one split: no stamp and no texture occurs in two splits."""
    rng = np.random.default_rng([SEED, SPLITS.index(split)])
    textures = build_textures(rng)
    return Pieces(textures, build_bank(rng, textures), TILE)


class SimulatedTiles(Task):
    """Base: `slides` per split, one random stream per slide."""

    slides: ClassVar[Mapping[str, int]]
    stream: ClassVar[int]  # distinguishes the random streams of the sources

    def files(self) -> list[Path]:
        """The generator's modules: a change in one prepares the tiles anew."""
        names = ("optics", "textures", "nuclei", "glands", "tissues")
        return [Path(__file__).with_name(f"{name}.py") for name in names]

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        """Yield the split's tiles, slide by slide."""
        first = sum(self.slides[name] for name in SPLITS[: SPLITS.index(split)])
        for number in range(first, first + self.slides[split]):
            rng = np.random.default_rng([SEED, 7, self.stream, number])
            yield from self.slide(split, number, rng)

    def slide(
        self, split: str, number: int, rng: np.random.Generator
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the tiles of one slide."""
        raise NotImplementedError


def draw_tiles(
    split: str, tissues: Sequence[str], slide: Slide, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(N, TILE, TILE, 3) uint8 pixels and (N, TILE, TILE) masks of one slide's tiles."""
    drawn = [tile(rng, _pieces(split), name, slide.calibre) for name in tissues]
    stains = np.stack([d[0] for d in drawn]).astype(np.float32)
    return scan(stains, slide, rng), np.stack([d[1] for d in drawn])
