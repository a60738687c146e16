"""BACH in its published layout, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import save, shorten, tile

from benchmark.catalog import load_task
from benchmark.prepare import read_row

PREFIXES = {"Benign": "b", "InSitu": "is", "Invasive": "iv", "Normal": "n"}
NUMBERS = (1, 2, 3, 39, 70, 45, 46, 58, 61, 68)


def make(root: Path) -> Path:
    place = root / "ICIAR2018_BACH_Challenge"
    for label, (name, prefix) in enumerate(PREFIXES.items()):
        for number in NUMBERS:
            path = place / "Photos" / name / f"{prefix}{number:03d}.tif"
            save(path, tile(label, number, 48, 64))
    (place / "WSI").mkdir()
    (place / "Photos/microscopy_ground_truth.csv").write_text("b001.tif,Benign\n")
    return place


def test_score(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    task = load_task("bach", tmp_path)
    data = task.load()
    assert set(data["test"]["id"]) == {
        *(
            "b045",
            "b046",
            "b058",
            "b061",
            "b068",
            "b070",
            "is045",
            "is046",
            "is058",
            "is061",
            "is068",
        ),
        *("iv045", "iv046", "iv058", "iv061", "iv068", "iv070", "n046", "n058", "n061", "n068"),
    }
    assert len(data["train"]) == 19
    stored = read_row(data["train"], 0)["input"]
    opened = task.materialise(stored)
    assert np.array_equal(opened["image"], tile(0, 1, 48, 64))
    assert all(finding.passed for finding in findings("bach", tmp_path).values())
    result = score("bach", tmp_path, "tissue-texture")
    assert result.metrics["balanced_accuracy"].value > 0.8


def test_all_official_numbers_are_split_as_in_eva(tmp_path: Path) -> None:
    """132 of 400 are tested."""
    for label, (name, prefix) in enumerate(PREFIXES.items()):
        for number in range(1, 101):
            save(
                tmp_path / "bach/Photos" / name / f"{prefix}{number:03d}.tif", tile(label, 1, 4, 4)
            )
    rows = list(load_task("bach", tmp_path).rows("test"))
    assert len(rows) == 132
    assert sum(row["tissue"] == 0 for row in rows) == 48


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shorten(p / "Photos/InSitu/is003.tif"), "is003.tif cannot be read"),
        (lambda p: (p / "Photos/InSitu").rename(p / "Photos/Other"), "'Other' is not one of the 4"),
        (lambda p: (p / "Photos/InSitu/is003.tif").rename(p / "Photos/InSitu/b003.tif"), "is001"),
        (lambda p: [t.unlink() for t in (p / "Photos/Normal").iterdir()], "Normal holds no image"),
        (lambda p: save(p / "Photos/InSitu/is0003.tif", tile(1, 3, 9, 9)) or
         (p / "Photos/InSitu/is0003.tif").rename(p / "Photos/InSitu/is003.png"), "both there"),
    ],
)  # fmt: skip
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("bach", tmp_path)


def test_photograph_that_vanished_after_preparation(tmp_path: Path) -> None:
    place = make(tmp_path)
    task = load_task("bach", tmp_path)
    stored = read_row(task.load()["train"], 0)["input"]
    (place / "Photos/Benign/b001.tif").unlink()
    with pytest.raises(Exception, match=r"b001.tif is missing: get the file again"):
        task.materialise(stored)


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch bach` downloads it" in refused("bach", tmp_path)
