"""CAMELYON16 in its published layouts, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_sets import shorten
from slide_files import tissue, write_slide

from benchmark.catalog import load_task
from benchmark.prepare import read_row

COLOURS = {"normal": (190, 120, 160), "tumor": (90, 50, 160)}


def make(root: Path, bucket: bool = False) -> Path:
    place, lines = root / "CAMELYON16", []
    for kind, colour in COLOURS.items():
        for number in range(1, 7):
            folder = "images" if bucket else f"training/{kind}"
            path = place / folder / f"{kind}_{number:03d}.tif"
            write_slide(path, tissue(colour, 10 * number + len(kind), 1024))
    for number in range(1, 7):
        kind = ("normal", "tumor")[number % 2]
        lines.append(f"test_{number:03d},{kind.capitalize()},None,Macro")
        path = place / ("images" if bucket else "testing/images") / f"test_{number:03d}.tif"
        write_slide(path, tissue(COLOURS[kind], 100 + number, 1024))
    lines.append("test_114,Normal,None,None")  # withdrawn, and absent from many copies
    reference = place / ("evaluation" if bucket else "testing") / "reference.csv"
    reference.parent.mkdir(exist_ok=True)
    reference.write_bytes(("\r\n".join(lines) + "\r\n").encode())
    write_slide(place / "masks/tumor_001_mask.tif", tissue((255, 255, 255), 0, 256))
    return place


@pytest.mark.long
@pytest.mark.parametrize("bucket", [False, True])
def test_slides_are_bags(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any], bucket: bool
) -> None:
    make(tmp_path, bucket)
    task = load_task("camelyon16", tmp_path)
    data = task.load()
    assert len(set(data["train"]["bag"])) == 12
    assert dict(zip(data["test"]["bag"], data["test"]["target"], strict=True)) == {
        f"test_{number:03d}": number % 2 for number in range(1, 7)
    }
    tile = task.materialise(read_row(data["test"], 0)["input"])
    assert tile["image"].shape == (224, 224, 3)
    assert tile["mpp"] == 0.25
    assert all(finding.passed for finding in findings("camelyon16", tmp_path).values())
    if not bucket:
        found = score("camelyon16", tmp_path, "tissue-texture")
        assert found.metrics["macro_auroc"].value > 0.9


def test_a_draw_of_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setattr("tasks.histopathology.camelyon16.Camelyon16Small.most", 3)
    task = load_task("camelyon16-small", tmp_path)
    drawn = [dict(row["input"]) for row in task.examples("test")]
    assert len(drawn) == 6 * 3
    assert drawn == [dict(row["input"]) for row in task.examples("test")]


TRAINING, TESTING = "training/tumor/tumor_002.tif", "testing/images/test_003.tif"


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shorten(p / TRAINING), "tumor_002.tif cannot be read"),
        (lambda p: write_slide(p / TRAINING, tissue((90, 50, 160), 0), None), "no resolution"),
        (lambda p: (p / TRAINING).rename(p / "training/tumor/a.tif"), "a.tif: slides are named"),
        (lambda p: (p / TESTING).unlink(), "test_003.tif that"),
        (lambda p: (p / TESTING).rename(p / "testing/images/test_009.tif"), "test_003.tif that"),
        (lambda p: change(p, "test_003,Tumor", "test_002,Tumor"), "does not name"),
        (lambda p: change(p, "test_003,Tumor", "test_003,Lesion"), "'lesion' is not one of the 2"),
        (lambda p: change(p, "test_003,Tumor,None,Macro", "test_003"), "ends before its column"),
        (lambda p: (p / "testing/reference.csv").unlink(), "lacks testing/reference.csv"),
    ],
)
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("camelyon16", tmp_path)


def change(place: Path, old: str, new: str) -> None:
    path = place / "testing/reference.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch camelyon16` downloads it" in refused("camelyon16", tmp_path)
