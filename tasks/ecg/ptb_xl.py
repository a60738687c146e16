"""PTB-XL (Wagner et al. 2020), with the labels and folds of its official benchmark.

Layout of versions 1.0.1 to 1.0.3: `ptbxl_database.csv` (`ecg_id`, `patient_id`, `scp_codes`,
`strat_fold`, `filename_lr`, `filename_hr`), `scp_statements.csv` (code, `diagnostic`, `form`,
`rhythm`, `diagnostic_class`, `diagnostic_subclass`) and WFDB records of 10 s with 12 leads, at
100 Hz below `records100/` and at 500 Hz below `records500/`.

Labels are those of Strodthoff et al. (2021, https://github.com/helme/ecg_ptbxl_benchmarking): every
statement of a record counts, whatever its likelihood, 0 included (it stands for "not stated" with
form and rhythm). A record without a label of a kind is not part of that kind's task. Folds 1-8, 9
and 10 train, select and test; no patient is in two.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.distribution import Distribution, Download
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv
from benchmark.task import Task
from tasks.ecg.wfdb_files import AGAIN, read_signal

SPLITS = {**dict.fromkeys(range(1, 9), "train"), 9: "validation", 10: "test"}
# label column -> flag of the statements that count, column of the class that each stands for
KINDS = {
    "superclass": ("diagnostic", "diagnostic_class"),
    "subclass": ("diagnostic", "diagnostic_subclass"),
    "form": ("form", ""),
    "rhythm": ("rhythm", ""),
    "statements": ("", ""),
}
ARCHIVE = "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0."
FOLDERS = (
    "ptb-xl",
    "ptbxl",
    *(f"{name}{v}" for v in (3, 2, 1) for name in (ARCHIVE, "ptb-xl-1.0.")),
)
DOWNLOAD = Download(
    f"https://physionet.org/static/published-projects/ptb-xl/{ARCHIVE}3.zip", strip=1
)
TABLES = ("ptbxl_database.csv", "scp_statements.csv")


def statements(path: Path) -> dict[str, dict[str, str]]:
    """Label column -> statement -> the class it stands for."""
    columns = ["diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    known: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for row in read_csv(path, ["", *columns]):
        for kind, (flag, column) in KINDS.items():
            name = row[column] if column else row[""]
            if name and (not flag or (row[flag] and number(row[flag], path, flag) == 1)):
                known[kind][row[""]] = name
    return known


def codes(text: str, where: str) -> list[str]:
    """The statements of a cell like `{'NORM': 100.0, 'SR': 0.0}`."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = None
    if not isinstance(found, dict):
        raise DatasetError(
            f"{where}: {text!r} in column 'scp_codes' is no {{'CODE': 100.0}}: {AGAIN}"
        )
    return [str(code) for code in found]


class PtbXl(Task):
    """Records at 100 Hz."""

    source = "ptb-xl"
    distribution = Distribution(
        FOLDERS, (*TABLES, "records100/*/*.hea", "records100/*/*.dat"), (DOWNLOAD,)
    )
    rate: ClassVar[int] = 100
    column: ClassVar[str] = "filename_lr"

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        folder, index = self.folder, self.path("ptbxl_database.csv")
        known = statements(self.path("scp_statements.csv"))
        columns = ["ecg_id", "patient_id", "scp_codes", "strat_fold", self.column]
        for row in read_csv(index, columns):
            with self.collecting():
                where = f"{index}: ecg_id {row['ecg_id']}"
                fold = SPLITS.get(int(number(row["strat_fold"], index, "strat_fold")))
                if fold is None:
                    raise DatasetError(
                        f"{where}: strat_fold {row['strat_fold']} is not 1 to 10: {AGAIN}"
                    )
                if fold == split:
                    stated = codes(row["scp_codes"], where)
                    yield {
                        "id": row["ecg_id"],
                        "group": int(number(row["patient_id"], index, "patient_id")),
                        **{kind: self._present(kind, stated, known[kind], where) for kind in KINDS},
                        "_record": folder / row[self.column],
                    }

    def _present(
        self, kind: str, stated: list[str], known: Mapping[str, str], where: str
    ) -> np.ndarray[Any, Any] | None:
        """0 / 1 per class of a kind; None where no statement is of that kind."""
        if kind == "statements":
            known = {code: code for code in stated}  # so that an unknown one is told
        names = {known[code] for code in stated if code in known}
        present = np.zeros(len(self.classes(kind)), np.int64)
        present[[self.label(kind, name, where) for name in sorted(names)]] = 1
        return present if names else None

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        remedy = f"`ssl-bench data fetch {self.card.name}` downloads it"
        return {"input": read_signal(row["_record"], self.rate, remedy=remedy)}


class PtbXl500(PtbXl):
    """The same records at 500 Hz."""

    source = "ptb-xl-500"
    distribution = Distribution(
        FOLDERS, (*TABLES, "records500/*/*.hea", "records500/*/*.dat"), (DOWNLOAD,)
    )
    rate = 500
    column = "filename_hr"
