"""Few-shot classification of ModelNet40 in the published runs (see the cards).

Sharma and Kaul, Self-supervised few-shot learning on point clouds, NeurIPS 2020, in the ten runs
per setting that the authors of Point-BERT drew and published and that later work reports:
`ModelNetFewshot/5way_10shot/0.pkl` to `9.pkl` (their documentation also writes `5way10shot/`). Each
file is a pickle of {"train": [...], "test": [...]}, lists of (cloud (8192, 6): x, y, z, normal;
label in the run; label in ModelNet40). The support set has `shots` shapes of each of `ways`
classes, the query set 20, drawn from ModelNet40's train and test split.

Every run is a dataset of its own: its splits are `run-1-train` and `run-1-test`, and so on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.task import Task, runs
from tasks.pointcloud.hdf5_clouds import check_finite
from tasks.pointcloud.modelnet_files import xyz
from tasks.pointcloud.restricted_pickle import load_arrays

RUNS = 10
APPLY = (
    "get the ModelNet few-shot dataset at https://cloud.tsinghua.edu.cn/d/d4aac5b8f02749e3bdaa/ or "
    "by another link in DATASET.md of https://github.com/Julie-tang00/Point-BERT and put its "
    "folders 5way_10shot, 5way_20shot, 10way_10shot and 10way_20shot, each with 0.pkl to 9.pkl, "
    "into ModelNetFewshot/"
)


def published(ways: int, shots: int) -> Distribution:
    """Where the runs of a setting are."""
    folders = f"{ways}way_{shots}shot", f"{ways}way{shots}shot"
    layout = tuple("|".join(f"{folder}/{run}.pkl" for folder in folders) for run in range(RUNS))
    return Distribution(("ModelNetFewshot", "modelnet40_few_shot"), layout, apply=APPLY)


class FiveWay10Shot(Task):
    """5 classes, 10 shapes each."""

    source: ClassVar[str] = "modelnet40-5way-10shot"
    ways: ClassVar[int] = 5
    shots: ClassVar[int] = 10
    splits: ClassVar[tuple[str, ...]] = runs(RUNS)
    distribution = published(5, 10)

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        """One row for the whole set: it is read at once."""
        _, run, part = split.split("-")
        assert self.distribution is not None
        choices = self.distribution.layout[int(run) - 1].split("|")
        path = next((p for c in choices if (p := self.folder / c).exists()), None)
        yield {"_file": path or self.path(choices[0]), "_run": run, "_part": part}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        path, part = row["_file"], row["_part"]
        items = self._sound(load_arrays(path), path)[part]
        for place, (cloud, _, label) in enumerate(items):
            name = f"run-{row['_run']}-{part}-{place:03d}"
            points = check_finite(xyz(cloud, path), path)
            # a shape's name is not in the file; one that returns in another run counts anew
            yield {"id": name, "group": name, "class": int(label), "input": {"points": points}}

    def _sound(self, content: Any, path: Path) -> dict[str, list[tuple[Any, int, int]]]:
        """The two sets of a run, which have to be what the setting says."""
        problem = ""
        if not isinstance(content, dict) or not {"train", "test"} <= content.keys():
            problem = "has no 'train' and 'test'"
        elif not all(_is_triple(item) for part in ("train", "test") for item in content[part]):
            problem = "has items that are not (cloud, label in the run, label in ModelNet40)"
        else:
            support, queries = (Counter(_labels(content[part])) for part in ("train", "test"))
            known = range(len(self.card.target.classes))
            if list(support.values()) != [self.shots] * self.ways:
                problem = f"has {sorted(support.values())} training shapes per class"
            elif not queries or queries.keys() - support.keys():
                problem = "asks for classes that are not in its training shapes"
            elif any(label not in known for _, label in support):
                problem = f"has a label that is not one of the {len(known)} classes"
            elif (
                not len({run for run, _ in support}) == len({la for _, la in support}) == self.ways
            ):
                problem = "calls two classes by one label"
        if problem:
            raise DatasetError(
                f"{path} {problem}; expected {self.ways} classes with {self.shots} training shapes "
                "each: get the file again, unchanged"
            )
        found: dict[str, list[tuple[Any, int, int]]] = content
        return found


def _is_triple(item: Any) -> bool:
    whole = (int, np.integer)
    return (
        isinstance(item, list | tuple)
        and len(item) == 3
        and all(isinstance(label, whole) for label in item[1:])
    )


def _labels(items: list[Any]) -> list[tuple[int, int]]:
    return [(int(run), int(label)) for _, run, label in items]


class FiveWay20Shot(FiveWay10Shot):
    """5 classes, 20 shapes each."""

    source: ClassVar[str] = "modelnet40-5way-20shot"
    shots: ClassVar[int] = 20
    distribution = published(5, 20)


class TenWay10Shot(FiveWay10Shot):
    """10 classes, 10 shapes each."""

    source: ClassVar[str] = "modelnet40-10way-10shot"
    ways: ClassVar[int] = 10
    distribution = published(10, 10)


class TenWay20Shot(TenWay10Shot):
    """10 classes, 20 shapes each."""

    source: ClassVar[str] = "modelnet40-10way-20shot"
    shots: ClassVar[int] = 20
    distribution = published(10, 20)
