"""Whole slides: where tissue is, which tiles it has at a resolution, and a tile's pixels.

Slides are pyramids of up to 200,000 x 100,000 pixels. Nothing here holds more than a band of one
level in memory: the tissue is found on a coarse level, tiles are read one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading
from tasks.histopathology.image_files import AGAIN

if TYPE_CHECKING:
    from openslide import OpenSlide

MASK_MPP = 8.0  # micrometres per pixel of the tissue mask
BAND = 16 << 20  # pixels of a level that are read at once
LEAST_SATURATION = 18  # of 255: 0.07, below which PatchCamelyon calls a tile background
ALL_TISSUE = 0.95  # share of coloured pixels of a slide without glass
TIFF_ENDINGS = (".tif", ".tiff", ".svs")


@dataclass(frozen=True)
class Grid:
    """Tiles of `side` pixels at `mpp` micrometres per pixel, with `tissue` (a share) in each."""

    side: int = 224
    mpp: float = 0.25
    tissue: float = 0.35


@contextmanager
def opened_slide(path: Path) -> Iterator[OpenSlide]:
    """A slide, closed again afterwards.

    Raises:
        DatasetError: missing, damaged, cut short or of no known format.
    """
    from openslide import OpenSlide

    if not path.is_file():
        raise DatasetError(f"{path} is missing: get the dataset again")
    with reading(path, AGAIN):
        _check_extent(path)
        slide = OpenSlide(path)
    try:
        with reading(path, AGAIN):
            yield slide
    finally:
        slide.close()


def _check_extent(path: Path) -> None:
    """Every tile that a TIFF's directories name has to lie within the file, which its reader would
    only find out when it comes to that tile."""
    if path.suffix.lower() not in TIFF_ENDINGS:
        return
    from tifffile import TiffFile

    with TiffFile(path) as file:
        ends = [
            offset + count
            for page in file.pages
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    if max(ends, default=0) > path.stat().st_size:
        raise ValueError("the file ends before its last tile")


def resolution(slide: OpenSlide, path: Path) -> float:
    """Micrometres per pixel of the finest level.

    Raises:
        DatasetError: the slide does not say, or not the same along both axes.
    """
    stated = [slide.properties.get(f"openslide.mpp-{axis}") for axis in "xy"]
    values = [float(value) if value else 0.0 for value in stated]
    if not 0.01 < min(values) <= max(values) < 1.1 * min(values):
        raise DatasetError(
            f"{path} states no resolution in micrometres per pixel (x {stated[0]}, y {stated[1]}): "
            f"{AGAIN}"
        )
    return sum(values) / 2


def _pixels(slide: OpenSlide, place: tuple[int, int], level: int, size: tuple[int, int]) -> Any:
    """A region as an RGB image; what the scanner left out is white."""
    from PIL import Image

    region = slide.read_region(place, level, size)
    white = Image.new("RGB", region.size, (255, 255, 255))
    white.paste(region, mask=region.getchannel("A"))
    return white


def saturation_map(slide: OpenSlide, mpp: float) -> NDArray[np.uint8]:
    """HSV saturation (H, W) at about `MASK_MPP`, of a slide whose finest level has `mpp`."""
    level = slide.get_best_level_for_downsample(max(MASK_MPP / mpp, 1.0))
    width, height = slide.level_dimensions[level]
    shrink = max(1, round(MASK_MPP / (mpp * slide.level_downsamples[level])))
    rows = max(shrink, BAND // max(width, 1) // shrink * shrink)
    bands = []
    for top in range(0, height, rows):
        place = (0, round(top * slide.level_downsamples[level]))
        band = _pixels(slide, place, level, (width, min(rows, height - top))).reduce(shrink)
        bands.append(np.asarray(band.convert("HSV"))[..., 1])
        del band
    found: NDArray[np.uint8] = np.concatenate(bands)
    return found


def tissue_mask(saturation: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where tissue is: saturation above Otsu's threshold, and above that of background.

    A picture without glass has no two classes to part, all of it is tissue.
    """
    from skimage.filters import threshold_otsu

    coloured: NDArray[np.bool_] = saturation > LEAST_SATURATION
    if coloured.mean() > ALL_TISSUE or not coloured.any():
        return coloured
    mask: NDArray[np.bool_] = coloured & (saturation > threshold_otsu(saturation))
    return mask


def tile_places(path: Path, grid: Grid) -> tuple[NDArray[np.int64], int, str]:
    """Tiles with tissue: (N, 2) x and y of their corners in pixels of the finest level, the pixels
    of that level that a tile spans, and a hash by which another slide is told.

    The tiles form a grid without overlap; those that reach over the edge are left out. The hash is
    of the file's size, its first MiB and the saturation map: a slide need not be read whole.

    Raises:
        DatasetError: damaged, without resolution or without tissue.
    """
    with opened_slide(path) as slide:
        mpp = resolution(slide, path)
        width, height = slide.dimensions
        saturation = saturation_map(slide, mpp)
    span = round(grid.side * grid.mpp / mpp)
    mask = tissue_mask(saturation)
    # sums over rectangles of the mask from its integral image
    total = np.pad(mask.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    down, across = mask.shape[0] / height, mask.shape[1] / width
    ys, xs = (np.arange(0, size - span + 1, span) for size in (height, width))
    top, left = np.floor(ys * down).astype(int), np.floor(xs * across).astype(int)
    bottom = np.clip(np.ceil((ys + span) * down).astype(int), top + 1, mask.shape[0])
    right = np.clip(np.ceil((xs + span) * across).astype(int), left + 1, mask.shape[1])
    inside = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(top, right)]
        - total[np.ix_(bottom, left)]
        + total[np.ix_(top, left)]
    )
    share = inside / np.outer(bottom - top, right - left)
    rows, columns = np.nonzero(share >= grid.tissue)
    if not len(rows):
        raise DatasetError(
            f"{path} shows no tissue: no tile of {grid.side} pixels at {grid.mpp} micrometres per "
            f"pixel is coloured: {AGAIN}"
        )
    digest = hashlib.sha256(str(path.stat().st_size).encode() + saturation.tobytes())
    with path.open("rb") as file:
        digest.update(file.read(1 << 20))
    return np.stack([xs[columns], ys[rows]], 1), span, digest.hexdigest()


@lru_cache(maxsize=1)
def _kept_open(path: Path, changed: int) -> OpenSlide:
    """The slide that tiles were last read from: they come slide by slide."""
    from openslide import OpenSlide

    return OpenSlide(path)


def read_tile(path: Path, x: int, y: int, span: int, side: int) -> NDArray[np.uint8]:
    """The (side, side, 3) pixels of a tile, resampled from the nearest finer level.

    Raises:
        DatasetError: the slide is missing or damaged there.
    """
    from PIL import Image

    with reading(path, AGAIN):
        slide = _kept_open(path, path.stat().st_mtime_ns)
        level = slide.get_best_level_for_downsample(span / side * 1.01)
        size = max(1, round(span / slide.level_downsamples[level]))
        pixels = _pixels(slide, (x, y), level, (size, size))
        if size != side:
            pixels = pixels.resize((side, side), Image.Resampling.BICUBIC)
        return np.asarray(pixels)
