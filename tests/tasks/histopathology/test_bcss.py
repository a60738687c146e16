"""BCSS in its published layout, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import save, shorten

from benchmark.catalog import load_task
from benchmark.prepare import read_rows

COLOURS = np.array(
    [(255, 255, 255), (90, 40, 150), (230, 150, 190), (40, 30, 90), (200, 60, 60), (240, 220, 120)],
    np.uint8,
)
CODES = (0, 1, 2, 3, 4, 9)  # outside, tumor, stroma, lymphocytes, necrosis, fat
SLIDES = (
    *("AR-A0U4", "AR-A1AR", "AO-A0J2", "D8-A1JG", "A2-A0YM"),  # training
    *("A1-A0SK", "BH-A0B3"),  # validation
    *("OL-A5D6", "EW-A1OV"),  # test
)


def region(slide: str) -> str:
    return f"TCGA-{slide}-DX1_xmin45749_ymin25055_MPP-0.2500.png"


def make(root: Path, images: str = "rgbs_colorNormalized") -> Path:
    """Regions of 640 x 600 pixels in squares of 80; the last rows and columns are outside."""
    place = root / "0_Public-data-Amgad2019_0.25MPP"
    for seed, slide in enumerate(SLIDES):
        generator = np.random.default_rng(seed)
        squares = generator.integers(1, 6, (8, 8))
        squares[-1], squares[:, -1] = 0, 0
        kinds = squares.repeat(80, 0).repeat(80, 1)[:640, :600]
        noise = generator.integers(-10, 10, (640, 600, 3))
        pixels = (COLOURS[kinds].astype(int) + noise).clip(0, 255).astype(np.uint8)
        save(place / images / region(slide), pixels)
        save(place / "masks" / region(slide), np.array(CODES, np.uint8)[kinds])
    (place / "meta").mkdir()
    (place / "meta/gtruth_codes.tsv").write_text("label\tGT_code\noutside_roi\t0\n")
    return place


@pytest.mark.parametrize("images", ["rgbs_colorNormalized", "images"])
def test_score(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any], images: str
) -> None:
    make(tmp_path, images)
    data = load_task("bcss", tmp_path).load()
    assert {name: len(rows) for name, rows in data.items()} == {
        "train": 20, "validation": 8, "test": 8,
    }  # fmt: skip
    assert set(data["test"]["group"]) == {"TCGA-OL-A5D6", "TCGA-EW-A1OV"}
    for row in read_rows(data["train"], range(4)):
        image, mask = row["input"]["image"], row["target"]
        assert image.shape == (224, 224, 3)
        assert mask.shape == (224, 224)
        assert set(np.unique(mask)) <= {0, 1, 2, 3, 4, 255}
        for label in np.unique(mask[mask != 255]):  # mask and image are in step
            inner = image[mask == label].mean(0)
            assert np.abs(inner - COLOURS[label + 1].astype(int)).max() < 12
    assert all(finding.passed for finding in findings("bcss", tmp_path).values())
    if images == "images":
        assert score("bcss", tmp_path, "tissue-texture").metrics["dice"].value > 0.7


MASK = f"masks/{region('AO-A0J2')}"
IMAGE = f"rgbs_colorNormalized/{region('AO-A0J2')}"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / MASK).unlink(), f"{MASK} is missing"),
        (lambda p: (p / IMAGE).unlink(), f"{IMAGE} is missing"),
        (lambda p: shorten(p / IMAGE), f"{region('AO-A0J2')} cannot be read"),
        (lambda p: shorten(p / MASK), f"{MASK} cannot be read"),
        (lambda p: save(p / MASK, np.full((640, 600), 22, np.uint8)), "codes are 0 to 21"),
        (lambda p: save(p / MASK, np.ones((64, 60), np.uint8)), "64 x 60 pixels, its image 640"),
        (lambda p: save(p / MASK, np.ones((640, 600, 3), np.uint8)), "not class numbers"),
        (lambda p: [(p / part).rename(p / f"{part.split('/')[0]}/a.png") for part in (MASK, IMAGE)],
         "a.png: regions are named"),
        (lambda p: [x.unlink() for s in SLIDES[-2:] for x in p.rglob(region(s))],
         "'test' is empty"),
    ],
)  # fmt: skip
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("bcss", tmp_path)


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch bcss` says how" in refused("bcss", tmp_path)
