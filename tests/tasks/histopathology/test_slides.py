"""Tissue, tiles and their pixels of small slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_sets import shorten
from slide_files import tissue, write_aperio, write_slide

from benchmark.errors import DatasetError
from tasks.histopathology.slides import Grid, opened_slide, read_tile, tile_places, tissue_mask

GRID = Grid(side=64)


def test_only_tissue_is_tiled(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path, tissue((180, 60, 140), 0))
    places, span, _ = tile_places(path, GRID)
    assert span == 64
    # the tissue spans 192 to 576
    assert {tuple(place) for place in places.tolist()} == {
        (x, y) for x in range(192, 576, 64) for y in range(192, 576, 64)
    }


@pytest.mark.parametrize("mpp", [0.125, 0.243, 0.25, 0.5])
def test_tiles_have_the_resolution_asked_for(tmp_path: Path, mpp: float) -> None:
    """A gradient of one grey level per micrometre."""
    path = tmp_path / "slide.tif"
    size = round(96 / mpp)
    ramp = (np.arange(size) * mpp).astype(np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp, 40, 120), -1).astype(np.uint8)
    write_slide(path, np.broadcast_to(pixels, (size, size, 3)), mpp)
    places, span, _ = tile_places(path, GRID)
    assert span == round(16 / mpp)  # 64 pixels of 0.25 micrometres
    x, y = places[len(places) // 2].tolist()
    tile = read_tile(path, x, y, span, 64)
    assert tile.shape == (64, 64, 3)
    assert tile[:, -1, 0].mean() - tile[:, 0, 0].mean() == pytest.approx(16, abs=2)
    assert tile[0, 0, 0] == pytest.approx(x * mpp, abs=2)


def test_another_slide_has_another_hash(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1), ("c", 0)):
        write_slide(tmp_path / f"{name}.tif", tissue((180, 60, 140), seed))
    digests = [tile_places(tmp_path / f"{name}.tif", GRID)[2] for name in "abc"]
    assert digests[0] == digests[2] != digests[1]


def test_white_and_grey_are_background() -> None:
    grey = np.random.default_rng(0).integers(0, 10, (50, 60)).astype(np.uint8)
    assert not tissue_mask(grey).any()
    assert not tissue_mask(np.zeros((5, 5), np.uint8)).any()
    assert tissue_mask(grey + 120).all()  # a slide without glass


def test_damaged_slides_are_told(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with pytest.raises(DatasetError, match=r"slide.tif is missing: get"):
        tile_places(path, GRID)
    write_slide(path, tissue((180, 60, 140), 0), mpp=None)
    with pytest.raises(DatasetError, match=r"slide.tif states no resolution"):
        tile_places(path, GRID)
    write_slide(path, np.full((300, 300, 3), 240, np.uint8))
    with pytest.raises(DatasetError, match=r"slide.tif shows no tissue"):
        tile_places(path, GRID)
    write_slide(path, tissue((180, 60, 140), 0))
    shorten(path)
    with pytest.raises(DatasetError, match=r"slide.tif cannot be read"):
        tile_places(path, GRID)
    path.write_bytes(b"not a slide")
    with pytest.raises(DatasetError, match=r"slide.tif cannot be read"):
        tile_places(path, GRID)


def test_a_slide_of_an_aperio_scanner(tmp_path: Path) -> None:
    """Its resolution stands in a text, and one of its pictures is no level."""
    path = tmp_path / "slide.svs"
    pixels = tissue((180, 60, 140), 0)
    write_aperio(path, pixels, 0.499)
    with opened_slide(path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.level_dimensions == ((768, 768), (192, 192))
        assert "thumbnail" in slide.associated_images
    places, span, _ = tile_places(path, GRID)
    assert span == 32  # 64 pixels of 0.25 micrometres
    assert {tuple(place) for place in places.tolist()} == {
        (x, y) for x in range(192, 576, 32) for y in range(192, 576, 32)
    }
    tile = read_tile(path, *places[0].tolist(), span, 64)
    assert tile.shape == (64, 64, 3)
    assert tile[::2, ::2].mean() == pytest.approx(pixels[192:224, 192:224].mean(), abs=2)
