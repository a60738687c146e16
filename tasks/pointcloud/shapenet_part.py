"""ShapeNetPart: 50 parts of 16 categories of CAD models, labelled point by point (see the card).

Yi, Kim, Ceylan, Shen, Yan, Su, Lu, Huang, Sheffer, Guibas, A scalable active framework for region
annotation in 3D shape collections, SIGGRAPH Asia 2016. Either of two layouts, both with the
authors' split:

`shapenetcore_partanno_segmentation_benchmark_v0_normal/`: `synsetoffset2category.txt` (category and
synset a line), `train_test_split/shuffled_{train,val,test}_file_list.json` (a list of
`shape_data/<synset>/<model>`), `<synset>/<model>.txt` with x y z nx ny nz part a line, the part
being 0 to 49 over all categories.

`hdf5_data/` (PointNet's): `{train,val,test}_hdf5_file_list.txt`, `ply_data_*.h5` with `data`
(N, 2048, 3), `label` (N, 1) and `pid` (N, 2048), the same 0 to 49.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task
from tasks.pointcloud.hdf5_clouds import labels_of, read_block, spans
from tasks.pointcloud.modelnet_files import lines_of
from tasks.pointcloud.text_clouds import read_table

LISTS = {"train": "train", "validation": "val", "test": "test"}


class ShapeNetPart(Task):
    """Part labels; the points of a shape are put in a seeded random order, because encoders take
    the first of them and the convention is a random draw."""

    source: ClassVar[str] = "shapenet-part"
    distribution = Distribution(
        folders=(
            "shapenetcore_partanno_segmentation_benchmark_v0_normal",
            "shapenet_part_seg_hdf5_data",
            "hdf5_data",
            "ShapeNetPart",
        ),
        layout=(
            "train_test_split/shuffled_train_file_list.json|train_hdf5_file_list.txt",
            "train_test_split/shuffled_val_file_list.json|val_hdf5_file_list.txt",
            "train_test_split/shuffled_test_file_list.json|test_hdf5_file_list.txt",
            "synsetoffset2category.txt|train_hdf5_file_list.txt",
            "*/*.txt|*.h5",
        ),
        downloads=(
            Download(
                "https://shapenet.cs.stanford.edu/media/"
                "shapenetcore_partanno_segmentation_benchmark_v0_normal.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        if not (self.folder / "train_test_split").is_dir():
            for line in lines_of(self.path(f"{LISTS[split]}_hdf5_file_list.txt")):
                path = self.path(line.rpartition("/")[2])
                for start, stop in spans(len(labels_of(path))):
                    yield {"_file": path, "_start": start, "_stop": stop}
            return
        known = self._synsets()
        for synset, model in self._listed(split):
            with self.collecting():
                if synset not in known:
                    raise DatasetError(
                        f"{self.card.name}: {synset}/{model} is of a synset that "
                        f"{self.folder / 'synsetoffset2category.txt'} does not name: get the files "
                        "again, unchanged"
                    )
                yield {"_file": self.path(synset, f"{model}.txt"), "_start": 0, "_stop": 1}

    def _synsets(self) -> set[str]:
        path = self.path("synsetoffset2category.txt")
        pairs = [line.split() for line in lines_of(path)]
        short = [" ".join(pair) for pair in pairs if len(pair) != 2]
        if short:
            raise DatasetError(f"{path}: {short[0]!r} is no category and synset: get it again")
        return {synset for _, synset in pairs}

    def _listed(self, split: str) -> Iterator[tuple[str, str]]:
        path = self.path("train_test_split", f"shuffled_{LISTS[split]}_file_list.json")
        with reading(path):
            names = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DatasetError(f"{path} is no list of names: get the file again")
        for name in names:
            parts = name.split("/")
            if len(parts) < 2:
                raise DatasetError(f"{path}: {name!r} is no synset/model: get the file again")
            yield parts[-2], parts[-1]

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        path: Path = row["_file"]
        if path.suffix == ".h5":
            points, parts = read_block(path, row["_start"], row["_stop"], "pid")
            for place, (cloud, labels) in enumerate(zip(points, parts, strict=True), row["_start"]):
                yield self._example(f"{path.stem}-{place:04d}", cloud, labels, path)
            return
        table = read_table(path, {7: "x y z nx ny nz part", 4: "x y z part"})
        shape = f"{path.parent.name}/{path.stem}"
        yield self._example(shape, table[:, :3], table[:, -1], path)

    def _example(
        self, shape: str, points: NDArray[np.float32], parts: NDArray[Any], path: Path
    ) -> dict[str, Any]:
        parts = np.asarray(parts).reshape(-1)
        classes = len(self.card.target.classes)
        if len(parts) != len(points) or not np.isin(parts, np.arange(classes)).all():
            strange = [part for part in parts if part not in range(classes)]
            raise DatasetError(
                f"{path}: {shape} has {len(points)} points and {len(parts)} part labels"
                + (f", one of them {strange[0]}" if strange else "")
                + f"; expected one of 0 to {classes - 1} for each point: get the file again"
            )
        names = [self.card.target.classes[int(part)] for part in np.unique(parts)]
        categories = sorted({name.partition("/")[0] for name in names})
        if len(categories) > 1:
            raise DatasetError(
                f"{path}: {shape} has parts of {' and '.join(categories)}: get the file again"
            )
        order = np.random.default_rng(zlib.crc32(shape.encode())).permutation(len(points))
        return {
            "id": shape,
            "group": shape,
            "input": {"points": points[order]},
            "parts": parts[order].astype(np.uint8),
        }
