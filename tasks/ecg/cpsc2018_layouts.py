"""The three layouts of CPSC 2018 on disk, read into one listing.

- That of the PhysioNet/CinC Challenges 2020 and 2021: `A0001.hea` and `A0001.mat` in folders of any
  depth (`training/cpsc_2018/g1/`, `Training_WFDB/`), SNOMED CT codes in the header's comment `Dx`.
- The challenge's own: `TrainingSet1/A0001.mat` (a structure `ECG` with `sex`, `age` and `data`,
  12 x T in mV) with `REFERENCE.csv` (`Recording`, `First_label`, `Second_label`, `Third_label`:
  1 to 9), one for all or one in every folder.
- The one that MERL and others read, written by code/utils/convert_ICBEB.py of
  https://github.com/helme/ecg_ptbxl_benchmarking: `icbeb_database.csv` (`ecg_id`, `filename`,
  `scp_codes`) and WFDB records `records500/<ecg_id>`. Their numbers follow the order in which a
  file system lists the recordings, so that records are named by `filename`.

Codes: https://github.com/physionetchallenges/evaluation-2020 (dx_mapping_*.csv, columns CPSC).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import matches
from benchmark.errors import DatasetError
from benchmark.files import number, read_csv, reading
from benchmark.inputs import STANDARD_LEADS
from tasks.ecg.ptb_xl import codes
from tasks.ecg.wfdb_files import AGAIN, diagnoses

CODES = {
    "426783006": "Normal",
    "164889003": "AF",
    "270492004": "I-AVB",
    "164909002": "LBBB",
    "59118001": "RBBB",
    "284470004": "PAC",
    "164884008": "PVC",
    "429622005": "STD",
    "164931005": "STE",
}
NUMBERS = dict(enumerate(CODES.values(), 1))
SCP = ("NORM", "AFIB", "1AVB", "CLBBB", "CRBBB", "PAC", "VPC", "STD_", "STE_")
STATEMENTS = dict(zip(SCP, CODES.values(), strict=True))
RECORD = "**/A[0-9][0-9][0-9][0-9]"
REFERENCE, DATABASE = "**/REFERENCE.csv", "icbeb_database.csv"
LAYOUT = (f"{RECORD}.mat|records500/*.dat", f"{RECORD}.hea|{REFERENCE}|{DATABASE}")
LABELS = ("First_label", "Second_label", "Third_label")

Listing = dict[str, tuple[list[str], Path]]


def listing(folder: Path) -> Listing:
    """Name of every record, sorted -> its findings, and its WFDB header or its own `.mat`.

    Raises:
        DatasetError: a record stands twice, has no label or an unknown one, or lacks its header.
    """
    signals = _named(matches(folder, f"{RECORD}.mat"))
    headers = _named(matches(folder, f"{RECORD}.hea"))
    if headers:
        paths = {name: path.with_suffix(".hea") for name, path in signals.items()} | headers
        found = {name: (_coded(path), path) for name, path in paths.items()}
    elif signals:
        found = _referenced(folder, signals)
    else:
        found = _converted(folder)
    return dict(sorted(found.items()))


def original_signal(path: Path) -> NDArray[np.float32]:
    """(12, T) mV of a recording in the challenge's own format.

    Raises:
        DatasetError: missing or truncated file, not 12 leads, NaN.
    """
    from scipy.io import loadmat

    with reading(path, AGAIN), path.open("rb") as file:
        signal = np.asarray(loadmat(file)["ECG"]["data"][0, 0], np.float32)
    if signal.ndim != 2 or len(signal) != len(STANDARD_LEADS) or not signal.size:
        raise DatasetError(f"{path}: {signal.shape} samples instead of 12 leads: {AGAIN}")
    if not np.isfinite(signal).all():
        raise DatasetError(f"{path} holds NaN or infinite values: {AGAIN}")
    return signal


def _named(paths: Iterator[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise DatasetError(
                f"the record {path.stem} stands twice, {found[path.stem]} and {path}: remove one"
            )
        found[path.stem] = path
    return found


def _coded(header: Path) -> list[str]:
    found = diagnoses(header)
    unknown = [code for code in found if code not in CODES]
    if unknown or not found:
        raise DatasetError(
            f"{header}: the label {' '.join(unknown)!r} in Dx is not one of the 9 codes of the "
            f"set: {AGAIN}"
        )
    return [CODES[code] for code in found]


def _referenced(folder: Path, signals: Mapping[str, Path]) -> Listing:
    found: Listing = {}
    for table in matches(folder, REFERENCE):
        here: set[str] = set()
        for row in read_csv(table, ["Recording", *LABELS]):
            name, labels = row["Recording"].strip(), _numbered(row, table)
            if name in here or (name in found and found[name][0] != labels):
                raise DatasetError(f"{table}: the record {name} stands twice: {AGAIN}")
            here.add(name)
            found[name] = (labels, signals.get(name, table.with_name(f"{name}.mat")))
    return found


def _numbered(row: Mapping[str, str], table: Path) -> list[str]:
    stated = [row[column].strip() for column in LABELS]
    found = [number(text, table, "label") for text in stated if text.lower() not in ("", "nan")]
    if not found or not set(found) <= NUMBERS.keys():
        raise DatasetError(
            f"{table}: the labels {' '.join(stated)} of {row['Recording']} are not from 1 to 9: "
            f"{AGAIN}"
        )
    return [NUMBERS[int(label)] for label in found]


def _converted(folder: Path) -> Listing:
    table, found = folder / DATABASE, Listing()
    for row in read_csv(table, ["ecg_id", "filename", "scp_codes"]):
        name, where = row["filename"].strip(), f"{table}: {row['filename']}"
        labels = codes(row["scp_codes"], where)
        unknown = [label for label in labels if label not in STATEMENTS]
        if unknown or not labels:
            raise DatasetError(
                f"{where}: the label {' '.join(unknown)!r} is not one of the 9 of the set: {AGAIN}"
            )
        if name in found:
            raise DatasetError(f"{table}: the record {name} stands twice: {AGAIN}")
        path = folder / "records500" / f"{row['ecg_id'].strip()}.hea"
        found[name] = ([STATEMENTS[label] for label in labels], path)
    return found
