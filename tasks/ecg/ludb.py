"""Delineation of P, QRS and T: Lobachevsky University Database (Kalyakulina et al. 2020).

Layout of version 1.0.1: `ludb.csv` (column `ID`) and `data/<ID>.{hea,dat}`, 12 leads of 10 s at
500 Hz, with one annotation file per lead, `data/<ID>.{i,ii,iii,avr,avl,avf,v1,...,v6}`: the onset
`(`, the peak (`p`, `N` for QRS, `t`) and the offset `)` of every wave of the annotated part.
Format and counts: the database's README, https://physionet.org/content/ludb/1.0.1/.

Records are 200 persons; there is no official split: record N is in fold (N - 1) mod 5 + 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task, folds
from tasks.ecg.wfdb_files import AGAIN, beside, read_annotations, read_signal

RATE = 500
LEAD = "ii"  # whose annotation is the target
PEAKS = {"p": "p", "N": "qrs", "t": "t"}
NOT_ANNOTATED = -1


def waves(
    samples: NDArray[np.int64], symbols: Sequence[str], classes: Sequence[str], length: int
) -> NDArray[np.float64]:
    """(n, 3) onset s, offset s, class of every wave, and of every part without annotation (-1).

    Not annotated are what precedes the first mark and follows the last one, and, where a wave lacks
    its onset, the time from the mark before it to its peak.
    """
    found: list[tuple[int, int, int]] = []
    last, onset = 0, None
    marks = list(zip(samples.tolist(), symbols, strict=True))
    for index, (at, symbol) in enumerate(marks):
        if symbol == "(":
            onset = at
        elif symbol == ")":
            last, onset = at, None
        else:
            follow = next((s for s, mark in marks[index + 1 :] if mark == ")"), at)
            begin = at if onset is None else onset
            if not found or onset is None:
                found.append((last, begin, NOT_ANNOTATED))
            found.append((begin, follow, classes.index(PEAKS[symbol])))
            onset = None
    found.append((last, length, NOT_ANNOTATED))
    events = np.array(found, np.float64)
    events[:, :2] /= RATE
    return events[events[:, 1] > events[:, 0]]


class Ludb(Task):
    source = "ludb"
    splits = folds(5)
    distribution = Distribution(
        folders=("ludb", "lobachevsky-university-electrocardiography-database-1.0.1", "ludb-1.0.1"),
        layout=("ludb.csv", "data/*.hea", "data/*.dat", f"data/*.{LEAD}"),
        downloads=(
            Download(
                "https://physionet.org/static/published-projects/ludb/"
                "lobachevsky-university-electrocardiography-database-1.0.1.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder, index = self.folder, self.path("ludb.csv")
        for row in read_csv(index, ["ID"]):
            with self.collecting():
                record = int(number(row["ID"], index, "ID"))
                if self.splits[(record - 1) % len(self.splits)] == split:
                    yield {"id": record, "group": record, "_record": folder / "data" / str(record)}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        record: Path = row["_record"]
        stored = read_signal(record, RATE)
        samples, symbols = read_annotations(record, LEAD)
        path, length = beside(record, f".{LEAD}"), stored["signal"].shape[1]
        strange = set(symbols) - {"(", ")", *PEAKS}
        if strange:
            raise DatasetError(f"{path}: {min(strange)!r} is no mark of a wave: {AGAIN}")
        if not set(symbols) & set(PEAKS):
            raise DatasetError(f"{path} marks no wave: {AGAIN}")
        if samples[-1] >= length:
            raise DatasetError(f"{path} marks sample {samples[-1]} of {length}: {AGAIN}")
        return {"input": stored, "waves": waves(samples, symbols, self.classes("waves"), length)}
