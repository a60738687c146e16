"""The embedded recordings: 206 CC0 one-shots and loops at 16 kHz (see data/build_oneshots.py)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError

RATE = 16_000
DATA = Path(__file__).parent / "data"
FILES = (DATA / "oneshots.flac", DATA / "oneshots.csv")


@dataclass(frozen=True)
class Recording:
    """One recording: `wave` (T,) float32 with a peak of 0.9, its `onset` in samples.

    `family` and `percussion` are "" where the recording has no place in that task.
    """

    name: str
    wave: NDArray[np.float32]
    onset: int
    family: str
    percussion: str
    split: str


def data_files() -> list[Path]:
    """The embedded files.

    Raises:
        DatasetError: one is missing.
    """
    for path in FILES:
        if not path.is_file():
            raise DatasetError(f"{path} is missing: reinstall ssl-bench, it comes with the package")
    return list(FILES)


@cache
def recordings() -> tuple[Recording, ...]:
    """All recordings in the order of their names.

    Raises:
        DatasetError: a file is missing, or table and audio do not fit together.
    """
    import soundfile

    audio, table = data_files()
    samples, rate = soundfile.read(audio, dtype="float32")
    with table.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    ends = np.cumsum([int(row["samples"]) for row in rows])
    if rate != RATE or ends[-1] != len(samples):
        raise DatasetError(
            f"{audio} and {table.name} do not fit together: reinstall ssl-bench or run "
            "data/build_oneshots.py again"
        )
    return tuple(
        Recording(
            row["name"],
            samples[end - int(row["samples"]) : end],
            int(row["onset"]),
            row["family"],
            row["percussion"],
            row["split"],
        )
        for row, end in zip(rows, ends, strict=True)
    )


def by_percussion(split: str, classes: Sequence[str]) -> dict[str, list[Recording]]:
    """Percussion class -> its recordings in `split`, in the order of `classes`."""
    chosen = [recording for recording in recordings() if recording.split == split]
    return {name: [r for r in chosen if r.percussion == name] for name in classes}
