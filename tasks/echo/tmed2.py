"""TMED-2: views and aortic stenosis in single echocardiogram images.

Layout: `approved_users_only/` with a split file of the largest development set,
`DEV479/TMED2_fold0_labeledpart.csv` (query_key: name of the image, view_label, diagnosis_label,
SourceFolder, view_classifier_split, diagnosis_classifier_split: train, val or test), and the images
of its labelled part, 112 x 112 PNG, in `view_and_diagnosis_labeled_set/labeled/` and
`view_labeled_set/labeled/`. An image's name is patient, `s`, study, `_`, number: `3725s1_5.png`.
Columns as read in the authors' scripts (https://github.com/tufts-ml) and in CardioBench.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, matches
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.echo.video_files import grey_still

SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
SPLIT_FILE = "TMED2_fold0_labeledpart.csv"
INSIDE = "approved_users_only"
SPLIT_FILES = "|".join(
    f"{folder}{SPLIT_FILE}" for folder in (f"{INSIDE}/DEV479/", "DEV479/", f"{INSIDE}/", "")
)
STENOSIS = {  # diagnosis_label -> the three grades of the authors' classifiers
    "no_AS": "none",
    "mild_AS": "early",
    "mildtomod_AS": "early",
    "moderate_AS": "significant",
    "severe_AS": "significant",
}


class TMED2View(Task):
    """One example per image of the view classifier's split: `view`."""

    source: ClassVar[str] = "tmed2-view"
    split_column: ClassVar[str] = "view_classifier_split"
    label_column: ClassVar[str] = "view_label"
    distribution = Distribution(
        folders=("tmed2", "TMED2", "TMED-2", INSIDE),
        layout=(
            SPLIT_FILES,
            "**/labeled/*.png",
        ),
        apply=(
            "Apply for access at https://tmed.cs.tufts.edu and put the folder "
            f"{INSIDE}/ (DEV479/{SPLIT_FILE}, view_and_diagnosis_labeled_set/labeled/, "
            "view_labeled_set/labeled/) into <data-dir>/tmed2/."
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder = self.folder
        index = next(matches(folder, SPLIT_FILES))
        images = {path.name: path for path in matches(folder, "**/labeled/*.png")}
        columns = ["query_key", "view_label", "diagnosis_label", self.split_column]
        for row in read_csv(index, columns):
            with self.collecting():
                name, label = row["query_key"].strip(), row[self.label_column].strip()
                named = re.fullmatch(r"(\d+)s(\d+)_\d+\.png", name)
                if named is None:
                    raise DatasetError(
                        f"{index}: {name!r} is not patient, s, study, _, number: get the file again"
                    )
                if SPLIT_NAMES.get(row[self.split_column].strip().lower()) != split:
                    continue  # other rows belong to the other classifier only
                if label == "Not_Provided":
                    continue
                if name not in images:
                    raise DatasetError(
                        f"{folder}: {name} of {index.name} is missing; {self._how_to_get()}"
                    )
                yield {
                    "id": Path(name).stem,
                    "group": named[1],
                    **self.labels(label, f"{named[1]}s{named[2]}", index),
                    "_file": images[name],
                }

    def labels(self, name: str, study: str, where: Path) -> dict[str, Any]:
        """The label columns of one image."""
        return {"view": self.label("view", name, where)}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": grey_still(row["_file"])}


class TMED2Stenosis(TMED2View):
    """Bags of images: the `stenosis` of a study, from all of its labelled images."""

    source: ClassVar[str] = "tmed2-as"
    split_column: ClassVar[str] = "diagnosis_classifier_split"
    label_column: ClassVar[str] = "diagnosis_label"

    def labels(self, name: str, study: str, where: Path) -> dict[str, Any]:
        return {"bag": study, "stenosis": self.label("stenosis", STENOSIS.get(name, name), where)}
