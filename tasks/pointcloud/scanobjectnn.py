"""ScanObjectNN: objects cut from scans of rooms, three of its variants (see the cards).

Uy, Pham, Hua, Nguyen, Yeung, Revisiting point cloud classification, ICCV 2019. Layout of the
published `h5_files`: `main_split/` (objects with their background) and `main_split_nobg/`, in each
`training_objectdataset.h5` and `test_objectdataset.h5`, and with the suffix
`_augmentedrot_scale75` the variant PB_T50_RS: boxes shifted by up to half their size, rotated and
scaled, up to five copies an object. `data` (N, 2048, 3), `label` (N,), `mask` (N, 2048), -1 where a
point is background (not used). The split is the authors' main split, by object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.task import Task
from tasks.pointcloud.hdf5_clouds import labels_of, read_block, spans

FOLDERS = ("ScanObjectNN", "h5_files", "scanobjectnn_h5_files")
FILES = {"train": "training_objectdataset", "test": "test_objectdataset"}
TERMS = "fill in the form of the terms of use at https://hkust-vgd.github.io/scanobjectnn/"
APPLY = (
    "download h5_files.zip from https://hkust-vgd.github.io/scanobjectnn/ and unpack it in a "
    "folder ScanObjectNN, so that there is ScanObjectNN/h5_files/main_split or "
    "ScanObjectNN/main_split"
)
# both as in arthurdjn/pytorch-pointcloud, src/torch_pointcloud/datasets/scanobjectnn.py
ARCHIVE = Download(
    "https://hkust-vgd.ust.hk/scanobjectnn/h5_files.zip", md5="36876af479f9ad39abad5ebcd89038dd"
)
COPIES = 5  # of one object in the perturbed variants, at most
RUN = 5 * COPIES


def published(folder: str, suffix: str = "") -> Distribution:
    """Where the files of a variant are."""
    names = [f"{folder}/{stem}{suffix}.h5" for stem in FILES.values()]
    layout = tuple(f"{name}|h5_files/{name}" for name in names)
    return Distribution(FOLDERS, layout, (ARCHIVE,), apply=APPLY, terms=TERMS)


def neighbours(labels: NDArray[np.int64]) -> list[int]:
    """A group number per row: neighbours of one class share one, at most 25 of them.

    The files do not say which rows are copies of one object. Where copies stand together, this
    keeps nearly all of them together; where rows are shuffled, it groups few and costs nothing.
    """
    groups: list[int] = []
    size = 0
    for row, label in enumerate(labels):
        alone = row == 0 or label != labels[row - 1] or size == RUN
        size = 1 if alone else size + 1
        groups.append((groups[-1] if groups else -1) + alone)
    return groups


class ObjectsWithBackground(Task):
    """OBJ_BG: one row an object."""

    source: ClassVar[str] = "scanobjectnn-obj-bg"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    distribution = published("main_split")
    perturbed: ClassVar[bool] = False

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        path = self._file(split)
        labels = labels_of(path)
        classes = len(self.card.target.classes)
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise DatasetError(
                f"{path}: the label {wrong[0]} is not one of the {classes} classes 0 to "
                f"{classes - 1}: get the file again, unchanged"
            )
        groups = neighbours(labels) if self.perturbed else list(range(len(labels)))
        for start, stop in spans(len(labels)):
            block = slice(start, stop)
            keys = {"_classes": labels[block].tolist(), "_groups": groups[block]}
            yield {"_file": path, "_split": split, "_start": start, **keys}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        start, stop = row["_start"], row["_start"] + len(row["_classes"])
        (points,) = read_block(row["_file"], start, stop)
        examples = zip(range(start, stop), row["_classes"], row["_groups"], points, strict=True)
        for place, label, group, cloud in examples:
            yield {
                "id": f"{row['_split']}-{place:05d}",
                "group": f"{row['_split']}-{group:05d}",
                "class": label,
                "input": {"points": cloud},
            }

    def _file(self, split: str) -> Path:
        assert self.distribution is not None
        pattern = self.distribution.layout[list(FILES).index(split)]
        plain, packed = (self.folder / choice for choice in pattern.split("|"))
        return plain if plain.exists() else packed


class Objects(ObjectsWithBackground):
    """OBJ_ONLY: the same objects without background."""

    source: ClassVar[str] = "scanobjectnn-obj-only"
    distribution = published("main_split_nobg")


class PerturbedObjects(ObjectsWithBackground):
    """PB_T50_RS: the hardest variant."""

    source: ClassVar[str] = "scanobjectnn-pb-t50-rs"
    distribution = published("main_split", "_augmentedrot_scale75")
    perturbed: ClassVar[bool] = True
