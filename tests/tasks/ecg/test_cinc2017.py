"""CinC 2017: generated copies of both folder layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_records import replace, signal, truncate, write_mat

from benchmark.catalog import load_task
from benchmark.prepare import read_row

LETTERS = "NAO~"
RECORDS = 80


def values(number: int) -> np.ndarray:
    beat = (0.9, 0.4, 0.6, 0.8)[number % 4]
    noisy = np.random.default_rng(number).normal(0, 1, (300 * (9 + number % 3), 1))
    return noisy if number % 4 == 3 else signal(number, 300, 9 + number % 3, 1, beat)


def make(root: Path, nested: bool = False) -> Path:
    """Headers without checksums, as published; returns the dataset's folder."""
    folder = root / "cinc2017"
    for number in range(1, RECORDS + 1):
        name = f"A{number:05d}"
        record = folder / (f"training/A00/{name}" if nested else f"training2017/{name}")
        write_mat(record, values(number), 300, ("ECG",))
        header = record.with_suffix(".hea")
        lines = header.read_text().splitlines()
        start = lines[1].split()[5]
        header.write_text(f"{lines[0]}\n{name}.mat 16+24 1000/mV 16 0 {start} 0 0 ECG \n")
    rows = [f"A{number:05d},{LETTERS[number % 4]}" for number in range(1, RECORDS + 1)]
    (folder / "REFERENCE-v3.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.parametrize("nested", [False, True])
def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any], nested: bool
) -> None:
    """Noise is a class that does not count in the macro average."""
    make(tmp_path, nested)
    data = load_task("cinc2017", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 56, "validation": 8, "test": 16,
    }  # fmt: skip
    for split in data.values():
        assert set(split["target"]) == {0, 1, 2, 3}
    row = read_row(data["train"], 0)
    number = int(row["id"][1:])
    assert row["target"] == number % 4
    assert row["input"]["leads"] == ["I"]
    assert np.abs(row["input"]["signal"][0] - values(number)[:, 0]).max() < 0.001
    assert all(found.passed for found in findings("cinc2017", tmp_path).values())
    if not nested:
        assert score("cinc2017", tmp_path, "ecg-features").metrics["macro_f1"].value > 0.8


def test_other_spelling(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, the labels beside the recordings, whose folder is the
    data directory, and a signal named by the record."""
    folder = make(tmp_path) / "training2017"
    text = (folder.parent / "REFERENCE-v3.csv").read_text().replace("\n", "\r\n")
    (folder / "REFERENCE-v3.csv").write_text(text, encoding="utf-8-sig", newline="")
    (folder.parent / "REFERENCE-v3.csv").unlink()
    replace(folder / "A00001.hea", "ECG", "A00001")
    assert len(load_task("cinc2017", folder).load()["train"]) == 56
    assert len(load_task("cinc2017", tmp_path).load()["train"]) == 56


def test_the_labels_in_the_archive(tmp_path: Path) -> None:
    """Read where the revised ones are absent, else not."""
    folder = make(tmp_path)
    revised = folder / "REFERENCE-v3.csv"
    packed = folder / "training2017" / "REFERENCE.csv"
    packed.write_text(revised.read_text().replace("~", "O"))
    assert 3 in load_task("cinc2017", tmp_path).load()["train"]["target"]
    revised.unlink()
    assert set(load_task("cinc2017", tmp_path).load()["train"]["target"]) == {0, 1, 2}


def missing(folder: Path) -> None:
    (folder / "training2017/A00007.mat").unlink()


def no_header(folder: Path) -> None:
    (folder / "training2017/A00007.hea").unlink()


def truncated(folder: Path) -> None:
    truncate(folder / "training2017/A00007.mat")


def wrong_rate(folder: Path) -> None:
    replace(folder / "training2017/A00007.hea", "A00007 1 300", "A00007 1 500")


def two_leads(folder: Path) -> None:
    write_mat(folder / "training2017/A00007", signal(7, 300, 9, 2), 300, ("ECG", "II"))


def invalid(folder: Path) -> None:
    path = folder / "training2017/A00007.mat"
    data = bytearray(path.read_bytes())
    data[24:26] = b"\x00\x80"
    path.write_bytes(data)


def no_labels(folder: Path) -> None:
    (folder / "REFERENCE-v3.csv").unlink()


def lacking_column(folder: Path) -> None:
    replace(folder / "REFERENCE-v3.csv", "A00007,~", "A00007")


def unknown(folder: Path) -> None:
    replace(folder / "REFERENCE-v3.csv", "A00007,~", "A00007,X")


def twice(folder: Path) -> None:
    replace(folder / "REFERENCE-v3.csv", "A00007,", "A00008,")


def too_few(folder: Path) -> None:
    (folder / "REFERENCE-v3.csv").write_text("A00001,A\nA00004,N\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["A00007.mat", "missing", "again"]),
        (no_header, ["A00007.hea", "missing", "again"]),
        (truncated, ["A00007.mat", "again"]),
        (wrong_rate, ["A00007.hea", "500 Hz", "300 Hz", "again"]),
        (two_leads, ["A00007.hea", "2 signals", "again"]),
        (invalid, ["A00007.mat", "NaN", "again"]),
        (no_labels, ["REFERENCE-v3.csv", "data fetch cinc2017"]),
        (lacking_column, ["REFERENCE-v3.csv", "class", "again"]),
        (unknown, ["REFERENCE-v3.csv", "'X'", "again"]),
        (twice, ["REFERENCE-v3.csv", "A00008", "twice"]),
        (too_few, ["validation", "empty", "data check"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("cinc2017", tmp_path)
    assert all(word in text for word in words), text
