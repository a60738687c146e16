"""Data Science Bowl 2018: the real stained images, and generated ones with every kind of damage."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark.catalog import load_task
from benchmark.prepare import read_rows
from tasks.histopathology.dealt_folds import fold_of

NAMES = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(30)]


def save(pixels: np.ndarray[Any, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make(root: Path) -> Path:
    """Squares of 8 x 8 as nuclei; every fifth image is grey, as those of fluorescence are."""
    place = root / "dsb2018/stage1_train"
    generator = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        image = np.full((64, 80, 4), (220, 170, 200, 255), np.uint8)
        image[..., :3] += generator.integers(0, 20, (64, 80, 3)).astype(np.uint8)
        places = generator.choice(80, 1 + number % 12, replace=False)
        for k, where in enumerate(places):
            y, x = 8 * (where // 10), 8 * (where % 10)
            image[y : y + 8, x : x + 8, :3] = (70, 30, 130)
            mask = np.zeros((64, 80), np.uint8)
            mask[y : y + 8, x : x + 8] = 255
            save(mask, place / name / f"masks/{k:064x}.png")
        if number % 5 == 0:
            image[..., :3] = image[..., :1]
        save(image, place / name / f"images/{name}.png")
    return place


@pytest.mark.long
def test_three_targets(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    splits = load_task("dsb2018-count", tmp_path).load()
    assert sum(map(len, splits.values())) == 24
    density = load_task("dsb2018-density", tmp_path).load()
    for name, data in splits.items():
        shares = list(read_rows(density[name], range(len(data))))
        for row, share in zip(read_rows(data, range(len(data))), shares, strict=True):
            number = 1 + NAMES.index(row["id"]) % 12
            assert row["target"] == pytest.approx(number / 0.512)
            assert share["target"] == pytest.approx(number / 80)
            assert row["input"]["image"].shape == (64, 80, 3)
            assert fold_of(row["id"], 5) == name
    assert score("dsb2018-nuclei", tmp_path, "tissue-texture").metrics["dice"].value > 0.6
    assert all(finding.passed for finding in findings("dsb2018-nuclei", tmp_path).values())


IMAGE, MASK = f"{NAMES[1]}/images/{NAMES[1]}.png", f"{NAMES[1]}/masks/{0:064x}.png"


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / IMAGE).unlink(), f"{NAMES[1]}.png is missing"),
        (lambda p: shorten(p / IMAGE), f"{NAMES[1]}.png cannot be read"),
        (lambda p: shorten(p / MASK), f"{0:064x}.png cannot be read"),
        (lambda p: [m.unlink() for m in (p / MASK).parent.iterdir()], "holds no mask"),
        (lambda p: save(np.zeros((64, 80), np.uint8), p / MASK), "marks no nucleus"),
        (lambda p: save(np.ones((8, 8), np.uint8), p / MASK), "8 x 8 pixels, its image 64 x 80"),
        (lambda p: save(np.ones((64, 80, 3), np.uint8), p / MASK), "mode RGB, not class numbers"),
        (lambda p: save(np.ones((64, 80), np.uint16), p / IMAGE), "not of 8 bits a channel"),
    ],
)
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("dsb2018-nuclei", tmp_path)


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch dsb2018-count" in refused("dsb2018-count", tmp_path)


@pytest.mark.long
@pytest.mark.shared_data
def test_real(shared_data: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    found = findings("dsb2018-nuclei", shared_data)
    assert all(finding.passed for finding in found.values())
    values = {
        name: score(f"dsb2018-{name}", shared_data, "tissue-texture").metrics[metric].value
        for name, metric in (("nuclei", "dice"), ("count", "r2"), ("density", "r2"))
    }
    assert 0.65 < values["nuclei"] < 0.77
    assert 0.75 < values["count"] < 0.92
    assert 0.65 < values["density"] < 0.88
