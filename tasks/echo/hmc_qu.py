"""HMC-QU: myocardial infarction from apical four- and two-chamber clips.

Layout: `A4C.xlsx` and `A2C.xlsx` (or .csv; ECHO: the clip's name, SEG1 ... SEG7: `MI` or `non-MI`
for each segment of the wall, and further columns) and the clips `HMC-QU/A4C/<ECHO>.avi` and
`HMC-QU/A2C/<ECHO>.avi`. A clip shows an infarction where one of its segments does. The name
begins with the patient, `ES` and digits. Read from CardioBench's and other public loaders; the set
is at https://www.kaggle.com/datasets/aysendegerli/hmcqu-dataset. It has no official split:
patients, in order of their names, are dealt to five folds, those with and those without
infarction apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, kaggle, matches
from benchmark.errors import DatasetError
from benchmark.files import read_csv, reading
from benchmark.task import Task, folds
from tasks.echo.video_files import grey_clip

FOLDS = 5
APPLY = (
    "Download the data set at https://www.kaggle.com/datasets/aysendegerli/hmcqu-dataset and put "
    "A4C.xlsx, A2C.xlsx and HMC-QU/ into <data-dir>/hmc-qu/."
)
DOWNLOADS = (kaggle("aysendegerli/hmcqu-dataset"),)
FOLDERS = ("hmc-qu", "HMC-QU", "HMC_QU", "hmcqu-dataset")
INFARCTION = {"mi": True, "non-mi": False}


def _layout(view: str) -> tuple[str, ...]:
    return f"{view}.xlsx|{view}.csv|**/{view}.xlsx|**/{view}.csv", f"**/{view}/*.avi"


class HmcQuA4C(Task):
    """One example per four-chamber clip: `infarction`; the group is the patient."""

    source: ClassVar[str] = "hmc-qu-a4c"
    view: ClassVar[str] = "A4C"
    splits = folds(FOLDS)
    distribution = Distribution(FOLDERS, _layout("A4C"), DOWNLOADS, apply=APPLY)

    @cached_property
    def _listing(self) -> list[dict[str, Any]]:
        folder = self.folder
        index = next(matches(folder, _layout(self.view)[0]))
        files = {path.stem.strip(): path for path in matches(folder, f"**/{self.view}/*.avi")}
        clips = []
        for row in _table(index):
            with self.collecting():
                name = row["ECHO"].strip()
                patient = re.match(r"ES\d+", name)
                if patient is None:
                    raise DatasetError(f"{index}: {name!r} does not begin with ES and digits")
                if name not in files:
                    raise DatasetError(
                        f"{folder}: {name}.avi, which {index.name} lists, is missing; "
                        f"{self._how_to_get()}"
                    )
                clips.append(
                    {"id": name, "group": patient[0], "infarction": _infarction(row, index),
                     "_file": files[name]}
                )  # fmt: skip
        return _dealt(clips)

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for clip in self._listing:
            if clip["_fold"] == split:
                yield clip

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": grey_clip(row["_file"])}


class HmcQuA2C(HmcQuA4C):
    """One example per two-chamber clip."""

    source: ClassVar[str] = "hmc-qu-a2c"
    view: ClassVar[str] = "A2C"
    distribution = Distribution(FOLDERS, _layout("A2C"), DOWNLOADS, apply=APPLY)


def _dealt(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The clips with `_fold`: of a patient's clips all in one."""
    ill: dict[str, int] = {}
    for clip in clips:
        ill[clip["group"]] = max(ill.get(clip["group"], 0), clip["infarction"])
    fold: dict[str, str] = {}
    for state in (1, 0):
        patients = sorted(patient for patient, found in ill.items() if found == state)
        fold |= {patient: f"fold-{i % FOLDS + 1}" for i, patient in enumerate(patients)}
    return [{**clip, "_fold": fold[clip["group"]]} for clip in clips]


def _infarction(row: Mapping[str, str], index: Path) -> int:
    """1 where a segment of the wall is infarcted; segments out of sight are empty."""
    found = []
    for column, text in row.items():
        if not re.fullmatch(r"SEG ?\d+", column or "") or not (text or "").strip():
            continue
        if text.strip().lower() not in INFARCTION:
            raise DatasetError(
                f"{index}: the label {text!r} of {row['ECHO']} in {column} is not MI or non-MI: "
                "get the file again, unchanged"
            )
        found.append(INFARCTION[text.strip().lower()])
    if not found:
        raise DatasetError(f"{index}: {row['ECHO']} has no label in SEG1 ...: get the file again")
    return int(any(found))


def _table(path: Path) -> list[dict[str, str]]:
    """The rows of the first sheet whose header has ECHO, or of a .csv, as texts."""
    if path.suffix == ".csv":
        return [row for row in read_csv(path, ["ECHO"]) if row["ECHO"].strip()]
    import openpyxl

    with reading(path):
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        lines = [
            ["" if cell is None else str(cell).strip() for cell in line]
            for line in book.worksheets[0].iter_rows(values_only=True)
        ]
        book.close()
    while lines and "ECHO" not in lines[0]:
        del lines[0]
    if not lines:
        raise DatasetError(f"{path} has no column 'ECHO': get the file again, unchanged")
    rows = [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
    return [row for row in rows if row["ECHO"]]
