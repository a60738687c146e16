"""Beats of the MIT-BIH Arrhythmia Database (Moody and Mark 2001) in the classes of AAMI EC57.

Layout of https://physionet.org/content/mitdb/1.0.0/: `<record>.{hea,dat,atr}`, 30 min of two leads
at 360 Hz, an annotation at every beat; `RECORDS` lists the records.

Division and classes: de Chazal, O'Dwyer and Reilly (2004, IEEE TBME 51:1196): DS1 trains, DS2
tests; the four records with paced beats (102, 104, 107, 217) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task
from tasks.ecg.wfdb_files import AGAIN, beside, read_annotations, read_signal

RATE = 360
BEFORE, AFTER = round(0.9 * RATE), round(0.6 * RATE)  # samples around the annotated one
LEAD = "MLII"  # modified lead II, by name: in record 114 it is the second signal
DIVISION = {
    "train": "101 106 108 109 112 114 115 116 118 119 122 "
    "124 201 203 205 207 208 209 215 220 223 230",
    "test": "100 103 105 111 113 117 121 123 200 202 210 "
    "212 213 214 219 221 222 228 231 232 233 234",
}
BEATS = {
    **dict.fromkeys("NLRej", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    "F": "F",
}


class MitBihAami(Task):
    source = "mit-bih"
    splits = ("train", "test")
    distribution = Distribution(
        folders=("mitdb", "mit-bih", "mit-bih-arrhythmia-database-1.0.0", "mitdb-1.0.0"),
        layout=("*.atr", "*.hea|RECORDS", "*.dat"),
        downloads=(
            Download(
                "https://physionet.org/static/published-projects/mitdb/"
                "mit-bih-arrhythmia-database-1.0.0.zip",
                strip=1,
            ),
        ),
    )

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder = self.folder
        index, listed = folder / "RECORDS", None
        if index.is_file():
            with reading(index):
                listed = set(index.read_text(encoding="utf-8-sig").split())
        for name in DIVISION[split].split():
            if listed is None or name in listed:
                yield {"id": name, "group": name, "_record": folder / name}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """The beats of one record; those of class Q (not classifiable) are left out."""
        record: Path = row["_record"]
        stored = read_signal(record, RATE, (LEAD,))
        signal, length = stored["signal"], stored["signal"].shape[1]
        samples, symbols = read_annotations(record, "atr")
        if len(samples) and samples[-1] >= length:
            path = beside(record, ".atr")
            raise DatasetError(f"{path} marks sample {samples[-1]} of {length}: {AGAIN}")
        padded = np.pad(signal, ((0, 0), (BEFORE, AFTER)), mode="edge")
        for at, symbol in zip(samples.tolist(), symbols, strict=True):
            if symbol in BEATS:
                yield {
                    "id": f"{row['id']}-{at}",
                    "group": row["group"],
                    "beat": self.label("beat", BEATS[symbol], record),
                    "input": {
                        "signal": padded[:, at : at + BEFORE + AFTER].copy(),
                        "sample_rate": float(RATE),
                        "leads": ["II"],
                    },
                }
