"""China Physiological Signal Challenge 2018 (Liu et al. 2018): 12 leads, 500 Hz, 6 to 144 s.

Layouts and labels: `tasks.ecg.cpsc2018_layouts`. The challenge's test set is hidden. Of the public
part 70% train, 10% select and 20% test, or MERL's lists say which records do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.distribution import Distribution
from benchmark.errors import DatasetError
from benchmark.files import read_csv
from benchmark.inputs import STANDARD_LEADS
from benchmark.listings import ChecksumList
from benchmark.task import Task
from tasks.ecg.cpsc2018_layouts import LAYOUT, Listing, listing, original_signal
from tasks.ecg.dealt_splits import deal_splits
from tasks.ecg.merl_lists import merl_lists
from tasks.ecg.wfdb_files import read_signal

RATE = 500
FOLDERS = ("cpsc2018", "cpsc_2018", "icbeb2018", "icbeb", "Training_WFDB")
RECORDS = ChecksumList(
    "https://physionet.org/files/challenge-2021/1.0.3/SHA256SUMS.txt",
    keep=("training/cpsc_2018/g*/A*.hea", "training/cpsc_2018/g*/A*.mat"),
)


class Cpsc2018(Task):
    source: ClassVar[str] = "cpsc2018"
    distribution = Distribution(FOLDERS, LAYOUT, listings=(RECORDS,))

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        names = {name: "+".join(sorted(found)) for name, (found, _) in self._listing.items()}
        held = deal_splits(names)
        return (self._row(name) for name in names if held[name] == split)

    @cached_property
    def _listing(self) -> Listing:
        return listing(self.folder)

    def _row(self, name: str) -> Mapping[str, Any]:
        found, path = self._listing[name]
        present = np.zeros(len(self.card.target.classes), np.int64)
        present[[self.label("findings", finding, path) for finding in found]] = 1
        return {"id": name, "group": name, "findings": present, "_file": path}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        path: Path = row["_file"]
        if path.suffix == ".hea":
            return {"input": read_signal(path.with_suffix(""), RATE, checksum=False)}
        leads = list(STANDARD_LEADS)
        return {
            "input": {
                "signal": original_signal(path),
                "sample_rate": float(RATE),
                "leads": leads,
            }
        }


class Cpsc2018Merl(Cpsc2018):
    """With the split of MERL, read from its lists (column `filename`)."""

    source = "cpsc2018-merl"
    lists: ClassVar[dict[str, str]] = {
        split: f"icbeb_{name}.csv"
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    distribution = Distribution(
        FOLDERS,
        (*LAYOUT, *lists.values()),
        downloads=merl_lists("icbeb"),
        listings=(RECORDS,),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        table = self.path(self.lists[split])
        for row in read_csv(table, ["filename"]):
            with self.collecting():
                if row["filename"] not in self._listing:
                    raise DatasetError(
                        f"{table}: {self.folder} has no record {row['filename']}: get it again"
                    )
                yield self._row(row["filename"])
