"""LUDB: the real database, and a small generated copy of its layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from generated_records import LEADS, replace, signal, truncate, write_dat

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.ecg.ludb import waves
from tasks.ecg.wfdb_files import beside

CLASSES = ("p", "qrs", "t", "background")


def annotate(record: Path, lead: str, beats: list[float], symbols: str = "(N)(t)") -> None:
    """Onset, peak and offset of QRS and T of each beat (s)."""
    steps = dict(zip("(N)", (-0.04, 0.0, 0.04), strict=True))
    late = dict(zip("(t)", (0.12, 0.22, 0.32), strict=True))
    samples, marks = [], []
    for beat in beats:
        for index, symbol in enumerate(symbols):
            moment = beat + (steps if index < symbols.index("t") - 1 else late)[symbol]
            samples.append(round(500 * moment))
            marks.append(symbol)
    folder = str(record.parent)
    wfdb.wrann(record.name, "x", np.array(samples), symbol=marks, write_dir=folder, fs=500)
    beside(record, ".x").rename(beside(record, f".{lead}"))  # wfdb writes no name with digits


def make(root: Path, records: int = 15) -> Path:
    """Records of 4 s with a beat every 0.8 s; returns the dataset's folder."""
    folder = root / "lobachevsky-university-electrocardiography-database-1.0.1"
    (folder / "data").mkdir(parents=True)
    lines = ["ID,Sex,Age,Rhythms"]
    for number in range(1, records + 1):
        record = folder / "data" / str(number)
        write_dat(record, signal(number, 500, 4), 500, [name.lower() for name in LEADS])
        for lead in ("ii", "v1"):
            annotate(record, lead, [1.2, 2.0, 2.8])
        lines.append(f'{number},"F\n","51\n",Sinus rhythm')
    (folder / "ludb.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.long
@pytest.mark.shared_data
def test_real_records(
    shared_data: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    data = load_task("ludb", shared_data).load()
    assert [len(rows) for rows in data.values()] == [40] * 5
    row = read_row(data["fold-1"], 0)
    assert row["input"]["signal"].shape == (12, 5000)
    events = row["target"]
    assert np.allclose(events[0], (0, 644 / 500, -1))
    assert np.allclose(events[1], (644 / 500, 682 / 500, 1))
    assert all(found.passed for found in findings("ludb", shared_data).values())
    assert 0.84 < score("ludb", shared_data, "ecg-features").metrics["frame_macro_f1"].value < 0.95


@pytest.mark.shared_data
def test_the_annotated_part_of_the_real_records(shared_data: Path) -> None:
    data = load_task("ludb", shared_data).load()
    left_out = counted = 0.0
    for rows in data.values():
        for index in range(len(rows)):
            events = read_row(rows, index)["target"]
            spans = events[:, 1] - events[:, 0]
            left_out += spans[events[:, 2] < 0].sum()
            counted += (events[:, 2] >= 0).sum()
            assert (events[1:, 0] >= events[:-1, 1]).all()
    assert 1 - left_out / 2000 == pytest.approx(0.731, abs=0.003)
    assert counted == 1831 + 1642 + 1401


@pytest.mark.long
def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    data = load_task("ludb", tmp_path).load()
    assert {split: rows["id"] for split, rows in data.items()}["fold-2"] == ["2", "7", "12"]
    row = read_row(data["fold-1"], 0)
    assert row["input"]["leads"][3] == "aVR"
    assert row["target"].tolist()[:2] == [[0, 1.16, -1], [1.16, 1.24, 1]]
    assert row["target"].tolist()[-1] == [3.12, 4, -1]
    failed = [check for check, found in findings("ludb", tmp_path).items() if not found.passed]
    assert not failed
    assert score("ludb", tmp_path, "ecg-features").metrics["frame_macro_f1"].value > 0.6


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("(p)(N)", [(0, 10, -1), (10, 30, 0), (40, 60, 1), (60, 100, -1)]),
        ("(p)N)", [(0, 10, -1), (10, 30, 0), (30, 40, -1), (40, 50, 1), (50, 100, -1)]),
        ("N)(t)", [(0, 10, -1), (10, 20, 1), (30, 50, 2), (50, 100, -1)]),
        ("N()(t)", [(0, 10, -1), (10, 30, 1), (40, 60, 2), (60, 100, -1)]),
        ("(p)(t)", [(0, 10, -1), (10, 30, 0), (40, 60, 2), (60, 100, -1)]),
    ],
)
def test_marks(symbols: str, expected: list[tuple[int, int, int]]) -> None:
    """A wave without onset begins at its peak; what lies before it is not annotated."""
    samples = 10 * np.arange(1, len(symbols) + 1)
    events = waves(samples, list(symbols), CLASSES, 100)
    assert [tuple(event) for event in (events * (500, 500, 1)).round().astype(int)] == expected


def missing(folder: Path) -> None:
    (folder / "data/7.dat").unlink()


def no_annotation(folder: Path) -> None:
    (folder / "data/7.ii").unlink()


def truncated(folder: Path) -> None:
    truncate(folder / "data/7.dat")


def truncated_annotation(folder: Path) -> None:
    truncate(folder / "data/7.ii")


def no_marks(folder: Path) -> None:
    (folder / "data/7.ii").write_bytes(b"\0\0")


def strange_mark(folder: Path) -> None:
    annotate(folder / "data/7", "ii", [1.2], "(N)(t)")
    data = bytearray((folder / "data/7.ii").read_bytes())
    data[data.index(1 << 2, 1)] = 5 << 2  # an N becomes a V
    (folder / "data/7.ii").write_bytes(data)


def outside(folder: Path) -> None:
    annotate(folder / "data/7", "ii", [1.2, 4.5])


def wrong_rate(folder: Path) -> None:
    write_dat(folder / "data/7", signal(0, 1000, 4), 1000, [name.lower() for name in LEADS])


def lacking_lead(folder: Path) -> None:
    write_dat(folder / "data/7", signal(0, 500, 4, leads=8), 500, LEADS[:8])


def invalid(folder: Path) -> None:
    values = signal(0, 500, 4)
    values[100, 0] = np.nan
    write_dat(folder / "data/7", values, 500, LEADS)


def no_voltage(folder: Path) -> None:
    write_dat(folder / "data/7", signal(0, 500, 4), 500, LEADS, unit="bpm")


def lacking_column(folder: Path) -> None:
    replace(folder / "ludb.csv", "ID,", "Number,")


def not_there(folder: Path) -> None:
    with (folder / "ludb.csv").open("a") as file:
        file.write("99,M,40,Sinus rhythm\n")


def twice(folder: Path) -> None:
    with (folder / "ludb.csv").open("a") as file:
        file.write("7,M,40,Sinus rhythm\n")


def empty(folder: Path) -> None:
    lines = (folder / "ludb.csv").read_text().split("\n1,")[0]
    (folder / "ludb.csv").write_text(f"{lines}\n1,F,40,x\n2,F,40,x\n3,F,40,x\n4,F,40,x\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["7.dat", "missing", "again"]),
        (no_annotation, ["7.ii", "missing", "again"]),
        (truncated, ["7.dat", "again"]),
        (truncated_annotation, ["7.ii", "truncated", "again"]),
        (no_marks, ["7.ii", "again"]),
        (strange_mark, ["7.ii", "'V'", "again"]),
        (outside, ["7.ii", "2000", "again"]),
        (wrong_rate, ["7.hea", "1000 Hz", "500 Hz", "again"]),
        (lacking_lead, ["7.hea", "V3, V4, V5, V6", "again"]),
        (invalid, ["7.dat", "lead I ", "NaN", "again"]),
        (no_voltage, ["7.hea", "bpm", "again"]),
        (lacking_column, ["ludb.csv", "'ID'", "again"]),
        (not_there, ["99.hea", "missing", "again"]),
        (twice, ["'7'", "twice"]),
        (empty, ["fold-5", "empty", "data check"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path, records=10))
    text = refused("ludb", tmp_path)
    assert all(word in text for word in words), text
