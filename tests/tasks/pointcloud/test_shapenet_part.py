"""ShapeNetPart in its two layouts."""

import json
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import pytest
from box_shapes import cloud_of

from benchmark.catalog import load_task
from benchmark.findings import Finding
from benchmark.prepare import read_row
from benchmark.results import Result

PARTS = load_task("shapenet-part").card.target.classes
CATEGORIES = {name: list(ks) for name, ks in groupby(range(50), lambda k: PARTS[k].split("/")[0])}
SYNSETS = {"Airplane": "02691156", "Bag": "02773838", "Table": "04379243"}
SIZES = {"train": 6, "val": 2, "test": 3}
Findings = Callable[[str, Path], dict[str, Finding]]
Refused = Callable[[str, Path], str]


def shape(name: str, model: str, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and the part of each: slices along z."""
    cloud = cloud_of(name, model, points)
    rank = cloud[:, 2].argsort().argsort()
    own = CATEGORIES[name]
    return cloud, np.array(own)[rank * len(own) // points]


def models(split: str) -> list[tuple[str, str]]:
    return [(name, f"{split}{k}{name.lower()}") for k in range(SIZES[split]) for name in SYNSETS]


def write_text(root: Path) -> Path:
    folder = root / "shapenetcore_partanno_segmentation_benchmark_v0_normal"
    (folder / "train_test_split").mkdir(parents=True)
    table = "".join(f"{name}\t{synset}\n" for name, synset in SYNSETS.items())
    (folder / "synsetoffset2category.txt").write_text(table)
    for split in SIZES:
        names = []
        for number, (name, model) in enumerate(models(split)):
            names.append(f"shape_data/{SYNSETS[name]}/{model}")
            points, parts = shape(name, model, 80 + number)
            (folder / SYNSETS[name]).mkdir(exist_ok=True)
            rows = np.hstack([points, points, parts[:, None]])
            np.savetxt(folder / SYNSETS[name] / f"{model}.txt", rows, "%.6f")
        path = folder / "train_test_split" / f"shuffled_{split}_file_list.json"
        path.write_text(json.dumps(names[::-1]))
    return folder


def write_hdf5(root: Path) -> Path:
    folder = root / "hdf5_data"
    folder.mkdir(parents=True)
    for split in SIZES:
        shapes = [shape(name, model, 64) for name, model in models(split)]
        path = folder / f"ply_data_{split}0.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=np.stack([p for p, _ in shapes]), compression="gzip")
            file["label"] = np.zeros((len(shapes), 1), np.uint8)
            file["pid"] = np.stack([parts for _, parts in shapes]).astype(np.uint8)
        (folder / f"{split}_hdf5_file_list.txt").write_text(f"{path.name}\n")
    return folder


WRITERS = {"text": write_text, "hdf5": write_hdf5}


def test_classes_are_the_fifty_parts_in_the_order_of_the_labels() -> None:
    # the numbers that the published loaders give to the categories' parts
    assert CATEGORIES["Airplane"] == [0, 1, 2, 3]
    assert CATEGORIES["Earphone"] == [16, 17, 18]
    assert CATEGORIES["Motorbike"] == [30, 31, 32, 33, 34, 35]
    assert CATEGORIES["Table"] == [47, 48, 49]
    assert len(CATEGORIES) == 16


@pytest.mark.parametrize("layout", WRITERS)
def test_reads_points_with_their_parts(tmp_path: Path, layout: str, findings: Findings) -> None:
    WRITERS[layout](tmp_path)
    data = load_task("shapenet-part", tmp_path).load()
    assert {s: len(data[s]) for s in data} == {"train": 18, "validation": 6, "test": 9}
    ours = {
        tuple(cloud[k]): part
        for name, model in models("test")
        for size in (range(80, 90) if layout == "text" else [64])
        for cloud, parts in [shape(name, model, size)]
        for k, part in enumerate(parts)
    }
    for index in range(len(data["test"])):
        row = read_row(data["test"], index)
        points, parts = row["input"]["points"], row["target"]
        assert points.shape == (len(parts), 3)
        assert points.dtype == np.float32
        if layout == "hdf5":
            assert [ours[tuple(point)] for point in points] == parts.tolist()
        # in any order, so that the first points are any points: slices are all there
        assert len(set(parts[:40])) == len(set(parts))
        # each part is a slice along z
        order = points[:, 2].argsort(kind="stable")
        assert (np.diff(parts[order].astype(int)) >= 0).all()
    found = findings("shapenet-part", tmp_path)
    assert all(item.passed for item in found.values()), found
    if layout == "text":
        assert data["test"][0]["id"] == "04379243/test2table"


ENCODER = """
import torch

class Coordinates(torch.nn.Module):
    modality = "pointcloud"
    input = dict(points=64)

    def forward(self, points):
        return points.mean(1)

    def patches(self, points):
        return {"values": torch.cat([points, points**2], -1), "centres": points}
"""


@pytest.mark.parametrize("layout", WRITERS)
def test_evaluated_by_instance_miou(
    tmp_path: Path, layout: str, score: Callable[..., Result]
) -> None:
    WRITERS[layout](tmp_path)
    (tmp_path / "coordinates.py").write_text(ENCODER)
    result = score("shapenet-part", tmp_path, f"{tmp_path / 'coordinates.py'}:Coordinates")
    assert result.metric == "instance_miou"
    assert result.metrics["instance_miou"].value > 0.6
    assert set(result.per_class) == set(SYNSETS)
    assert result.counts["test"] == 9


def _text(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(change((folder / name).read_text()))

    return damage


def _array(key: str, change: Callable[[np.ndarray], np.ndarray] | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with h5py.File(folder / "ply_data_val0.h5", "r+") as file:
            values = file[key][()]
            del file[key]
            if change is not None:
                file[key] = change(values)

    return damage


SHAPE = "02773838/val1bag.txt"
VAL = "train_test_split/shuffled_val_file_list.json"
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("text", lambda folder: (folder / SHAPE).unlink(), r"val1bag\.txt is missing.*data fetch"),
    ("text", _text(SHAPE, lambda text: text[:-40]), r"val1bag\.txt cannot be read.*again"),
    ("text", _text(SHAPE, lambda text: ""), r"val1bag\.txt .*again"),
    ("text", _text(SHAPE, lambda text: "0 0 0\n" * 9), r"val1bag\.txt has 3 columns.*again"),
    ("text", _text(SHAPE, lambda text: text.replace("0 4.0", "0 50.0")), r"val1bag.*labels, one"),
    ("text", _text(SHAPE, lambda text: text.replace("0 4.0", "0 4.5")), r"val1bag.*labels, one"),
    (
        "text",
        _text(SHAPE, lambda text: text.replace("0 4.0", "0 6.0")),
        "parts of Bag and Cap: get",
    ),
    ("text", _text(SHAPE, lambda text: "nan" + text[8:]), r"val1bag\.txt .*again"),
    ("text", _text(VAL, lambda text: text[:-5]), r"shuffled_val_file_list\.json cannot.*again"),
    (
        "text",
        _text(VAL, lambda text: '{"a": 1}'),
        r"shuffled_val_file_list\.json is no list.*again",
    ),
    ("text", _text(VAL, lambda text: '["bag"]'), r"shuffled_val.* is no synset/model.*again"),
    ("text", _text(VAL, lambda text: "[]"), "the split 'validation' is empty"),
    ("text", _text(VAL, lambda text: text.replace("val0bag", "val1bag")), "stands twice"),
    ("text", _text(VAL, lambda text: text.replace("val0bag", "train0bag")), "'02773838/train0bag'"),
    ("text", _text("synsetoffset2category.txt", lambda text: text[:18]), "synset that .* not name"),
    ("text", _text("synsetoffset2category.txt", lambda text: text[:9]), "no category and synset"),
    (
        "hdf5",
        lambda folder: (folder / "ply_data_val0.h5").unlink(),
        r"ply_data_val0\.h5 is missing",
    ),
    ("hdf5", _array("pid", None), r"ply_data_val0\.h5 has no array 'pid'.*again"),
    ("hdf5", _array("pid", lambda pid: pid + 50), r"ply_data_val0\.h5.*labels, one of them"),
    ("hdf5", _array("pid", lambda pid: pid[:, :-1]), r"64 points and 63 part labels.*again"),
    ("hdf5", _array("data", lambda data: data * np.nan), r"ply_data_val0\.h5 holds NaN.*again"),
]


@pytest.mark.parametrize(("layout", "damage", "told"), DAMAGE)
def test_damage_is_told_with_file_and_remedy(
    tmp_path: Path, layout: str, damage: Callable[[Path], None], told: str, refused: Refused
) -> None:
    damage(WRITERS[layout](tmp_path))
    text = refused("shapenet-part", tmp_path)
    assert re.search(told, text), text
