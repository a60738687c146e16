"""Generated WFDB records and the damage that every set of them can take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import wfdb
from numpy.typing import NDArray

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def signal(seed: int, rate: int, seconds: float, leads: int = 12, beat: float = 0.8) -> NDArray:
    """(T, leads) mV: a bump for every beat (every `beat` seconds), in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(rate * seconds)) / rate
    phase = (time % beat) - beat / 2
    shape = np.exp(-0.5 * (phase / 0.02) ** 2) + 0.25 * np.exp(-0.5 * ((phase - 0.22) / 0.05) ** 2)
    gains = 0.5 + rng.random(leads)
    return shape[:, None] * gains + rng.normal(0, 0.02, (len(time), leads))


def write_dat(
    record: Path, values: NDArray, rate: int, names: Sequence[str] = LEADS, unit: str = "mV"
) -> None:
    """`record.hea` and `record.dat` in format 16, as PhysioNet's sets have them."""
    record.parent.mkdir(parents=True, exist_ok=True)
    count = len(names)
    wfdb.wrsamp(
        record.name,
        fs=rate,
        units=[unit] * count,
        sig_name=list(names),
        p_signal=values,
        fmt=["16"] * count,
        adc_gain=[1000.0 if unit == "mV" else 1.0] * count,
        baseline=[0] * count,
        write_dir=str(record.parent),
    )


def write_mat(
    record: Path,
    values: NDArray,
    rate: int,
    names: Sequence[str] = LEADS,
    comments: Sequence[str] = (),
) -> None:
    """`record.hea` and `record.mat` of a challenge: a MATLAB 4 matrix `val` of 16-bit integers in
    uV, whose samples begin after 24 bytes."""
    record.parent.mkdir(parents=True, exist_ok=True)
    digital = np.round(1000 * values).astype("<i2")
    head = np.array([30, digital.shape[1], len(digital), 0, 4], "<i4").tobytes() + b"val\0"
    record.with_suffix(".mat").write_bytes(head + digital.tobytes())
    lines = [f"{record.name} {len(names)} {rate} {len(digital)} 12-May-2020 12:33:59"]
    for index, name in enumerate(names):
        column = digital[:, index].astype(np.int64)
        total = (int(column.sum()) + 32768) % 65536 - 32768
        lines.append(f"{record.name}.mat 16+24 1000/mV 16 0 {column[0]} {total} 0 {name}")
    record.with_suffix(".hea").write_text("\n".join([*lines, *comments]) + "\n")


def truncate(path: Path, keep: float = 0.7) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])


def replace(path: Path, old: str, new: str, count: int = -1) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")
