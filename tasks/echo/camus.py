"""CAMUS: left ventricle, ejection fraction and view in apical two- and four-chamber sequences.

Layout of the NIfTI release: `database_nifti/patient0001/` with `patient0001_2CH_ED.nii.gz` and
`..._ES`, each with `_gt`, `patient0001_2CH_half_sequence.nii.gz`, the same for 4CH, `Info_2CH.cfg`,
`Info_4CH.cfg` (`EF: 56`, ImageQuality, FrameRate, ...); `database_split/subgroup_training.txt`,
`..._validation.txt`, `..._testing.txt`, one patient a line. The older release has
`patient0001_2CH_ED.mhd` with `.raw`, and `..._2CH_sequence.mhd`, in `training/` (and `testing/`).
Masks: 0 background, 1 left ventricle, 2 myocardium, 3 left atrium. Where the lists are
missing, as in older copies, patients whose number ends in 9 are the validation and in 0 the test
split, which is not official; patients without any mask (the old challenge's test set) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import number, reading
from benchmark.task import Task
from tasks.echo.video_files import LARGEST, checked_mask, reduced
from tasks.echo.volume_files import SUFFIXES, read_images

VIEWS, MOMENTS = ("2CH", "4CH"), ("ED", "ES")
FOLDERS = ("database_nifti", "training", "testing", ".")
LISTS = {"training": "train", "validation": "validation", "testing": "test"}
# the university's archive; address as in torch_em/data/datasets/medical/camus.py of
# constantinpape/torch-em
ARCHIVE = Download(
    "https://humanheart-project.creatis.insa-lyon.fr/database/api/v1/folder/"
    "63fde55f73e9f004868fb7ac/download",
    name="CAMUS_public.zip",
)
OWN_SPLIT = {"9": "validation", "0": "test"}  # by the last digit of the patient's number


class _Camus(Task):
    distribution = Distribution(
        folders=("camus", "CAMUS", "CAMUS_public", "camus_public"),
        layout=(
            "|".join(f"{folder}/patient*/Info_4CH.cfg" for folder in FOLDERS[:-1])
            + "|patient*/Info_4CH.cfg",
            "database_split/*.txt|*/patient*/*|patient*/*",
        ),
        downloads=(ARCHIVE,),
        apply=(
            "Get the folder CAMUS_public at https://humanheart-project.creatis.insa-lyon.fr/"
            "database/#collection/6373703d73e9f0047faa1bc8 and put its database_nifti/ and "
            "database_split/ into <data-dir>/camus/."
        ),
        terms="agree to the terms of use at https://www.creatis.insa-lyon.fr/Challenge/camus/",
    )

    @cached_property
    def _patients(self) -> dict[str, Path]:
        folder = self.folder
        found = {
            path.name: path
            for inside in FOLDERS
            for path in sorted((folder / inside).glob("patient*"))
            if path.is_dir()
        }
        return dict(sorted(found.items()))

    @cached_property
    def _split_of(self) -> dict[str, str]:
        """Patient -> split, from the official lists if they are there."""
        lists = self.folder / "database_split"
        if not lists.is_dir():
            return {
                name: OWN_SPLIT.get(name[-1], "train")
                for name, folder in self._patients.items()
                if any(folder.glob("*_gt.*"))
            }
        official: dict[str, str] = {}
        for title, split in LISTS.items():
            path = self.path("database_split", f"subgroup_{title}.txt")
            with reading(path):
                names = path.read_text(encoding="utf-8-sig").split()
            for name in names:
                if name not in self._patients:
                    raise DatasetError(
                        f"{self.folder}: the folder {name}, which {path.name} lists, is missing; "
                        f"{self._how_to_get()}"
                    )
                if official.setdefault(name, split) != split:
                    raise DatasetError(f"{path}: {name} is in two lists: get them again")
        return official

    def patients(self, split: str) -> Iterator[tuple[str, Path]]:
        """Names and folders of a split's patients."""
        for name, folder in self._patients.items():
            if self._split_of.get(name) == split:
                yield name, folder

    def image(self, folder: Path, *titles: str) -> Path:
        """The file of one image or sequence, by the first of its titles that is there."""
        for title in titles:
            for suffix in SUFFIXES:
                path = folder / f"{folder.name}_{title}{suffix}"
                if path.is_file():
                    return path
        raise DatasetError(
            f"{folder / folder.name}_{titles[0]}.nii.gz is missing; {self._how_to_get()}"
        )


class CamusSequences(_Camus):
    """One example per patient and view: `ef` (percent, of both views together) and `view`."""

    source: ClassVar[str] = "camus"

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for name, folder in self.patients(split):
            for view in VIEWS:
                path = folder / f"Info_{view}.cfg"
                info = read_info(path)
                fraction = info.get("EF", info.get("LVef"))
                if fraction is None:
                    raise DatasetError(f"{path} has no line 'EF:': get the file again, unchanged")
                yield {
                    "id": f"{name}-{view}",
                    "group": name,
                    "ef": number(fraction, path, "EF"),
                    "view": self.label("view", view, path),
                    "_file": self.image(folder, f"{view}_half_sequence", f"{view}_sequence"),
                    "_fps": number(info.get("FrameRate", "0"), path, "FrameRate"),
                }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        video = read_images(row["_file"])
        if len(video) < 2:
            raise DatasetError(f"{row['_file']} is one image, not a sequence: get the file again")
        return {"input": {"video": reduced(video, LARGEST), "fps": row["_fps"]}}


class CamusFrames(_Camus):
    """One example per patient, view and moment: `structures` (H, W) is the expert's mask."""

    source: ClassVar[str] = "camus-frames"

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for name, folder in self.patients(split):
            for view in VIEWS:
                for moment in MOMENTS:
                    title = f"{view}_{moment}"
                    yield {
                        "id": f"{name}-{view}-{moment}",
                        "group": name,
                        "_image": self.image(folder, title),
                        "_mask": self.image(folder, f"{title}_gt"),
                    }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        image, mask = read_images(row["_image"]), read_images(row["_mask"])
        classes = len(self.classes("structures"))
        return {
            "input": {"video": image, "fps": 0.0},
            "structures": checked_mask(mask, row["_mask"], classes, image.shape)[0],
        }


def read_info(path: Path) -> dict[str, str]:
    """The `name: value` lines of an Info_*.cfg."""
    with reading(path):
        text = path.read_text(encoding="utf-8-sig")
    return dict(re.findall(r"^\s*(\w+)\s*:\s*(.*?)\s*$", text, re.MULTILINE))
