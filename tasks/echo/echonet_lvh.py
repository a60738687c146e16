"""EchoNet-LVH: wall thickness and diameter in parasternal long-axis clips.

Layout: `MeasurementsList.csv`, one row per caliper (HashedFileName, Calc, CalcValue in cm, Frame,
X1, Y1, X2, Y2, Frames, FPS, Width, Height, split: train, val or test), and `Batch1/` to `Batch4/`
with `<HashedFileName>.avi`. Calc is LVIDd (internal diameter at end-diastole), IVSd (septum), LVPWd
(posterior wall) or LVIDs. Columns as read in the loaders of CardioBench and zea; the authors' code
is https://github.com/echonet/lvh.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from benchmark.distribution import Distribution, matches
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.echo.video_files import grey_clip
from tasks.echo.volume_tracings import stem

SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
CALIPERS = {"LVIDD": "lvidd", "IVSD": "ivsd", "LVPWD": "lvpwd"}  # Calc -> label column
INDEX = "MeasurementsList.csv"


class EchoNetLVH(Task):
    """One example per video: `lvidd`, `ivsd`, `lvpwd` in cm, None where it was not measured.

    A dimension that was measured more than once in a video is averaged.
    """

    source: ClassVar[str] = "echonet-lvh"
    distribution = Distribution(
        folders=("echonet-lvh", "EchoNet-LVH"),
        layout=(INDEX, "Batch*/*.avi"),
        apply=(
            "Accept the research use agreement at https://echonet.github.io/lvh/ (Stanford AIMI) "
            f"and put {INDEX} and Batch1/ to Batch4/ into <data-dir>/echonet-lvh/."
        ),
    )

    @cached_property
    def _measured(self) -> dict[str, tuple[str, dict[str, list[float]]]]:
        """Video -> its split and the values of every dimension."""
        path = self.path(INDEX)
        videos: dict[str, tuple[str, dict[str, list[float]]]] = {}
        for row in read_csv(path, ["HashedFileName", "Calc", "CalcValue", "split"]):
            with self.collecting():
                name, split = stem(row["HashedFileName"]), row["split"].strip().lower()
                if split not in SPLIT_NAMES:
                    raise DatasetError(
                        f"{path}: the split {row['split']!r} of {name} is not one of "
                        f"{', '.join(SPLIT_NAMES)}: get the file again, unchanged"
                    )
                known, values = videos.setdefault(name, (SPLIT_NAMES[split], {}))
                if known != SPLIT_NAMES[split]:
                    raise DatasetError(f"{path}: {name} is in two splits: get the file again")
                column = CALIPERS.get(row["Calc"].strip().upper())
                if column is not None:
                    values.setdefault(column, []).append(
                        number(row["CalcValue"], path, "CalcValue")
                    )
        return videos

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        files: dict[str, Path] = {path.stem: path for path in matches(self.folder, "Batch*/*.avi")}
        for name, (where, values) in self._measured.items():
            with self.collecting():
                if where != split or not values:
                    continue
                if name not in files:
                    raise DatasetError(
                        f"{self.folder}: {name}.avi, which {INDEX} lists, is in no Batch folder; "
                        f"{self._how_to_get()}"
                    )
                means = {
                    column: fmean(values[column]) if column in values else None
                    for column in CALIPERS.values()
                }
                yield {"id": name, "group": name, **means, "_file": files[name]}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": grey_clip(row["_file"])}
