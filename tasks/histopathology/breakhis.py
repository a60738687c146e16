"""BreakHis: tumours of the breast in microscope photographs.

Spanhol et al. 2016, IEEE Trans. Biomedical Engineering 63, 1455. Layout of the archive
`BreaKHis_v1.tar.gz`: `BreaKHis_v1/histology_slides/breast/{benign,malignant}/SOB/<type>/<slide>/
{40X,100X,200X,400X}/SOB_<B or M>_<type>-<year>-<patient>-<magnification>-<number>.png`. As in
kaiko-ai/eva (src/eva/vision/data/datasets/classification/breakhis.py): photographs at 40X of the
four types that seven patients and more have, fourteen patients as the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.task import Task
from tasks.histopathology.image_files import AGAIN, read_image

TYPES = ("A", "F", "PT", "TA", "DC", "LC", "MC", "PC")
TEST_PATIENTS = frozenset(
    [
        *("18842D", "19979", "15275", "15792", "16875", "3909", "5287"),
        *("16716", "2773", "5695", "16184CD", "23060CD", "21998CD", "21998EF"),
    ]
)
NAME = re.compile(r"SOB_[BM]_([A-Z]+)-\d+-([0-9A-Z]+)-(\d+)-\d+", re.IGNORECASE)
LAYOUT = "histology_slides/breast/*/SOB/*/*/40X/*.png"


class BreakHis(Task):
    """`type`: tubular adenoma, mucinous carcinoma, fibroadenoma or ductal carcinoma."""

    source = "breakhis"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("breakhis", "BreaKHis_v1", "BreaKHis"),
        layout=(f"{LAYOUT}|BreaKHis_v1/{LAYOUT}",),
        downloads=(Download("http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz", strip=1),),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        assert self.distribution is not None
        found = matches(self.folder, self.distribution.layout[0])
        for path in sorted(found, key=lambda path: path.name):
            with self.collecting():
                parts = NAME.fullmatch(path.stem)
                if parts is None or parts[1].upper() not in TYPES:
                    raise DatasetError(
                        f"{path}: photographs are named SOB_<B or M>_<{', '.join(TYPES)}>-<year>-"
                        f"<patient>-<magnification>-<number>.png: {AGAIN}"
                    )
                kind, patient = parts[1].upper(), parts[2].upper()
                if kind not in self.classes("type") or (patient in TEST_PATIENTS) != (
                    split == "test"
                ):
                    continue
                yield {
                    "id": path.stem,
                    "group": patient,
                    "type": self.label("type", kind, path),
                    "_file": path,
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": {"image": read_image(row["_file"])}}
