"""The layouts that ModelNet is published in.

========== =================================================================================
HDF5       `modelnet40_ply_hdf5_2048/`: `shape_names.txt` (one class a line), `train_files.txt`
           and `test_files.txt` (names of HDF5 files), `ply_data_*.h5` with `data` (N, 2048, 3)
           and `label` (N, 1), an index into the names. The layout of the published linear SVMs
resampled  `modelnet40_normal_resampled/`: `modelnet40_shape_names.txt`, `modelnet40_train.txt`
           and `modelnet40_test.txt` (`airplane_0001` a line; for ModelNet10 the same with
           `modelnet10_`), `airplane/airplane_0001.txt` with 10,000 lines x,y,z,nx,ny,nz. In place
           of the text files there may be what Point-BERT's authors publish,
           `modelnet40_train_8192pts_fps.dat`: a pickle of [clouds (P, 6), labels (1,)] in the
           order of the list
OFF        `ModelNet40/` and `ModelNet10/`: `airplane/train/airplane_0001.off` and `test/`,
           triangle meshes. 10,000 points are drawn evenly over the surface, seeded by the name
========== =================================================================================
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading
from tasks.pointcloud.hdf5_clouds import check_finite, labels_of, read_block, spans
from tasks.pointcloud.object_file_format import read_off
from tasks.pointcloud.restricted_pickle import load_arrays
from tasks.pointcloud.text_clouds import read_table
from tasks.pointcloud.wavefront import sample_surface

SAMPLED = 10_000  # points drawn from a mesh, as many as the resampled layout has
Row = dict[str, Any]
Cloud = tuple[str, str, NDArray[np.float32]]  # shape id, class, points (N, 3)
Wanted = Callable[[str], bool]  # whether a class belongs to the task


class Layout(Protocol):
    """One of the layouts."""

    def rows(self, split: str) -> Iterator[Row]:
        """What `clouds` needs to read one file or a part of it."""

    def clouds(self, row: Mapping[str, Any]) -> Iterator[Cloud]:
        """The shapes of one row."""


def layout_of(folder: Path, numbers: tuple[int, ...], wanted: Wanted) -> Layout:
    """The layout of a folder; `numbers` are those that its lists may carry (modelnet40_...)."""
    if (folder / "train_files.txt").is_file():
        return Hdf5(folder, wanted)
    lists = [Resampled(folder, f"modelnet{number}", wanted) for number in numbers]
    lists = [listed for listed in lists if (folder / f"{listed.prefix}_train.txt").is_file()]
    if lists:
        return next((listed for listed in lists if listed.has_clouds("train")), lists[0])
    return Meshes(folder, wanted)


def lines_of(path: Path) -> list[str]:
    """The lines of a list, stripped, without empty ones.

    Raises:
        DatasetError: it is missing or empty.
    """
    with reading(path):
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    if not any(lines):
        raise DatasetError(f"{path} is empty: get the file again")
    return [line for line in lines if line]


def class_name(names: list[str], index: int, where: object) -> str:
    """The class that a label stands for.

    Raises:
        DatasetError: none.
    """
    if not 0 <= index < len(names):
        raise DatasetError(
            f"{where}: the label {index} is not one of the {len(names)} classes of the list of "
            "shape names: get the files again, unchanged"
        )
    return names[index]


class Hdf5:
    """Blocks of shapes in HDF5 files; the paths in the lists are those of their maker's machine,
    only the file names count."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.folder, self.wanted = folder, wanted

    def rows(self, split: str) -> Iterator[Row]:
        names = lines_of(self.folder / "shape_names.txt")
        for line in lines_of(self.folder / f"{split}_files.txt"):
            path = self.folder / line.replace("\\", "/").rpartition("/")[2]
            classes = [class_name(names, label, path) for label in labels_of(path).tolist()]
            for start, stop in spans(len(classes)):
                if any(map(self.wanted, classes[start:stop])):
                    yield {"_file": path, "_start": start, "_classes": classes[start:stop]}

    def clouds(self, row: Mapping[str, Any]) -> Iterator[Cloud]:
        path, start, classes = row["_file"], row["_start"], row["_classes"]
        (points,) = read_block(path, start, start + len(classes))
        for place, (name, cloud) in enumerate(zip(classes, points, strict=True), start):
            if self.wanted(name):
                yield f"{path.stem}-{place:04d}", name, cloud


class Resampled:
    """A text file per shape, or one pickle per split."""

    def __init__(self, folder: Path, prefix: str, wanted: Wanted) -> None:
        self.folder, self.prefix, self.wanted = folder, prefix, wanted

    def rows(self, split: str) -> Iterator[Row]:
        shapes = lines_of(self.folder / f"{self.prefix}_{split}.txt")
        packed = self._packed(split)
        if packed is not None and not self._in_text(shapes):
            yield {"_file": packed, "_shapes": shapes}
            return
        for shape in shapes:
            if self.wanted(_class_of(shape)):
                path = self.folder / _class_of(shape) / f"{shape}.txt"
                yield {"_file": path, "_shapes": [shape]}

    def has_clouds(self, split: str) -> bool:
        """Whether there are more than the lists."""
        shapes = lines_of(self.folder / f"{self.prefix}_{split}.txt")
        return self._in_text(shapes) or self._packed(split) is not None

    def _in_text(self, shapes: list[str]) -> bool:
        return (self.folder / _class_of(shapes[0])).is_dir()

    def _packed(self, split: str) -> Path | None:
        """The pickle with the most points."""
        pattern = re.compile(rf"{self.prefix}_{split}_(\d+)pts(?:_fps)?\.dat")
        found = [(int(m[1]), p) for p in self.folder.iterdir() if (m := pattern.fullmatch(p.name))]
        return max(found)[1] if found else None

    def clouds(self, row: Mapping[str, Any]) -> Iterator[Cloud]:
        path, shapes = row["_file"], row["_shapes"]
        if path.suffix == ".dat":
            yield from self._unpacked(path, shapes)
            return
        table = read_table(path, {6: "x, y, z and a normal", 3: "x, y, z"}, ",")
        (shape,) = shapes
        yield shape, _class_of(shape), np.ascontiguousarray(table[:, :3])

    def _unpacked(self, path: Path, shapes: list[str]) -> Iterator[Cloud]:
        names = lines_of(self.folder / f"{self.prefix}_shape_names.txt")
        content = load_arrays(path)
        if not isinstance(content, list | tuple) or len(content) < 2:
            raise DatasetError(f"{path} holds no clouds and labels: get the file again")
        clouds, labels = content[0], content[1]
        if not len(clouds) == len(labels) == len(shapes):
            raise DatasetError(
                f"{path} holds {len(clouds)} clouds and {len(labels)} labels for the {len(shapes)} "
                "shapes of the list: get both again, unchanged"
            )
        for shape, cloud, label in zip(shapes, clouds, labels, strict=True):
            name = class_name(names, int(np.asarray(label).item()), f"{path}: {shape}")
            if name != _class_of(shape):
                raise DatasetError(
                    f"{path} calls {shape} a {name}: it is not in the order of the list; get both "
                    "again, unchanged"
                )
            if self.wanted(name):
                yield shape, name, check_finite(xyz(cloud, path), path)


def xyz(cloud: Any, where: object) -> NDArray[np.float32]:
    """The coordinates (P, 3) of a cloud (P, 3) or, with normals, (P, 6).

    Raises:
        DatasetError: it has another shape.
    """
    if not isinstance(cloud, np.ndarray) or cloud.ndim != 2 or cloud.shape[1] not in (3, 6):
        found = f"shape {cloud.shape}" if isinstance(cloud, np.ndarray) else type(cloud).__name__
        raise DatasetError(
            f"{where}: a cloud has {found}, expected (points, 3) or with normals (points, 6): get "
            "the file again, unchanged"
        )
    return np.ascontiguousarray(cloud[:, :3], np.float32)


class Meshes:
    """A triangle mesh per shape, listed by folder: the layout has no index."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.folder, self.wanted = folder, wanted

    def rows(self, split: str) -> Iterator[Row]:
        for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            meshes = [p for p in sorted((folder / split).glob("*.off")) if p.name[0] != "."]
            if meshes and self.wanted(folder.name):
                yield from ({"_file": path, "_class": folder.name} for path in meshes)

    def clouds(self, row: Mapping[str, Any]) -> Iterator[Cloud]:
        path: Path = row["_file"]
        with reading(path):
            triangles = read_off(path.read_text(encoding="ascii", errors="replace"), str(path))
        rng = np.random.default_rng(zlib.crc32(path.stem.encode()))
        # encoders take the first points: they have to be any points
        points = rng.permutation(sample_surface(triangles, SAMPLED, rng))
        yield path.stem, row["_class"], points.astype(np.float32)


def _class_of(shape: str) -> str:
    """`night_stand` of `night_stand_0001`."""
    return shape.rpartition("_")[0]
