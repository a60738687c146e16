"""Reading WFDB records: headers (`.hea`), signals (`.dat`, `.mat`) and annotations.

Formats: https://wfdb.io/spec/header-files.html and signal-files.html, annotation-files.html beside
it. A record is named by its path without an ending. A `.mat` record of PhysioNet's challenges is a
signal file of format 16 that begins after 24 bytes, so its header reads it like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.inputs import STANDARD_LEADS

AGAIN = "get the file again, unchanged"
LEADS = {name.upper(): name for name in STANDARD_LEADS}
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3, "nv": 1e-6, "v": 1e3}


def lead_name(name: str) -> str:
    """The usual spelling of a lead: `AVR`, `avr` and `aVR` are `aVR`; others stay as they are."""
    return LEADS.get(name.strip().upper(), name.strip())


def beside(record: Path, ending: str) -> Path:
    """The file of a record with an ending (`.hea`)."""
    return record.with_name(record.name + ending)


def read_signal(
    record: Path,
    rate: float,
    leads: Sequence[str] | None = STANDARD_LEADS,
    *,
    checksum: bool = True,
    gaps: bool = False,
    remedy: str = AGAIN,
) -> dict[str, Any]:
    """A record as an `input`: `signal` (leads, T) float32 in mV, `sample_rate` in Hz, `leads`.

    The leads are taken by name in the order asked for, whatever their order in the file, and others
    are left out; None takes all of them in the file's order. `checksum`: compare the samples with
    the header's checksums (0 stands for none). `gaps`: samples that the format marks as invalid
    become 0 mV; else they are an error.

    Raises:
        DatasetError: missing, truncated or altered file, another rate, no such lead, no such unit,
            invalid samples.
    """
    header = beside(record, ".hea")
    read = _digital(record, header, remedy)
    data = header.with_name(read.file_name[0])
    if read.fs != rate:
        raise DatasetError(f"{header}: {read.fs:g} Hz instead of {rate:g} Hz: {AGAIN}")
    samples = np.asarray(read.d_signal)
    if not len(samples) or len(samples) != (read.sig_len or len(samples)):
        raise DatasetError(
            f"{data} has {len(samples)} samples, its header says {read.sig_len}: {AGAIN}"
        )
    columns: dict[str, int] = {}
    for index, name in enumerate(read.sig_name):
        columns.setdefault(lead_name(name or f"signal {index + 1}"), index)
    wanted = list(columns) if leads is None else [lead_name(name) for name in leads]
    lacking = [name for name in wanted if name not in columns]
    if lacking:
        raise DatasetError(
            f"{header} has no lead {', '.join(lacking)} (it has {', '.join(columns)}): {AGAIN}"
        )
    if checksum:
        _check_sums(data, samples, read.checksum)
    rows = [columns[name] for name in wanted]
    signal = _millivolts(header, read, samples, rows)
    if not gaps and not np.isfinite(signal).all():
        lead = wanted[int(np.flatnonzero(~np.isfinite(signal).all(1))[0])]
        raise DatasetError(
            f"{data}: lead {lead} holds samples that are marked invalid (NaN): {AGAIN}"
        )
    signal = np.nan_to_num(signal, nan=0.0) if gaps else signal
    return {"signal": signal, "sample_rate": float(rate), "leads": wanted}


def _digital(record: Path, header: Path, remedy: str) -> Any:
    """A record with its stored samples. Its header is parsed once, which takes as long as reading
    them; it is looked at again only to tell whether it or the signal file is damaged."""
    import wfdb

    try:
        return wfdb.rdrecord(str(record), physical=False)
    except MemoryError:
        raise
    except Exception as error:
        with reading(header, remedy):
            head = wfdb.rdheader(str(record))
            data = header.with_name(head.file_name[0])
        with reading(data, remedy):
            raise error
    raise AssertionError("reading() always raises")


def _check_sums(data: Path, samples: NDArray[Any], stated: Sequence[int | None]) -> None:
    """A header's checksum is the 16-bit sum of the lead's samples, signed or not."""
    sums = samples.astype(np.int64).sum(0) & 0xFFFF
    for index, value in enumerate(stated or ()):
        if value and value & 0xFFFF != sums[index]:
            raise DatasetError(
                f"{data}: signal {index + 1} does not have its header's checksum: {AGAIN}"
            )


def _millivolts(header: Path, read: Any, samples: NDArray[Any], rows: list[int]) -> NDArray[Any]:
    """(leads, T) float32, NaN for invalid samples."""
    physical = read.dac(return_res=32)
    out = np.empty((len(rows), len(samples)), np.float32)
    for row, index in zip(out, rows, strict=True):
        unit = str(read.units[index] or "mV").lower()
        if unit not in MILLIVOLTS:
            raise DatasetError(f"{header}: the unit {read.units[index]!r} is no voltage: {AGAIN}")
        row[:] = physical[:, index] * np.float32(MILLIVOLTS[unit])
    return out


def read_annotations(record: Path, extension: str) -> tuple[NDArray[np.int64], list[str]]:
    """Sample numbers and symbols of an annotation file in the format of MIT.

    Raises:
        DatasetError: missing or truncated file: it ends with a pair of zero bytes.
    """
    import wfdb

    path = beside(record, f".{extension}")
    with reading(path, AGAIN):
        whole = path.read_bytes()[-2:] == b"\0\0"
        if not whole:
            raise DatasetError(f"{path} is truncated: it lacks the mark of its end: {AGAIN}")
        found = wfdb.rdann(str(record), extension)
    return np.asarray(found.sample, np.int64), list(found.symbol)


def diagnoses(header: Path) -> list[str]:
    """The codes of a header's comment `Dx: 164889003,59118001` (SNOMED CT), in its order.

    Raises:
        DatasetError: missing header, or one without that line.
    """
    with reading(header, AGAIN):
        lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        name, _, value = line.strip().lstrip("# ").partition(":")
        if line.lstrip().startswith("#") and name.strip().lower() == "dx":
            return [code.strip() for code in value.split(",") if code.strip()]
    raise DatasetError(f"{header} has no line '#Dx: ...' with the diagnoses: {AGAIN}")
