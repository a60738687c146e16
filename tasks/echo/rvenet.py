"""RVENet: right-ventricular ejection fraction from apical four-chamber clips.

Layout: `codebook.csv` (FileName, RVEF in percent by 3D echocardiography, HR, FPS, Split: train or
validation, ...) and `<FileName>.dcm`, of both archives in one folder or in one below it. The first
two parts of a file's name, between underscores, are the patient, as in the authors' preprocessing
(RVENet_dataset_preprocessing of https://github.com/rvenet/RVENet). What they call validation is
what they report on; it is the test split here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, matches
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.echo.video_files import grey_clip

SPLIT_NAMES = {"train": "train", "validation": "test"}
INDEX = "codebook.csv"


class RVENet(Task):
    """One example per clip with a known `rvef` (percent); the group is the patient."""

    source: ClassVar[str] = "rvenet"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("rvenet", "RVENet"),
        layout=(INDEX, "**/*.dcm"),
        apply=(
            "Apply for access at https://rvenet.github.io/dataset/, unpack the training and the "
            f"validation archive and put {INDEX} and the .dcm files into <data-dir>/rvenet/."
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        path, folder = self.path(INDEX), self.folder
        files: dict[str, Path] = {file.stem: file for file in matches(folder, "**/*.dcm")}
        for row in read_csv(path, ["FileName", "RVEF", "Split"]):
            with self.collecting():
                name, official = row["FileName"].strip().removesuffix(".dcm"), row["Split"].strip()
                if official.lower() not in SPLIT_NAMES:
                    raise DatasetError(
                        f"{path}: the split {official!r} of {name} is not one of "
                        f"{', '.join(SPLIT_NAMES)}: get the file again, unchanged"
                    )
                if SPLIT_NAMES[official.lower()] != split or row["RVEF"].strip().lower() in (
                    "",
                    "nan",
                ):
                    continue
                if name not in files:
                    raise DatasetError(
                        f"{folder / name}.dcm, which {INDEX} lists, is missing; "
                        f"{self._how_to_get()}"
                    )
                patient = "_".join(name.split("_")[:2])
                fraction = number(row["RVEF"], path, "RVEF")
                yield {"id": name, "group": patient, "rvef": fraction, "_file": files[name]}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": grey_clip(row["_file"])}
