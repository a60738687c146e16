"""EchoNet-Pediatric: ejection fraction and the left ventricle in children's echocardiograms.

Layout: `A4C/` (apical four-chamber view) and `PSAX/` (parasternal short axis), each with
`FileList.csv` (FileName, EF in percent, Sex, Age, Weight, Height, Split: the number of a fold, 0 to
9), `VolumeTracings.csv` (FileName, X, Y, Frame) and `Videos/<FileName>`, AVI, 112 x 112 pixels. The
archive unpacks to `pediatric_echo_avi/pediatric_echo_avi/`. The ten folds are official and each is
the test fold once. Where a child is in several videos is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task, folds
from tasks.echo.video_files import grey_clip
from tasks.echo.volume_tracings import Outline, read_points, stem, traced_frame

VIEWS = ("A4C", "PSAX")
INSIDE = ("", "pediatric_echo_avi", "pediatric_echo_avi/pediatric_echo_avi")
FOLDS = 10


class EchoNetPediatric(Task):
    """One example per video: its ejection fraction, `ef_a4c` or `ef_psax` by its view."""

    source: ClassVar[str] = "echonet-pediatric"
    splits = folds(FOLDS)
    distribution = Distribution(
        folders=("echonet-pediatric", "EchoNet-Pediatric", "echonetpediatric", INSIDE[1]),
        layout=tuple(
            "|".join(f"{inside}/{view}/{name}".lstrip("/") for inside in INSIDE)
            for view in VIEWS
            for name in ("FileList.csv", "VolumeTracings.csv", "Videos/*.avi")
        ),
        apply=(
            "Accept the research use agreement at https://echonet.github.io/pediatric/ (Stanford "
            "AIMI) and put A4C/ and PSAX/, each with FileList.csv, VolumeTracings.csv and Videos/, "
            "into <data-dir>/echonet-pediatric/."
        ),
    )

    def part(self, *relative: str) -> Path:
        """A file of the set, whichever folders the archive was unpacked to."""
        for inside in INSIDE:
            path = self.folder.joinpath(inside, *relative)
            if path.exists():
                return path
        return self.path(*relative)

    def videos(self, split: str, view: str) -> Iterator[tuple[str, Path, float]]:
        """Name, file and ejection fraction of every listed video of a fold."""
        path = self.part(view, "FileList.csv")
        folder = path.parent / "Videos"
        for row in read_csv(path, ["FileName", "EF", "Split"]):
            with self.collecting():
                fold = number(row["Split"], path, "Split")
                if fold not in range(FOLDS):
                    raise DatasetError(
                        f"{path}: the fold {row['Split']} is not one of 0 to {FOLDS - 1}: get the "
                        "file again, unchanged"
                    )
                if f"fold-{int(fold) + 1}" == split:
                    name = stem(row["FileName"])
                    file = folder / f"{name}.avi"
                    if not file.is_file():
                        self.part(view, "Videos", file.name)  # tells how to get it
                    yield name, file, number(row["EF"], path, "EF")

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for view in VIEWS:
            for name, file, fraction in self.videos(split, view):
                yield {
                    "id": f"{view}-{name}",
                    "group": f"{view}-{name}",
                    "ef_a4c": fraction if view == "A4C" else None,
                    "ef_psax": fraction if view == "PSAX" else None,
                    "_file": file,
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": grey_clip(row["_file"])}


class EchoNetPediatricFrames(EchoNetPediatric):
    """One example per traced frame of both views: `lv` (H, W) is the ventricle."""

    source: ClassVar[str] = "echonet-pediatric-frames"

    @cached_property
    def _tracings(self) -> dict[str, dict[str, dict[int, Outline]]]:
        return {view: read_points(self.part(view, "VolumeTracings.csv")) for view in VIEWS}

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for view in VIEWS:
            for name, file, _ in self.videos(split, view):
                outlines = self._tracings[view].get(name)
                if outlines:
                    title = f"{view}-{name}"
                    yield {"id": title, "group": title, "_file": file, "_outlines": outlines}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        video = grey_clip(row["_file"], largest=None)["video"]
        for frame, outline in sorted(row["_outlines"].items()):
            example = traced_frame(video, frame, outline, row["_file"])
            yield {"id": f"{row['id']}-{frame}", "group": row["group"], **example}
