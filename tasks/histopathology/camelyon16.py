"""CAMELYON16: metastases in slides of sentinel lymph nodes.

Ehteshami Bejnordi et al. 2017, JAMA 318, 2199. Layout: `training/{normal,tumor}/*.tif`,
`testing/images/*.tif` and `testing/reference.csv` (no header: slide, Normal or Tumor, ...), or that
of the open-data bucket, `images/*.tif` with `evaluation/reference.csv`. Slides are pyramidal TIFFs,
`normal_001.tif`, `tumor_001.tif`, `test_001.tif`; the name says the class of the training slides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.distribution import Distribution, matches
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.listings import ChecksumList
from benchmark.task import Task
from tasks.histopathology.image_files import AGAIN
from tasks.histopathology.slides import Grid, read_tile, tile_places

TRAINING = "training/*/*.tif|images/*.tif"
TESTING = "testing/images/*.tif|images/*.tif"
REFERENCE = "testing/reference.csv|evaluation/reference.csv|testing/evaluation/reference.csv"
BUCKET = "https://camelyon-dataset.s3.us-west-2.amazonaws.com/CAMELYON16"  # AWS open data
NAME = re.compile(r"(normal|tumor|test)_\d+")
# the organisers left them out of the evaluation; some copies of the set lack them
WITHDRAWN = frozenset({"test_049", "test_114"})


class Camelyon16(Task):
    """`tumor` of every slide; a slide is the `bag` of its tiles with tissue.

    What is prepared of a tile is its place; pixels are read from the slide when they are embedded.
    """

    source = "camelyon16"
    splits = ("train", "test")
    grid: ClassVar[Grid] = Grid()
    most: ClassVar[int | None] = None  # tiles of a slide
    distribution = Distribution(
        folders=("camelyon16", "CAMELYON16"),
        layout=(TRAINING, TESTING, REFERENCE),
        listings=(
            ChecksumList(f"{BUCKET}/checksums.md5", ("images/*.tif", "evaluation/reference.csv")),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        test = split == "test"
        slides: dict[str, Path] = {}
        for path in matches(self.folder, TESTING if test else TRAINING):
            if path.stem.endswith("_mask"):
                continue
            if NAME.fullmatch(path.stem) is None:
                raise DatasetError(f"{path}: slides are named normal_001.tif, ...: {AGAIN}")
            if path.stem.startswith("test") == test:
                slides[path.stem] = path
        labels = self._reference(slides) if test else {}
        for name, path in sorted(slides.items()):
            kind = labels[name] if test else name.partition("_")[0]
            label = self.label("tumor", kind, path)
            yield {"id": name, "group": name, "bag": name, "tumor": label, "_file": path}

    def _reference(self, slides: Mapping[str, Path]) -> dict[str, str]:
        """The class of every test slide."""
        path = next(matches(self.folder, REFERENCE))
        table = read_csv(path, ["slide", "class"], header=["slide", "class", "kind", "size"])
        labels = {
            row["slide"].strip().removesuffix(".tif").lower(): row["class"].strip().lower()
            for row in table
            if row["slide"].strip().lower().startswith("test")
        }
        for name in sorted(labels.keys() - slides.keys() - WITHDRAWN):
            raise DatasetError(f"the slide {name}.tif that {path} names is missing: {AGAIN}")
        for name in sorted(slides.keys() - labels.keys()):
            raise DatasetError(f"{path} does not name the slide {slides[name]}: {AGAIN}")
        return labels

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        light = {key: value for key, value in row.items() if not key.startswith("_")}
        places, span, digest = tile_places(row["_file"], self.grid)
        if self.most is not None and len(places) > self.most:
            # the same tiles in every run and with every encoder
            generator = np.random.default_rng(int(digest[:16], 16))
            places = places[np.sort(generator.choice(len(places), self.most, replace=False))]
        for number, (x, y) in enumerate(places.tolist()):
            stored = {
                "slide": row["_file"].relative_to(self.folder).as_posix(),
                "x": x,
                "y": y,
                "span": span,
                "digest": digest,
            }
            yield {**light, "id": f"{row['id']}-{number:06d}", "input": stored}

    def materialise(self, stored: Mapping[str, Any]) -> Mapping[str, Any]:
        place = stored["x"], stored["y"], stored["span"]
        tile = read_tile(self.folder / stored["slide"], *place, self.grid.side)
        return {"image": tile, "mpp": self.grid.mpp}


class Camelyon16Small(Camelyon16):
    """At most 1,000 tiles of a slide, drawn once."""

    source = "camelyon16-small"
    most = 1000
