"""LC25000 in its published layout, generated, with every kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_sets import save, shorten, tile
from PIL import Image

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.histopathology.dealt_folds import fold_of
from tasks.histopathology.lc25000 import GROUPS, LIST

STEMS = {
    "colon_image_sets/colon_aca": "colonca",
    "colon_image_sets/colon_n": "colonn",
    "lung_image_sets/lung_aca": "lungaca",
    "lung_image_sets/lung_n": "lungn",
    "lung_image_sets/lung_scc": "lungscc",
}
TILES = [3, 6, 7, 10, 12, 14]  # of every class, two files each


def make(root: Path, groups: bool = True) -> Path:
    place = root / "lc25000"
    lines = ["stem,filename,label,tissue,local_cluster_label,group_id"]
    for label, (folder, stem) in enumerate(STEMS.items()):
        for number in TILES:
            pixels = tile(label, number, 768, 768)
            for turned in (0, 1):
                name = f"{stem}{2 * number + turned}"
                path = place / "lung_colon_image_set" / folder / f"{name}.jpeg"
                save(path, np.ascontiguousarray(np.rot90(pixels, turned)))
                kind = Path(folder).name
                lines.append(f"{name},{name}.jpeg,{kind},x,{number},{100 * label + number}")
    if groups:
        (place / "lc25000_image_groups.csv").write_text("\n".join(lines) + "\n")
    return place


@pytest.mark.long
def test_score(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    task = load_task("lc25000", tmp_path)
    data = task.load()
    for name, rows in data.items():
        assert all(fold_of(group, 5) == name for group in rows["group"])
    assert sum(len(rows) for rows in data.values()) == 60
    assert len({group for rows in data.values() for group in rows["group"]}) == 30
    opened = task.materialise(read_row(data["fold-1"], 0)["input"])
    assert opened["image"].shape == (768, 768, 3)
    assert findings("lc25000", tmp_path)["groups"].passed
    result = score("lc25000", tmp_path, "tissue-texture")
    assert result.metrics["balanced_accuracy"].value > 0.8


def test_images_and_list_are_fetched(
    tmp_path: Path, fetched: Callable[..., None], findings: Callable[..., Any]
) -> None:
    copy = make(tmp_path)
    groups = (copy / GROUPS).read_bytes()
    (copy / GROUPS).unlink()
    images = "andrewmvd/lung-and-colon-cancer-histopathological-images"
    files = {f"https://www.kaggle.com/api/v1/datasets/download/{images}": copy, LIST: groups}
    fetched("lc25000", files, tmp_path / "new")
    found = findings("lc25000", tmp_path / "new")["groups"]
    assert found.passed
    assert (tmp_path / "new" / "lc25000" / GROUPS).read_bytes() == groups


def test_without_the_list_every_file_is_a_group(tmp_path: Path) -> None:
    make(tmp_path, groups=False)
    task = load_task("lc25000", tmp_path)
    groups = [row["group"] for split in task.splits for row in task.rows(split)]
    assert len(groups) == len(set(groups)) == 60


LUNG = "lung_colon_image_set/lung_image_sets"


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: shorten(p / LUNG / "lung_n/lungn7.jpeg"), "lungn7.jpeg cannot be read"),
        (lambda p: Image.new("RGB", (9, 768)).save(p / LUNG / "lung_n/lungn7.jpeg"), "768 x 9"),
        (lambda p: (p / LUNG / "lung_n").rename(p / LUNG / "normal"), "lacks **/lung_n/*.jp*g"),
        (lambda p: change(p, "group_id", "cluster"), "no column 'group_id'"),
        (lambda p: change(p, "lungn7.jpeg", "lungn9.jpeg"), "does not list"),
        (lambda p: (p / LUNG / "lung_n/lungn7.jpeg").rename(p / LUNG / "lung_scc/lungn6.jpeg"),
         "stands twice"),
    ],
)  # fmt: skip
def test_damage(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[Path], Any], message: str
) -> None:
    damage(make(tmp_path))
    assert message in refused("lc25000", tmp_path)


def change(place: Path, old: str, new: str) -> None:
    path = place / "lc25000_image_groups.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
