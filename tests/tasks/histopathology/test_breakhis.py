"""BreakHis in its published layout, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_sets import save, shorten, tile

from benchmark.catalog import load_task

KINDS = {  # type: folder, patients (those of the test are published)
    "TA": ("B/tubular_adenoma", ("1", "2", "3", "4", "5", "15275")),
    "MC": ("M/mucinous_carcinoma", ("11", "12", "13", "14", "15", "16184CD")),
    "F": ("B/fibroadenoma", ("21", "22", "23", "24", "25AB", "21998EF")),
    "DC": ("M/ductal_carcinoma", ("31", "32", "33", "34", "35", "2773")),
    "PT": ("B/phyllodes_tumor", ("41",)),
}


def photograph(place: Path, kind: str, patient: str, number: int = 1, times: str = "40") -> Path:
    letter, folder = KINDS[kind][0].split("/")
    part = {"B": "benign", "M": "malignant"}[letter]
    slide = f"SOB_{letter}_{kind}_14-{patient}"
    name = f"SOB_{letter}_{kind}-14-{patient}-{times}-{number:03d}.png"
    return place / f"histology_slides/breast/{part}/SOB/{folder}/{slide}/{times}X/{name}"


def make(root: Path) -> Path:
    place = root / "BreaKHis_v1"
    for label, (kind, (_, patients)) in enumerate(KINDS.items()):
        for number, patient in enumerate(patients):
            for copy in (1, 2):
                pixels = tile(label, 10 * number + copy, 46, 70)
                save(photograph(place, kind, patient, copy), pixels)
            save(photograph(place, kind, patient, times="100"), tile(label, number, 46, 70))
    return place


@pytest.mark.parametrize("below", [False, True])
def test_score(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any], below: bool
) -> None:
    make(tmp_path / "breakhis" if below else tmp_path)
    data = load_task("breakhis", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 40, "test": 8}
    assert set(data["test"]["group"]) == {"15275", "16184CD", "21998EF", "2773"}
    assert all(finding.passed for finding in findings("breakhis", tmp_path).values())
    result = score("breakhis", tmp_path, "tissue-texture")
    assert result.metrics["balanced_accuracy"].value > 0.7


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shorten(photograph(p, "TA", "3")), "14-3-40-001.png cannot be read"),
        (lambda p: rename(p, "SOB_B_XX-14-3-40-001.png"), "SOB_B_XX-14-3-40-001.png: photographs"),
        (lambda p: rename(p, "img.png"), "img.png: photographs are named"),
        (lambda p: [x.unlink() for x in p.rglob("*.png") if of_the_test(x.name)],
         "'test' is empty"),
        (lambda p: save(p / "histology_slides/breast/benign/SOB/b/c/40X" /
                        photograph(p, "TA", "3").name, tile(0, 0, 9, 9)), "stands twice"),
    ],
)  # fmt: skip
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("breakhis", tmp_path)


def of_the_test(name: str) -> bool:
    return name.split("-")[2] in ("15275", "16184CD", "21998EF", "2773")


def rename(place: Path, name: str) -> None:
    path = photograph(place, "TA", "3")
    path.rename(path.with_name(name))


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch breakhis` downloads it" in refused("breakhis", tmp_path)
