"""Stars with and without planets from light curves of the Kepler space telescope.

Layout: `exoTrain.csv` and `exoTest.csv` of Kaggle's "Exoplanet Hunting in Deep Space", with the
columns LABEL (2: at least one confirmed planet, 1: none) and FLUX.1 to FLUX.3197, one star a row:
5,087 stars (37 with planets) to train, 570 (5) to test. Source:
https://www.kaggle.com/datasets/keplersmachines/kepler-labelled-time-series-data. Times are not
given; the fluxes are long-cadence ones, taken to be evenly spaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from benchmark.distribution import Distribution, kaggle
from benchmark.errors import DatasetError
from benchmark.task import Task
from tasks.astronomy.series_lines import even_light_curve, line_at, lines, numbers

FILES = {"train": "exoTrain.csv", "test": "exoTest.csv"}
CADENCE = 29.4 / (24 * 60)  # days
CLASSES = {"1": "no planet", "2": "planet"}


class KeplerLabelled(Task):
    """One example per star: `photometry` (3197, 4)."""

    source: ClassVar[str] = "kepler-labelled"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    distribution = Distribution(
        folders=("kepler-labelled", "kepler-labelled-time-series-data", "exoplanet-hunting"),
        layout=tuple(FILES.values()),
        downloads=(kaggle("keplersmachines/kepler-labelled-time-series-data"),),
        apply=(
            "Download exoTrain.csv and exoTest.csv from https://www.kaggle.com/datasets/"
            "keplersmachines/kepler-labelled-time-series-data into kepler-labelled/."
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        path = self.path(FILES[split])
        content = lines(path)
        head = [_bare(name) for name in next(content, (0, ""))[1].split(",")]
        column = {name: place for place, name in enumerate(head)}
        fluxes = sorted((int(n[5:]), n) for n in head if re.fullmatch(r"FLUX\.\d+", n))
        lacking = {"LABEL", "FLUX.1"} - column.keys()
        if lacking or [number for number, _ in fluxes] != list(range(1, len(fluxes) + 1)):
            raise DatasetError(
                f"{path} has no column {', '.join(sorted(lacking)) or 'between its fluxes'}: it "
                "needs LABEL and FLUX.1, FLUX.2, ...: get the file again, unchanged"
            )
        places = [column[name] for _, name in fluxes]
        for number, (position, text) in enumerate(content):
            with self.collecting():
                parts = list(islice(text.split(","), column["LABEL"] + 1))
                where = f"{path}, star {number + 1}"
                if len(parts) <= column["LABEL"]:
                    raise DatasetError(f"{where} has no LABEL: get the file again")
                told = _bare(parts[-1])
                known = CLASSES.get(told.removesuffix(".0"), told)
                yield {
                    "id": f"{split}-{number}",
                    "group": f"{split}-{number}",
                    "planet": self.label("planet", known, where),
                    "_where": where,
                    "_file": path,
                    "_at": position,
                    "_places": places,
                    "_width": len(head),
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        cells = line_at(row["_file"], row["_at"]).split(",")
        if len(cells) != row["_width"]:
            raise DatasetError(
                f"{row['_where']} has {len(cells)} columns instead of {row['_width']}: "
                "get the file again"
            )
        flux = numbers([_bare(cells[place]) for place in row["_places"]], row["_where"])
        return {"input": {"photometry": even_light_curve(flux, CADENCE)}}


def _bare(cell: str) -> str:
    return cell.strip().strip('"')
