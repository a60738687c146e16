"""Periodic variable stars from folded light curves (StarLightCurves of the UCR archive).

Layout: `StarLightCurves_TRAIN` and `StarLightCurves_TEST` as .tsv (2018 archive: class, then the
values, tab-separated), without ending (2015 archive, commas) or .txt (timeseriesclassification.com,
blanks or commas), .ts (values separated by commas, a colon, the class; after the line @data) or
.arff (values, then the class, separated by commas; after @data). 1,024 values a curve, 1,000 curves
to train and 8,236 to test: the archive's split. Source:
https://www.cs.ucr.edu/~eamonn/time_series_data_2018.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.task import Task
from tasks.astronomy.series_lines import even_light_curve, line_at, lines, numbers

FORMATS = (".tsv", ".ts", ".arff", ".txt", "")
NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?")
VALUES = 1024  # over one period, so that a step is a 1,024th of it


def cells_of(text: str, path: Path) -> tuple[str, list[str]]:
    """A line's class and values."""
    if path.suffix == ".ts":
        values, _, label = text.rpartition(":")
        return label.strip(), values.split(",")
    cells = [cell for cell in re.split(r"[\s,]+", text) if cell]
    label = cells.pop() if path.suffix == ".arff" else cells.pop(0)
    return label.strip("'\""), cells


class StarLightCurves(Task):
    """One example per star: `photometry` (1024, 4), time in periods instead of days."""

    source: ClassVar[str] = "starlightcurves"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    distribution = Distribution(
        folders=("starlightcurves", "StarLightCurves"),
        layout=tuple(
            "|".join(f"StarLightCurves_{part}{ending}" for ending in FORMATS)
            for part in ("TRAIN", "TEST")
        ),
        downloads=tuple(
            Download(f"https://zenodo.org/records/11198308/files/StarLightCurves_{part}.ts")
            for part in ("TRAIN", "TEST")
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        pattern = self.distribution.layout[self.splits.index(split)]
        path = next(matches(self.folder, pattern))
        begun = path.suffix not in (".ts", ".arff")
        number = 0
        for position, text in lines(path):
            if not begun:
                begun = text.lower() == "@data"
            elif not text.startswith(("#", "%")):
                # classes stand as 1, 1.0 or 1.0000000e+00
                label = cells_of(text, path)[0]
                name = f"{float(label):g}" if NUMBER.fullmatch(label) else label
                yield {
                    "id": f"{split}-{number}",
                    "group": f"{split}-{number}",
                    "type": self.label("type", name, f"{path}, curve {number}"),
                    "_file": path,
                    "_at": position,
                }
                number += 1

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        where = f"{row['_file']}, curve {row['id']}"
        _, cells = cells_of(line_at(row["_file"], row["_at"]), row["_file"])
        if len(cells) != VALUES:
            raise DatasetError(
                f"{where} has {len(cells)} values instead of {VALUES}: get the file again"
            )
        return {"input": {"photometry": even_light_curve(numbers(cells, where), 1 / VALUES)}}
