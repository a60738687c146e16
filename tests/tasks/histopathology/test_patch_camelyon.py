"""PatchCamelyon in its published layout, generated, with every kind of damage."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from image_sets import shorten, tile

from benchmark.catalog import load_task

META = "coord_y,coord_x,tumor_patch,center_tumor_patch,wsi"
SIZES = {"train": 300, "valid": 20, "test": 24}


def make(root: Path, packed: bool = False, meta: bool = True) -> Path:
    place = root / "pcam"
    place.mkdir()
    for number, (part, size) in enumerate(SIZES.items()):
        stem = f"camelyonpatch_level_2_split_{part}"
        tiles = np.stack([tile(i % 2, 1000 * number + i, 96, 96) for i in range(size)])
        with h5py.File(place / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=tiles, chunks=(16, 96, 96, 3), compression="gzip")
        labels = (np.arange(size) % 2).astype(np.uint8).reshape(-1, 1, 1, 1)
        with h5py.File(place / f"{stem}_y.h5", "w") as file:
            file.create_dataset("y", data=labels)
        if packed:
            for what in "xy":
                path = place / f"{stem}_{what}.h5"
                (place / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
                path.unlink()
        if meta:
            lines = [f"{i},{i},True,False,camelyon16_{part}_{i // 4:03d}" for i in range(size)]
            (place / f"{stem}_meta.csv").write_text("\n".join([META, *lines]) + "\n")
    return place


@pytest.mark.long
@pytest.mark.parametrize("packed", [False, True])
def test_score(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any], packed: bool
) -> None:
    make(tmp_path, packed)
    data = load_task("patch-camelyon", tmp_path).load()
    assert [len(rows) for rows in data.values()] == list(SIZES.values())
    assert data["train"]["id"][257] == "train-257"
    assert data["train"]["group"][257] == "camelyon16_train_064"
    assert all(finding.passed for finding in findings("patch-camelyon", tmp_path).values())
    found = score("patch-camelyon", tmp_path, "tissue-texture", "knn")
    assert found.metrics["balanced_accuracy"].value > 0.9


def test_without_the_slides(tmp_path: Path) -> None:
    make(tmp_path, meta=False)
    data = load_task("patch-camelyon", tmp_path).load()
    assert len(set(data["test"]["group"])) == 24


def rewrite(path: Path, key: str, data: Any) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=data)


STEM = "camelyonpatch_level_2_split"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: (p / f"{STEM}_valid_x.h5").unlink(), "lacks camelyonpatch_level_2_split_valid"),
        (lambda p: shorten(p / f"{STEM}_train_x.h5"), "train_x.h5 cannot be read"),
        (lambda p: rewrite(p / f"{STEM}_test_x.h5", "images", [1]), "test_x.h5 cannot be read"),
        (lambda p: rewrite(p / f"{STEM}_test_x.h5", "x", np.zeros((24, 96, 96, 3))), "float64"),
        (lambda p: rewrite(p / f"{STEM}_test_y.h5", "y", np.zeros((23, 1, 1, 1))), "23 labels"),
        (lambda p: rewrite(p / f"{STEM}_test_y.h5", "y", np.full((24, 1, 1, 1), 2)), "0 and 1"),
        (lambda p: change(p, "wsi", "slide"), "no column 'wsi'"),
        (lambda p: change(p, "camelyon16_test_001", "camelyon16_train_001"), "is in train and in"),
        (lambda p: change(p, "23,23,True,False,camelyon16_test_005\n", ""), "23 rows"),
    ],
)  # fmt: skip
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("patch-camelyon", tmp_path)


def change(place: Path, old: str, new: str) -> None:
    path = place / f"{STEM}_test_meta.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_damaged_archive(tmp_path: Path, refused: Callable[..., str]) -> None:
    shorten(make(tmp_path, packed=True) / f"{STEM}_train_x.h5.gz")
    assert "train_x.h5.gz is empty or ends too early: get the file again" in refused(
        "patch-camelyon", tmp_path
    )
