"""ModelNet40 and ModelNet10: classes of CAD models (see the two cards).

Wu, Song, Khosla, Yu, Zhang, Tang, Xiao, 3D ShapeNets: A deep representation for volumetric shapes,
CVPR 2015. The split is the authors'; the layouts are described in `modelnet_files`. ModelNet10's
shapes are the shapes of ten classes of ModelNet40 with the same split, so its task reads either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from benchmark.distribution import Distribution, Download
from benchmark.task import Task
from tasks.pointcloud.modelnet_files import Layout, layout_of

PUBLISHED = "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip"
LAYOUT = (
    "train_files.txt|modelnet40_train.txt|modelnet10_train.txt|*/train/*.off",
    "test_files.txt|modelnet40_test.txt|modelnet10_test.txt|*/test/*.off",
    "*.h5|*/*.txt|modelnet*_train_*.dat|*/train/*.off",
    "*.h5|*/*.txt|modelnet*_test_*.dat|*/test/*.off",
    "shape_names.txt|modelnet40_shape_names.txt|modelnet10_shape_names.txt|*/train/*.off",
)


class ModelNet40(Task):
    """40 classes."""

    source: ClassVar[str] = "modelnet40"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    numbers: ClassVar[tuple[int, ...]] = (40,)
    distribution = Distribution(
        folders=("modelnet40_ply_hdf5_2048", "modelnet40_normal_resampled", "ModelNet40"),
        layout=LAYOUT,
        downloads=(
            Download(
                "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip", strip=1
            ),
        ),
    )

    def wanted(self, name: str) -> bool:
        """Whether the shapes of a class are read; what is not one of the card's classes, too, so
        that it is told."""
        return True

    @property
    def layout(self) -> Layout:
        return layout_of(self.folder, self.numbers, self.wanted)

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        return self.layout.rows(split)

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for shape, name, points in self.layout.clouds(row):
            label = self.label("class", name, row["_file"])
            yield {"id": shape, "group": shape, "class": label, "input": {"points": points}}


class ModelNet10(ModelNet40):
    """10 of the classes."""

    source: ClassVar[str] = "modelnet10"
    numbers: ClassVar[tuple[int, ...]] = (10, 40)
    distribution = Distribution(
        folders=("ModelNet10", *ModelNet40.distribution.folders),
        layout=LAYOUT,
        downloads=ModelNet40.distribution.downloads,
    )

    def wanted(self, name: str) -> bool:
        from benchmark.catalog import task_cards

        if name in self.card.target.classes:
            return True
        others = next(card for card in task_cards() if card.name == "modelnet40").target.classes
        return name not in others
