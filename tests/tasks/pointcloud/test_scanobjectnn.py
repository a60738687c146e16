"""The three variants of ScanObjectNN."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from box_shapes import cloud_of

from benchmark.catalog import load_task
from benchmark.findings import Finding
from benchmark.prepare import read_row
from benchmark.results import Result
from tasks.pointcloud.scanobjectnn import neighbours

CLASSES = load_task("scanobjectnn-obj-bg").card.target.classes
FILES = {
    "scanobjectnn-obj-bg": ("main_split", "objectdataset"),
    "scanobjectnn-obj-only": ("main_split_nobg", "objectdataset"),
    "scanobjectnn-pb-t50-rs": ("main_split", "objectdataset_augmentedrot_scale75"),
}
SIZES = {"training": 6, "test": 2}  # objects a class
Findings = Callable[[str, Path], dict[str, Finding]]
Refused = Callable[[str, Path], str]


def write(root: Path, task: str, copies: int = 1) -> dict[str, Path]:
    """The files of a variant; the copies of an object follow one another."""
    folder, name = FILES[task]
    paths = {}
    for split, count in SIZES.items():
        objects = [(k, label) for k in range(count) for label in range(len(CLASSES))]
        rows = [(label, f"{split}{k}{copy}") for k, label in objects for copy in range(copies)]
        data = np.stack([cloud_of(CLASSES[label], shape, 96) for label, shape in rows])
        path = paths[split] = root / folder / f"{split}_{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=data, compression="gzip", chunks=(20, 32, 1))
            file["label"] = np.array([label for label, _ in rows], np.int32)
            file["mask"] = np.full(data.shape[:2], -1, np.int32)
    return paths


@pytest.mark.parametrize("folder", ["ScanObjectNN", "ScanObjectNN/h5_files", "h5_files", "."])
@pytest.mark.parametrize("task", FILES)
def test_reads_every_variant_where_the_archive_puts_it(
    tmp_path: Path, task: str, folder: str
) -> None:
    for other in FILES:  # the variants stand side by side
        write(tmp_path / folder, other, copies=2 if "pb" in other else 1)
    data = load_task(task, tmp_path).load()
    copies = 2 if "pb" in task else 1
    for split, stored in (("train", "training"), ("test", "test")):
        expected = [k % len(CLASSES) for k in range(SIZES[stored] * len(CLASSES))]
        assert data[split]["target"] == [label for label in expected for _ in range(copies)]
        assert len(set(data[split]["group"])) == len(expected)
    points = read_row(data["test"], 3)["input"]["points"]
    label, shape = (3, "test00") if copies == 1 else (1, "test01")
    np.testing.assert_array_equal(points, cloud_of(CLASSES[label], shape, 96))


def test_copies_of_an_object_stay_together() -> None:
    copies = np.repeat([4, 2, 2, 7, 4], [5, 3, 5, 1, 5])
    assert neighbours(copies) == [0] * 5 + [1] * 8 + [2] + [3] * 5
    shuffled = np.arange(200) % 15
    assert neighbours(shuffled) == list(range(200))
    by_class = np.repeat(np.arange(3), 60)
    assert np.bincount(neighbours(by_class)).tolist() == [25, 25, 10] * 3


@pytest.mark.long
def test_evaluated_with_the_classical_baseline(
    tmp_path: Path, score: Callable[..., Result], findings: Findings
) -> None:
    write(tmp_path / "ScanObjectNN", "scanobjectnn-pb-t50-rs", copies=2)
    result = score("scanobjectnn-pb-t50-rs", tmp_path, "shape-descriptors")
    assert result.metrics["accuracy"].value > 0.5
    assert result.counts["test"] == 4 * len(CLASSES)
    found = findings("scanobjectnn-pb-t50-rs", tmp_path)
    assert all(item.passed for item in found.values()), found


def test_the_authors_archive_is_fetched_and_read(
    tmp_path: Path, fetched: Callable[..., None], findings: Findings
) -> None:
    for task in FILES:
        write(tmp_path / "archive" / "h5_files", task, copies=2 if "pb" in task else 1)
    address = "https://hkust-vgd.ust.hk/scanobjectnn/h5_files.zip"
    for task in FILES:  # the second and third find what the first one brought
        fetched(task, {address: tmp_path / "archive"}, tmp_path / "new")
        assert all(item.passed for item in findings(task, tmp_path / "new").values())


def _changed(key: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            values = change(file[key][()])
            del file[key]
            file[key] = values

    return damage


def _without(key: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file[key]

    return damage


def _nan(data: np.ndarray) -> np.ndarray:
    data[70, 5, 1] = np.nan
    return data


DAMAGE: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.unlink(), r"lacks main_split/training_objectdataset\.h5.*data fetch"),
    (lambda path: path.write_bytes(path.read_bytes()[:-999]), "cannot be read.*again"),
    (lambda path: path.write_bytes(b""), "cannot be read.*again"),
    (_without("label"), "has no array 'label'.*again"),
    (_without("data"), "has no array 'data'.*again"),
    (_changed("label", lambda label: label + 1), "label 15 is not one of the 15 classes.*again"),
    (_changed("label", lambda label: label[:-1]), r"'label' has shape \(89,\).*again"),
    (_changed("data", lambda data: data[:, :, :2]), r"'data' has shape \(N, 96, 2\).*again"),
    (_changed("data", lambda data: data[:, :0]), "'data' has shape.*again"),
    (_changed("data", _nan), "holds NaN.*again"),
    (_changed("data", lambda data: data[:0]), "'label' has shape"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE)
def test_damage_is_told_with_file_and_remedy(
    tmp_path: Path, damage: Callable[[Path], object], told: str, refused: Refused
) -> None:
    path = write(tmp_path / "ScanObjectNN", "scanobjectnn-obj-bg")["training"]
    damage(path)
    text = refused("scanobjectnn-obj-bg", tmp_path)
    assert re.search(r"training_objectdataset\.h5", text), text
    assert re.search(told, text), text


def test_an_empty_split_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = write(tmp_path / "ScanObjectNN", "scanobjectnn-obj-bg")["test"]
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = np.zeros((0, 96, 3), np.float32), np.zeros(0, np.int32)
    assert "the split 'test' is empty" in refused("scanobjectnn-obj-bg", tmp_path)
