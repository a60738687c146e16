"""MHIST in its published layout, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_sets import save, shorten, tile

from benchmark.catalog import load_task

HEADER = "Image Name,Majority Vote Label,Number of Annotators who Selected SSA (Out of 7),Partition"


def make(root: Path) -> Path:
    place, lines = root / "MHIST", [HEADER]
    for number in range(24):
        label, name = number % 2, f"MHIST_a{chr(97 + number)}.png"
        lines.append(
            f"{name},{('HP', 'SSA')[label]},{2 + 3 * label},{'test' if number > 15 else 'train'}"
        )
        save(place / "images" / name, tile(label, number, 224, 224))
    (place / "annotations.csv").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    return place


def test_score(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("mhist", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 16, "test": 8}
    assert list(data["test"]["target"]) == [0, 1] * 4
    assert all(finding.passed for finding in findings("mhist", tmp_path).values())
    result = score("mhist", tmp_path, "tissue-texture")
    assert result.metrics["balanced_accuracy"].value > 0.9


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("Partition", "Split"), "no column 'Partition'"),
        (lambda text: text.replace("b.png,SSA", "b.png,TA"), "'TA' is not one of the 2 classes"),
        (lambda text: text.replace("5,train", "5,valid", 1),
         "'valid' is not train or test"),
        (lambda text: text.replace("MHIST_ac.png", "MHIST_aa.png"), "MHIST_aa"),
        (lambda text: text.replace("MHIST_ac.png", "MHIST_zz.png"), "MHIST_zz.png is missing"),
        (lambda text: text.replace(",test", ",train"), "'test' is empty"),
        (lambda text: text + "MHIST_zz.png,HP", "ends before its column 'Partition'"),
    ],
)  # fmt: skip
def test_damaged_index(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[str], str], message: str
) -> None:
    index = make(tmp_path) / "annotations.csv"
    index.write_text(damage(index.read_text(encoding="utf-8-sig")))
    assert message in refused("mhist", tmp_path)


def test_damaged_tile(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = make(tmp_path) / "images/MHIST_ac.png"
    shorten(path)
    assert "MHIST_ac.png cannot be read" in refused("mhist", tmp_path)
    save(path, tile(0, 0, 224, 223))
    assert "MHIST_ac.png has 224 x 223 pixels, not 224 x 224" in refused("mhist", tmp_path)


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch mhist` says how" in refused("mhist", tmp_path)
