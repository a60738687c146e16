"""Chapman-Shaoxing-Ningbo: 45,152 ECGs of as many patients (Zheng et al. 2020, 2022).

Layout of https://physionet.org/content/ecg-arrhythmia/1.0.0/: `ConditionNames_SNOMED-CT.csv`
(`Acronym Name`, `Full Name`, `Snomed_CT`) and `WFDBRecords/<01..46>/<folder>/JS<number>.{hea,mat}`,
12 leads of 10 s at 500 Hz, SNOMED CT codes in the header's comment `Dx`. Codes that the table does
not name are common, and ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.ecg.dealt_splits import deal_splits
from tasks.ecg.merl_lists import merl_lists
from tasks.ecg.wfdb_files import AGAIN, diagnoses, read_signal

RATE = 500
# as published their headers lack a line break, and with it a lead
DAMAGED = frozenset({"JS01052", "JS23074"})
CONDITIONS = "ConditionNames_SNOMED-CT.csv"
RECORD = "WFDBRecords/*/*/*"
ARCHIVE = "a-large-scale-12-lead-electrocardiogram-database-for-arrhythmia-study-1.0.0"
FOLDERS = ("chapman", "chapman-shaoxing-ningbo", "ecg-arrhythmia", "csn", ARCHIVE)
LAYOUT = (CONDITIONS, f"{RECORD}.hea", f"{RECORD}.mat")
DOWNLOAD = Download(
    f"https://physionet.org/static/published-projects/ecg-arrhythmia/{ARCHIVE}.zip", strip=1
)


def condition_codes(path: Path) -> dict[str, str]:
    """Acronym -> SNOMED CT code."""
    rows = read_csv(path, ["Snomed_CT"])
    columns = [name for name in rows[0] if name.replace(" ", "").lower() == "acronymname"]
    if not columns:
        raise DatasetError(f"{path} has no column 'Acronym Name': {AGAIN}")
    return {row[columns[0]].strip(): row["Snomed_CT"].strip() for row in rows}


class Chapman(Task):
    source: ClassVar[str] = "chapman"
    distribution = Distribution(FOLDERS, LAYOUT, (DOWNLOAD,))

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        path = self.path(CONDITIONS)
        known = condition_codes(path)
        lacking = [name for name in self.card.target.classes if name not in known]
        if lacking:
            raise DatasetError(f"{path} does not name {', '.join(lacking)}: {AGAIN}")
        held = deal_splits({name: "+".join(found) for name, (found, _) in self._listing.items()})
        for name, (found, record) in self._listing.items():
            if held[name] == split:
                present = [known[label] in found for label in self.card.target.classes]
                labels = np.array(present, np.int64)
                yield {"id": name, "group": name, "conditions": labels, "_record": record}

    @cached_property
    def _listing(self) -> dict[str, tuple[list[str], Path]]:
        """Name of every record -> its codes, sorted, and its path."""
        folder = self.folder
        records: dict[str, Path] = {}
        for ending in ("hea", "mat"):
            for path in matches(folder, f"{RECORD}.{ending}"):
                record = path.with_suffix("")
                if records.setdefault(path.stem, record) != record:
                    raise DatasetError(
                        f"the record {path.stem} stands twice, {records[path.stem]} and {record}: "
                        "remove one"
                    )
        return {
            name: (sorted(set(diagnoses(path.with_suffix(".hea")))), path)
            for name, path in sorted(records.items())
            if name not in DAMAGED
        }

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        # a few dozen records hold samples that are marked invalid
        return {"input": read_signal(row["_record"], RATE, checksum=False, gaps=True)}


class ChapmanMerl(Chapman):
    """With the records, labels and split of MERL, read from its lists (`ecg_path`, a column per
    class)."""

    source = "chapman-merl"
    lists: ClassVar[dict[str, str]] = {
        split: f"chapman_{name}.csv"
        for split, name in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    distribution = Distribution(
        FOLDERS,
        (*LAYOUT[1:], *lists.values()),
        downloads=(DOWNLOAD, *merl_lists("chapman")),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder, table, classes = self.folder, self.path(self.lists[split]), self.card.target.classes
        for row in read_csv(table, ["ecg_path", *classes]):
            with self.collecting():
                _, found, below = row["ecg_path"].partition("WFDBRecords/")
                if not found:
                    raise DatasetError(
                        f"{table}: {row['ecg_path']!r} is not below WFDBRecords/: {AGAIN}"
                    )
                name = PurePosixPath(below).stem
                if name in DAMAGED:
                    continue
                present = [number(row[label], table, label) for label in classes]
                record = folder / "WFDBRecords" / PurePosixPath(below).with_suffix("")
                labels = np.array(present, np.int64)
                yield {"id": name, "group": name, "conditions": labels, "_record": record}
