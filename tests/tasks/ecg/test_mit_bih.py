"""MIT-BIH: a generated copy of the layout with short records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from generated_records import replace, signal, truncate

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.ecg.mit_bih import DIVISION

NAMES = [name for split in DIVISION.values() for name in split.split()]
SYMBOLS = "NAVFLRejaJSEQ"  # and rhythm marks between them
WIDTHS = {"N": 0.02, "S": 0.04, "V": 0.08, "F": 0.15}
AAMI = dict(zip(SYMBOLS, "NSVFNNNNSSSV-", strict=True))


def write(folder: Path, name: str, leads: tuple[str, str], rate: int = 360) -> None:
    """14 beats, 1.2 s apart, whose width tells their class; format 212 as published."""
    length = round(16.5 * rate)
    time = np.arange(length) / rate
    values = 0.02 * signal(int(name), rate, 16.5, leads=2)
    peaks = [0.3 + 1.2 * index for index in range(len(SYMBOLS))]
    for peak, symbol in zip(peaks, SYMBOLS, strict=True):
        width = WIDTHS.get(AAMI[symbol], 0.02)
        shape = np.exp(-0.5 * ((time - peak) / width) ** 2)
        values[:, leads.index("MLII") if "MLII" in leads else 0] += shape
    wfdb.wrsamp(
        name, fs=rate, units=["mV"] * 2, sig_name=list(leads), p_signal=values, fmt=["212"] * 2,
        adc_gain=[200.0] * 2, baseline=[1024] * 2, write_dir=str(folder),
    )  # fmt: skip
    samples = np.array([10] + [round(peak * rate) for peak in peaks])
    notes = ["(N"] + [""] * len(SYMBOLS)
    wfdb.wrann(name, "atr", samples, symbol=["+", *SYMBOLS], aux_note=notes, write_dir=str(folder))


def make(root: Path) -> Path:
    folder = root / "mit-bih-arrhythmia-database-1.0.0"
    folder.mkdir(parents=True)
    for name in [*NAMES, "102"]:
        leads = ("V5", "MLII") if name == "114" else ("MLII", "V1")
        write(folder, name, ("V5", "V2") if name == "102" else leads)
    (folder / "RECORDS").write_text("\n".join(sorted([*NAMES, "102"])) + "\n")
    return folder


def test_division() -> None:
    """22 records each, no paced one, none in both."""
    assert [len(names.split()) for names in DIVISION.values()] == [22, 22]
    assert len(set(NAMES)) == 44
    assert not set(NAMES) & {"102", "104", "107", "217"}


@pytest.mark.long
def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    task = load_task("mit-bih-aami", tmp_path)
    data = task.load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 264, "test": 264}
    assert set(data["train"]["group"]) == set(DIVISION["train"].split())
    classes = [task.card.target.classes[label] for label in data["train"]["target"][:12]]
    assert classes == [AAMI[symbol] for symbol in SYMBOLS[:12]]
    row = read_row(data["train"], 1)
    assert row["id"] == "101-540"
    assert row["input"]["leads"] == ["II"]
    assert row["input"]["signal"].shape == (1, 540)
    for index in (data["train"]["id"].index("114-540"), 1):  # the second signal of record 114
        beat = read_row(data["train"], index)["input"]["signal"][0]
        assert beat.max() > 0.9
        assert abs(beat.argmax() - 324) < 10
    first = read_row(data["train"], 0)["input"]["signal"][0]  # 0.3 s after the record's begin
    assert np.ptp(first[: 324 - 108]) == 0
    assert all(found.passed for found in findings("mit-bih-aami", tmp_path).values())
    assert score("mit-bih-aami", tmp_path, "ecg-features").metrics["macro_f1"].value > 0.5


ENCODER = """
import torch

class Waves(torch.nn.Module):
    modality = "ecg"
    input = dict(sample_rate=60, seconds=1.5, leads={leads})

    def forward(self, signal, lengths):
        return signal.flatten(1)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("leads", "low", "high"), [(("V1", "II", "V5"), 0.5, 1.0), (("V1", "V5"), 0.0, 0.3)]
)
def test_encoders_with_other_leads(
    tmp_path: Path, score: Callable[..., Any], leads: tuple[str, ...], low: float, high: float
) -> None:
    """Leads are taken by name; those that the record lacks are zero and tell nothing."""
    make(tmp_path)
    path = tmp_path / "waves.py"
    path.write_text(ENCODER.format(leads=leads))
    value = score("mit-bih-aami", tmp_path, f"{path}:Waves").metrics["macro_f1"].value
    assert low <= value <= high


def test_some_records_listed(tmp_path: Path, refused: Callable[..., str]) -> None:
    """Those that RECORDS does not name are not looked for; without it all are."""
    folder = make(tmp_path)
    (folder / "100.dat").unlink()
    (folder / "RECORDS").write_text("\r\n".join(name for name in NAMES if name != "100"))
    assert len(load_task("mit-bih-aami", tmp_path).load()["test"]) == 252
    (folder / "RECORDS").unlink()
    assert "100.dat is missing" in refused("mit-bih-aami", tmp_path)


def missing(folder: Path) -> None:
    (folder / "105.dat").unlink()


def no_annotation(folder: Path) -> None:
    (folder / "105.atr").unlink()


def truncated(folder: Path) -> None:
    truncate(folder / "105.dat")


def truncated_annotation(folder: Path) -> None:
    truncate(folder / "105.atr")


def altered(folder: Path) -> None:
    data = bytearray((folder / "105.dat").read_bytes())
    data[3000] ^= 1
    (folder / "105.dat").write_bytes(data)


def wrong_rate(folder: Path) -> None:
    write(folder, "105", ("MLII", "V1"), rate=250)


def lacking_lead(folder: Path) -> None:
    write(folder, "105", ("V5", "V1"))


def outside(folder: Path) -> None:
    samples = np.array([100, 100_000])
    wfdb.wrann("105", "atr", samples, symbol=["N", "N"], write_dir=str(folder))


def twice(folder: Path) -> None:
    samples = np.array([100, 100])
    wfdb.wrann("105", "atr", samples, symbol=["N", "A"], write_dir=str(folder))


def no_test(folder: Path) -> None:
    (folder / "RECORDS").write_text(DIVISION["train"].replace(" ", "\n"))


def strange_header(folder: Path) -> None:
    replace(folder / "105.hea", "105 2 360", "105 two 360")


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["105.dat", "missing", "again"]),
        (no_annotation, ["105.atr", "missing", "again"]),
        (truncated, ["105.dat", "again"]),
        (truncated_annotation, ["105.atr", "truncated", "again"]),
        (altered, ["105.dat", "checksum", "again"]),
        (wrong_rate, ["105.hea", "250 Hz", "again"]),
        (lacking_lead, ["105.hea", "MLII", "again"]),
        (outside, ["105.atr", "100000", "again"]),
        (twice, ["105-100", "twice"]),
        (no_test, ["test", "empty", "data check"]),
        (strange_header, ["105.hea", "again"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("mit-bih-aami", tmp_path)
    assert all(word in text for word in words), text
