"""EchoNet-Dynamic: ejection fraction and the left ventricle in apical four-chamber clips.

Layout: `FileList.csv` (FileName, EF in percent, ..., Split: TRAIN, VAL or TEST),
`VolumeTracings.csv` (FileName, X1, Y1, X2, Y2, Frame) and `Videos/<FileName>.avi`, 112 x 112.
Read from the authors' loader, echonet/datasets/echo.py of https://github.com/echonet/dynamic. Every
video is of another person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.echo.video_files import grey_clip
from tasks.echo.volume_tracings import Outline, read_chords, stem, traced_frame

SPLIT_NAMES = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}
LOW_EF = 50.0  # percent; below it systolic function is called reduced


class EchoNetDynamic(Task):
    """One example per video: `ef` in percent, `low_ef` 1 where it is below 50."""

    source: ClassVar[str] = "echonet-dynamic"
    distribution = Distribution(
        folders=("echonet-dynamic", "EchoNet-Dynamic", "EchoNetDynamic"),
        layout=("FileList.csv", "Videos/*.avi", "VolumeTracings.csv"),
        apply=(
            "Accept the research use agreement at https://echonet.github.io/dynamic/ (Stanford "
            "AIMI) and put FileList.csv, VolumeTracings.csv and Videos/ into "
            "<data-dir>/echonet-dynamic/."
        ),
    )

    def videos(self, split: str) -> Iterator[tuple[str, Path, float]]:
        """Name, file and ejection fraction of every listed video of a split."""
        path, folder = self.path("FileList.csv"), self.folder / "Videos"
        for row in read_csv(path, ["FileName", "EF", "Split"]):
            with self.collecting():
                name = stem(row["FileName"])
                official = row["Split"].strip().upper()
                if official not in SPLIT_NAMES:
                    raise DatasetError(
                        f"{path}: the split {row['Split']!r} of {name} is not one of "
                        f"{', '.join(SPLIT_NAMES)}: get the file again, unchanged"
                    )
                if SPLIT_NAMES[official] == split:
                    file = folder / f"{name}.avi"
                    if not file.is_file():
                        self.path("Videos", file.name)  # tells how to get it
                    yield name, file, number(row["EF"], path, "EF")

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for name, file, fraction in self.videos(split):
            low = int(fraction < LOW_EF)
            yield {"id": name, "group": name, "ef": fraction, "low_ef": low, "_file": file}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": grey_clip(row["_file"])}


class EchoNetDynamicFrames(EchoNetDynamic):
    """One example per traced frame, end-diastole and end-systole: `lv` (H, W) is the ventricle.

    Videos with fewer than two traced frames are left out, as the authors do.
    """

    source: ClassVar[str] = "echonet-dynamic-frames"

    @cached_property
    def _tracings(self) -> dict[str, dict[int, Outline]]:
        return read_chords(self.path("VolumeTracings.csv"))

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for name, file, _ in self.videos(split):
            outlines = self._tracings.get(name, {})
            if len(outlines) >= 2:
                yield {"id": name, "group": name, "_file": file, "_outlines": outlines}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        video = grey_clip(row["_file"], largest=None)["video"]
        for frame, outline in sorted(row["_outlines"].items()):
            example = traced_frame(video, frame, outline, row["_file"])
            yield {"id": f"{row['id']}-{frame}", "group": row["group"], **example}
