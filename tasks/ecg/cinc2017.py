"""AF from a short single-lead ECG: PhysioNet/CinC Challenge 2017 (Clifford et al. 2017).

Layout of https://physionet.org/content/challenge-2017/1.0.0/: `training2017/A00001.{hea,mat}` (or
`training/A00/A00001.{hea,mat}`), 9 to 61 s at 300 Hz from AliveCor's hand-held device, whose two
electrodes give lead I (the header calls it `ECG` or by the record's name); `REFERENCE-v3.csv`, the
revised labels, without a header line: `A00001,N`. Without it the `REFERENCE.csv` that is packed
with the recordings is read.

The challenge's test set is hidden. Of the training set 70% train, 10% select and 20% test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.task import Task
from tasks.ecg.dealt_splits import deal_splits
from tasks.ecg.wfdb_files import AGAIN, beside, read_signal

RATE = 300
CLASSES = {"N": "normal", "A": "af", "O": "other", "~": "noise"}
LABELS = "|".join(
    f"{folder}REFERENCE{version}.csv"
    for version in ("-v3", "")
    for folder in ("", "training2017/", "training/")
)
NAME = "A[0-9][0-9][0-9][0-9][0-9].hea"
HEADERS = f"training2017/{NAME}|training/{NAME}|training/*/{NAME}|{NAME}"
FILES = "https://physionet.org/files/challenge-2017/1.0.0"


class Cinc2017(Task):
    source = "cinc2017"
    distribution = Distribution(
        folders=(
            "cinc2017",
            "challenge-2017",
            "challenge-2017-1.0.0",
            "af-classification-from-a-short-single-lead-ecg-recording-the-physionet-computing-in-"
            "cardiology-challenge-2017-1.0.0",
            "training2017",
        ),
        layout=(LABELS, HEADERS, HEADERS.replace(".hea", ".mat")),
        downloads=(
            Download(f"{FILES}/training2017.zip"),
            Download(f"{FILES}/REFERENCE-v3.csv"),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder = self.folder
        index = next(matches(folder, LABELS))
        table = read_csv(index, ["record", "class"], header=("record", "class"))
        names = [row["record"].strip() for row in table]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DatasetError(f"{index}: the record {twice} stands twice: {AGAIN}")
        letters = [row["class"].strip() for row in table]
        held = deal_splits(dict(zip(names, letters, strict=True)))
        found = {path.stem: path.with_suffix("") for path in matches(folder, HEADERS)}
        for name, letter in zip(names, letters, strict=True):
            if held[name] == split:
                label = self.label("rhythm", CLASSES.get(letter, letter), index)
                record = found.get(name, folder / "training2017" / name)
                yield {"id": name, "group": name, "rhythm": label, "_record": record}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        record: Path = row["_record"]
        stored = read_signal(record, RATE, None, checksum=False)
        if len(stored["leads"]) != 1:
            path = beside(record, ".hea")
            raise DatasetError(f"{path}: {len(stored['leads'])} signals instead of 1: {AGAIN}")
        return {"input": {**stored, "leads": ["I"]}}
