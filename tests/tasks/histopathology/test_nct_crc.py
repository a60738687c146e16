"""NCT-CRC-HE in its published layout, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_sets import save, shorten, tile

from benchmark.catalog import load_task, task_card

TRAIN = "NCT-CRC-HE-100K"


def make(root: Path, train: str = TRAIN) -> Path:
    for label, name in enumerate(task_card("nct-crc").target.classes):
        for number in range(5):
            save(root / train / name / f"{name}-A{number}.tif", tile(label, number, 224, 224))
        for number in range(2):
            path = root / "CRC-VAL-HE-7K" / name / f"{name}-TCGA-A{number}.tif"
            save(path, tile(label, 9 + number, 224, 224))
    (root / "__MACOSX").mkdir()
    (root / train / "ADI/._ADI-A0.tif").write_bytes(b"\0\5\x16\7")
    return root


@pytest.mark.parametrize(
    ("name", "train"), [("nct-crc", TRAIN), ("nct-crc-nonorm", f"{TRAIN}-NONORM")]
)
def test_score(
    tmp_path: Path,
    score: Callable[..., Any],
    findings: Callable[..., Any],
    name: str,
    train: str,
) -> None:
    make(tmp_path, train)
    data = load_task(name, tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 45, "test": 18}
    assert all(finding.passed for finding in findings(name, tmp_path).values())
    found = score(name, tmp_path, "tissue-texture", "knn")
    assert found.metrics["balanced_accuracy"].value > 0.7


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shorten(p / TRAIN / "ADI/ADI-A3.tif"), "ADI-A3.tif cannot be read"),
        (lambda p: save(p / TRAIN / "ADI/ADI-A3.tif", tile(0, 0, 224, 99)), "224 x 99 pixels"),
        (lambda p: (p / TRAIN / "ADI").rename(p / TRAIN / "FAT"), "'FAT' is not one of the 9"),
        (lambda p: [t.unlink() for t in (p / TRAIN / "TUM").iterdir()], "TUM holds no image"),
        (lambda p: (p / "CRC-VAL-HE-7K").rename(p / "test"), "lacks CRC-VAL-HE-7K/*/*.tif"),
        (lambda p: save(p / TRAIN / "DEB/ADI-A3.tif", tile(0, 0, 224, 224)), "stands twice"),
    ],
)
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("nct-crc", tmp_path)


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch nct-crc` downloads it" in refused("nct-crc", tmp_path)
