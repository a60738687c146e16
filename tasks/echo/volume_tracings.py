"""VolumeTracings.csv of the EchoNet datasets: the left ventricle's outline at two moments.

EchoNet-Dynamic: columns FileName, X1, Y1, X2, Y2, Frame. The first row of a frame is the long
axis; each further one is a chord across the ventricle, from the apex to the base. The outline goes
down one end of the chords and up the other, as the authors' loader (echonet/datasets/echo.py of
https://github.com/echonet/dynamic) builds it. EchoNet-Pediatric: columns FileName, X, Y, Frame, the
outline's points in order; `No Systolic` and `No Diastolic` stand in the place of a missing frame.
Coordinates are pixels of the video.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from tasks.echo.video_files import filled

Outline = list[tuple[float, float]]


def stem(name: str) -> str:
    """A video's name as it stands in the lists, with or without its `.avi`."""
    path = PurePosixPath(name.strip())
    return path.stem if path.suffix.lower() == ".avi" else path.name


def read_chords(path: Path) -> dict[str, dict[int, Outline]]:
    """EchoNet-Dynamic's tracings: video -> frame -> outline."""
    columns = ("X1", "Y1", "X2", "Y2")
    chords: dict[str, dict[int, list[list[float]]]] = {}
    for row in read_csv(path, ["FileName", *columns, "Frame"]):
        ends = [number(row[column], path, column) for column in columns]
        frame = int(number(row["Frame"], path, "Frame"))
        chords.setdefault(stem(row["FileName"]), {}).setdefault(frame, []).append(ends)
    return {
        name: {frame: _around(rows) for frame, rows in frames.items()}
        for name, frames in chords.items()
    }


def _around(chords: list[list[float]]) -> Outline:
    across = chords[1:]  # without the long axis
    return [(x, y) for x, y, _, _ in across] + [(x, y) for _, _, x, y in reversed(across)]


def read_points(path: Path) -> dict[str, dict[int, Outline]]:
    """EchoNet-Pediatric's tracings: video -> frame -> outline."""
    outlines: dict[str, dict[int, Outline]] = {}
    for row in read_csv(path, ["FileName", "X", "Y", "Frame"]):
        if row["Frame"].strip().lower().startswith("no "):
            continue
        point = (number(row["X"], path, "X"), number(row["Y"], path, "Y"))
        frame = int(number(row["Frame"], path, "Frame"))
        outlines.setdefault(stem(row["FileName"]), {}).setdefault(frame, []).append(point)
    return outlines


def traced_frame(
    video: NDArray[np.uint8], frame: int, outline: Outline, path: Path
) -> dict[str, Any]:
    """One frame of a clip (T, H, W) and its mask, as an example's `input` and `lv`.

    Raises:
        DatasetError: the clip has no such frame, or the outline is no area.
    """
    if not 0 <= frame < len(video):
        raise DatasetError(
            f"{path}: frame {frame} is traced, but the video has {len(video)} frames: get the "
            "video and VolumeTracings.csv again"
        )
    shape = (int(video.shape[1]), int(video.shape[2]))
    mask = filled(outline, shape) if len(outline) > 2 else np.zeros(shape, np.uint8)
    if not mask.any():
        raise DatasetError(f"{path}: the tracing of frame {frame} is empty: get the lists again")
    return {"input": {"video": video[frame : frame + 1], "fps": 0.0}, "lv": mask}
