"""ModelNet40 and ModelNet10 in their three layouts."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from box_shapes import box, cloud_of, sides_of

from benchmark.catalog import load_task
from benchmark.errors import DatasetError
from benchmark.findings import Finding
from benchmark.prepare import read_row
from benchmark.results import Result
from tasks.pointcloud.object_file_format import read_off

CLASSES = load_task("modelnet40").card.target.classes
TEN = load_task("modelnet10").card.target.classes
TRAIN, TEST, POINTS = 6, 3, 96


def shapes_of(names: tuple[str, ...], split: str) -> list[tuple[str, str]]:
    """(class, shape) in no order of classes; numbers go on from training to test."""
    first, count = (1, TRAIN) if split == "train" else (TRAIN + 1, TEST)
    return [(name, f"{name}_{first + k:04d}") for k in range(count) for name in names]


def write_hdf5(root: Path, names: tuple[str, ...]) -> Path:
    folder = root / "modelnet40_ply_hdf5_2048"
    folder.mkdir(parents=True)
    (folder / "shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    for split in ("train", "test"):
        shapes, files = shapes_of(names, split), []
        for number, part in enumerate((shapes[::2], shapes[1::2])):
            files.append(f"data/modelnet40_ply_hdf5_2048/ply_data_{split}{number}.h5")
            labels = np.array([[CLASSES.index(name)] for name, _ in part], np.uint8)
            data = np.stack([cloud_of(*shape, POINTS) for shape in part])
            with h5py.File(folder / f"ply_data_{split}{number}.h5", "w") as file:
                file.create_dataset("data", data=data, compression="gzip")
                file.create_dataset("label", data=labels)
                file["normal"] = np.zeros_like(data)
        (folder / f"{split}_files.txt").write_text("\n".join(files) + "\n")
    return folder


def write_text(root: Path, names: tuple[str, ...]) -> Path:
    folder = root / "modelnet40_normal_resampled"
    for number, kept in ((40, names), (10, tuple(n for n in names if n in TEN))):
        for split in ("train", "test"):
            for name, shape in shapes_of(kept, split):
                (folder / name).mkdir(parents=True, exist_ok=True)
                table = np.hstack([cloud_of(name, shape, POINTS)] * 2)
                np.savetxt(folder / name / f"{shape}.txt", table, "%.6f", delimiter=",")
            listed = [shape for _, shape in shapes_of(kept, split)]
            (folder / f"modelnet{number}_{split}.txt").write_text("\r\n".join(listed) + "\r\n")
        known = CLASSES if number == 40 else TEN
        (folder / f"modelnet{number}_shape_names.txt").write_text("\n".join(known) + "\n")
    return folder


def write_pickles(root: Path, names: tuple[str, ...]) -> Path:
    folder = write_text(root, names)
    for split in ("train", "test"):
        shapes = shapes_of(names, split)
        clouds = [np.hstack([cloud_of(*shape, POINTS)] * 2) for shape in shapes]
        labels = [np.array([CLASSES.index(name)], np.int32) for name, _ in shapes]
        for points in (64, POINTS):
            content = [[cloud[:points] for cloud in clouds], labels]
            path = folder / f"modelnet40_{split}_{points}pts_fps.dat"
            path.write_bytes(pickle.dumps(content))
    for name in names:
        shutil.rmtree(folder / name)
    return folder


def write_meshes(root: Path, names: tuple[str, ...], title: str = "ModelNet40") -> Path:
    for split in ("train", "test"):
        for name, shape in shapes_of(names, split):
            path = root / title / name / split / f"{shape}.off"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(box(*sides_of(name, shape), joined="1" in shape))
    (root / title / "README.txt").write_text("about the data")
    (root / title / names[0] / "train" / "._hidden.off").write_text("not a mesh")
    return root / title


WRITERS = {
    "hdf5": write_hdf5,
    "text": write_text,
    "pickles": write_pickles,
    "meshes": write_meshes,
}
SOME = (*TEN, "airplane", "tv_stand")
Findings = Callable[[str, Path], dict[str, Finding]]
Refused = Callable[[str, Path], str]


@pytest.mark.parametrize("layout", WRITERS)
def test_every_layout_gives_the_shapes_of_both_tasks(tmp_path: Path, layout: str) -> None:
    WRITERS[layout](tmp_path, SOME)
    for task, names in (("modelnet40", SOME), ("modelnet10", TEN)):
        data = load_task(task, tmp_path).load()
        known = load_task(task).card.target.classes
        for split in ("train", "test"):
            labels = [known[label] for label in data[split]["target"]]
            assert sorted(labels) == sorted(name for name, _ in shapes_of(names, split))
            ids = data[split]["id"]
            assert data[split]["group"] == ids
            if layout != "hdf5":
                assert set(ids) == {shape for _, shape in shapes_of(names, split)}
        if layout != "meshes":
            row = next(
                r for r in (read_row(data["train"], i) for i in range(99)) if r["target"] == 1
            )
            name = known[1]
            ours = [
                cloud_of(name, shape, POINTS) for n, shape in shapes_of(names, "train") if n == name
            ]
            points = row["input"]["points"]
            assert points.dtype == np.float32
            assert min(np.abs(points - cloud).max() for cloud in ours) < 1e-5


@pytest.mark.parametrize("layout", ["hdf5", "text"])
def test_evaluated_with_the_classical_baseline(
    tmp_path: Path, layout: str, score: Callable[..., Result], findings: Findings
) -> None:
    WRITERS[layout](tmp_path, TEN)
    result = score("modelnet10", tmp_path, "shape-descriptors")
    assert result.metric == "accuracy"
    assert result.metrics["accuracy"].value > 0.5
    assert result.counts["test"] == TEST * len(TEN)
    found = findings("modelnet10", tmp_path)
    assert all(item.passed for item in found.values()), found


def test_meshes_are_sampled_evenly_and_the_same_every_time(tmp_path: Path) -> None:
    write_meshes(tmp_path, ("bed", "chair"), "ModelNet10")
    task = load_task("modelnet10", tmp_path)
    first, again = (next(iter(task.examples("train"))) for _ in range(2))
    points = first["input"]["points"]
    np.testing.assert_array_equal(points, again["input"]["points"])
    assert points.shape == (10_000, 3)
    sides = np.array(sides_of("bed", "bed_0001"))
    np.testing.assert_allclose(np.ptp(points, 0), sides, rtol=0.01)
    areas = np.array([sides[1] * sides[2], sides[0] * sides[2], sides[0] * sides[1]])
    for axis, share in enumerate(areas / areas.sum()):
        # any thousand points, not only all of them, cover the surface
        on_faces = np.isclose(np.abs(points[:1000, axis]), sides[axis] / 2)
        assert on_faces.mean() == pytest.approx(share, abs=0.06)


def test_off_with_all_that_the_format_allows() -> None:
    plain = "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n"
    for text in (
        plain.replace("OFF\n", "OFF"),
        plain.replace("OFF\n", "OFF "),
        plain.replace("\n", "\r\n"),
        "# made by hand\n" + plain.replace("0 0 0\n1", "0 0 0 # corner\n\n1"),
        plain.replace("4 2 0", "4 1 4").replace("3 0 1 2\n3 0 2 3\n", "4 0 1 2 3 255 0 0\n"),
        plain.replace("4 2 0", "4 3 0").replace("3 0 1 2", "3 0 0 1\n3 0 1 2"),
        plain.replace("OFF", "COFF").replace("0 0 0\n1", "0 0 0 9 9 9 255\n1"),
    ):
        np.testing.assert_array_equal(read_off(text, "x.off"), read_off(plain, "x.off"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "does not begin with OFF"),
        ("ply\n", "does not begin with OFF"),
        ("OFF\n", "no sound OFF file"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n", "announces 3 vertices and 1 faces but has only 2 lines"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1\n3 0 1 2\n", "fewer than 3 coordinates"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 z\n3 0 1 2\n", "no sound OFF file"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 nan\n3 0 1 2\n", "NaN"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "vertex that does not exist"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n", "names 2"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "no face has an area"),
    ],
)
def test_damaged_off_is_refused(text: str, problem: str) -> None:
    with pytest.raises(DatasetError, match=problem) as caught:
        read_off(text, "chair_0001.off")
    assert "chair_0001.off" in str(caught.value)
    assert "get the file again" in str(caught.value)


def _hdf5(change: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "ply_data_train1.h5"
        if change == "missing":
            path.unlink()
        elif change == "truncated":
            path.write_bytes(path.read_bytes()[:-2000])
        else:
            with h5py.File(path, "r+") as file:
                data = file["data"][()]
                if change == "no label":
                    del file["label"]
                elif change == "label":
                    file["label"][0] = 40
                elif change == "fewer labels":
                    del file["label"]
                    file["label"] = np.zeros((2, 1), np.uint8)
                else:
                    del file["data"]
                    data[1, 2, 0] = np.nan
                    file["data"] = data if change == "nan" else data[:, :, :2]

    return damage


def _lines(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_text("\n".join(change(path.read_text().split())) + "\n")

    return damage


def _pickle(change: Callable[[list[list[np.ndarray]]], object]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / f"modelnet40_test_{POINTS}pts_fps.dat"
        content = pickle.loads(path.read_bytes())
        path.write_bytes(pickle.dumps(change(content)))

    return damage


LIST = "modelnet40_test.txt"
DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("hdf5", _hdf5("missing"), r"ply_data_train1\.h5 is missing.*get the file again"),
    ("hdf5", _hdf5("truncated"), r"ply_data_train1\.h5 cannot be read.*get the file again"),
    ("hdf5", _hdf5("no label"), r"ply_data_train1\.h5 has no array 'label'.*again"),
    ("hdf5", _hdf5("fewer labels"), r"ply_data_train1\.h5: 'label' has shape .*again"),
    ("hdf5", _hdf5("label"), r"ply_data_train1\.h5: the label 40 is not one of the 40.*again"),
    ("hdf5", _hdf5("shape"), r"ply_data_train1\.h5: 'data' has shape.*x, y, z.*again"),
    ("hdf5", _hdf5("nan"), r"ply_data_train1\.h5 holds NaN.*again"),
    ("hdf5", _lines("test_files.txt", lambda x: []), r"test_files\.txt is empty.*again"),
    ("hdf5", _lines("test_files.txt", lambda x: x * 2), r"stands twice"),
    (
        "hdf5",
        _lines("shape_names.txt", lambda x: [n.replace("bed", "UFO") for n in x]),
        r"'UFO' is not one of the 40",
    ),
    ("hdf5", lambda folder: (folder / "shape_names.txt").unlink(), r"shape_names.*data fetch"),
    ("text", lambda folder: (folder / "bed/bed_0007.txt").unlink(), r"bed_0007\.txt is missing"),
    ("text", _lines("bed/bed_0007.txt", lambda x: [*x[:-1], "1,2"]), r"bed_0007\.txt cannot be"),
    ("text", _lines("bed/bed_0007.txt", lambda x: ["1,2"] * 9), r"bed_0007\.txt has 2 columns"),
    ("text", _lines("bed/bed_0007.txt", lambda x: ["1,2,nan"]), r"bed_0007\.txt holds NaN"),
    ("text", _lines(LIST, lambda x: [*x, "bed_0001"]), r"'bed_0001' stands twice|in two|is in"),
    ("text", _lines(LIST, lambda x: [*x, "ufo_0001"]), r"ufo_0001\.txt is missing"),
    ("pickles", _pickle(lambda x: [x[0][:-1], x[1]]), r"\.dat holds 23 clouds and 24 labels"),
    ("pickles", _pickle(lambda x: [x[0], x[1][::-1]]), r"\.dat calls .* not in the order"),
    ("pickles", _pickle(lambda x: [[a[:, :2] for a in x[0]], x[1]]), r"\.dat: a cloud has shape"),
    ("pickles", _pickle(lambda x: 3), r"\.dat holds no clouds and labels"),
    ("pickles", _pickle(lambda x: [x[0], [Path("/")] * 24]), r"\.dat: it names pathlib"),
    ("meshes", lambda folder: (folder / "bed/test/bed_0007.off").write_text("OFF\n"), "bed_0007"),
    ("meshes", lambda folder: shutil.copytree(folder / "bed", folder / "ufo"), "'ufo' is not one"),
    (
        "meshes",
        lambda folder: shutil.copy(folder / "bed/test/bed_0007.off", folder / "bed/train"),
        "'bed_0007' stands twice",
    ),
]


@pytest.mark.parametrize(("layout", "damage", "told"), DAMAGE)
def test_damage_is_told_with_file_and_remedy(
    tmp_path: Path, layout: str, damage: Callable[[Path], object], told: str, refused: Refused
) -> None:
    folder = WRITERS[layout](tmp_path, TEN[:8])
    damage(folder)
    text = refused("modelnet40", tmp_path)
    assert re.search(told, text), text


def test_a_missing_dataset_is_told_with_the_remedy(tmp_path: Path, refused: Refused) -> None:
    text = refused("modelnet40", tmp_path)
    assert "modelnet40_ply_hdf5_2048" in text
    assert "ssl-bench data fetch modelnet40" in text
