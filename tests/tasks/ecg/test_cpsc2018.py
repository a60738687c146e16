"""CPSC 2018: generated copies of both layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_records import replace, signal, truncate, write_dat, write_mat
from scipy.io import savemat

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.ecg.cpsc2018_layouts import CODES, NUMBERS, STATEMENTS

RECORDS = 60


def labels(number: int) -> tuple[int, ...]:
    """1 to 9 in turn; some records have two."""
    first = number % 9 + 1
    return (first, 6) if number % 20 == 0 and first != 6 else (first,)


def values(number: int) -> np.ndarray:
    return signal(number, 500, 6 + number % 5, beat=0.4 + 0.1 * (number % 9))


def make(root: Path) -> Path:
    """The layout of the challenge of 2021; returns the dataset's folder."""
    folder = root / "cpsc_2018"
    codes = list(CODES)
    for number in range(1, RECORDS + 1):
        found = ",".join(codes[label - 1] for label in labels(number))
        comments = ("# Age: 74", "# Sex: Male", f"# Dx: {found}", "# Rx: Unknown")
        record = folder / f"g{1 + number % 2}" / f"A{number:04d}"
        write_mat(record, values(number), 500, comments=comments)
    write_mat(folder / "g1/Q0001", values(1), 500, comments=("# Dx: 1",))  # CPSC-Extra
    return folder


def make_original(root: Path) -> Path:
    folder = root / "cpsc2018"
    lines = ["Recording,First_label,Second_label,Third_label"]
    for number in range(1, RECORDS + 1):
        path = folder / f"TrainingSet{1 + number % 3}" / f"A{number:04d}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"sex": "Male", "age": 74.0, "data": values(number).T}
        savemat(path, {"ECG": record})
        found = [str(label) for label in labels(number)]
        lines.append(f"A{number:04d}," + ",".join(found + [""] * (3 - len(found))))
    (folder / "REFERENCE.csv").write_text("\r\n".join(lines) + "\r\n")
    return folder


def make_converted(root: Path) -> Path:
    """What MERL reads: numbers in another order than the names."""
    folder = root / "ICBEB"
    lines = [",ecg_id,filename,validation,age,sex,scp_codes,patient_id,strat_fold"]
    for number in range(1, RECORDS + 1):
        place = RECORDS + 1 - number
        names = ["I", "II", "III", "AVR", "AVL", "AVF", *(f"V{i}" for i in range(1, 7))]
        write_dat(folder / f"records500/{place}", values(number), 500, names)
        stated = {list(STATEMENTS)[label - 1]: 100 for label in labels(number)}
        lines.append(f'{place - 1},{place},A{number:04d},False,74,1,"{stated}",{place},1')
    (folder / "icbeb_database.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("other", [make_original, make_converted])
def test_layouts(tmp_path: Path, other: Callable[[Path], Path]) -> None:
    """They give the same records, labels and split."""
    make(tmp_path / "new")
    other(tmp_path / "old")
    new, old = (load_task("cpsc2018", tmp_path / name).load() for name in ("new", "old"))
    assert {split: len(rows) for split, rows in new.items()} == {
        "train": 42, "validation": 6, "test": 12,
    }  # fmt: skip
    for split, rows in new.items():
        assert rows["id"] == old[split]["id"]
        for index in range(len(rows)):
            one, other = read_row(rows, index), read_row(old[split], index)
            assert (one["target"] == other["target"]).all()
            one, other = one["input"]["signal"], other["input"]["signal"]
            assert np.abs(one - other).max() < 0.00051
    row = read_row(new["train"], 0)
    number = int(row["id"][1:])
    named = [load_task("cpsc2018").card.target.classes[i] for i in np.flatnonzero(row["target"])]
    assert named == sorted((NUMBERS[label] for label in labels(number)), key=named.index)


@pytest.mark.long
def test_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    assert all(found.passed for found in findings("cpsc2018", tmp_path).values())
    assert score("cpsc2018", tmp_path, "ecg-features").metrics["macro_auroc"].value > 0.8


def test_merl_lists(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder = make(tmp_path)
    parts = {"train": range(1, 41), "val": range(41, 46), "test": range(46, RECORDS + 1)}
    for name, numbers in parts.items():
        rows = [f"{n},{n},A{n:04d},False,60.0,1,{{}}" for n in numbers]
        head = "patient_id,ecg_id,filename,validation,age,sex,scp_codes"
        (folder / f"icbeb_{name}.csv").write_text("\n".join([head, *rows]) + "\n")
    data = load_task("cpsc2018-merl", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 40, "validation": 5, "test": 15,
    }  # fmt: skip
    replace(folder / "icbeb_test.csv", "A0050", "A9999")
    text = refused("cpsc2018-merl", tmp_path)
    assert all(word in text for word in ("icbeb_test.csv", "A9999", "again"))
    (folder / "icbeb_test.csv").unlink()
    assert "icbeb_test.csv" in refused("cpsc2018-merl", tmp_path)


def missing(folder: Path) -> None:
    (folder / "g2/A0003.mat").unlink()


def no_header(folder: Path) -> None:
    (folder / "g2/A0003.hea").unlink()


def truncated(folder: Path) -> None:
    truncate(folder / "g2/A0003.mat")


def unknown(folder: Path) -> None:
    replace(folder / "g2/A0003.hea", "# Dx: ", "# Dx: 10370003,")


def no_labels(folder: Path) -> None:
    replace(folder / "g2/A0003.hea", "# Dx: ", "# Ex: ")


def wrong_rate(folder: Path) -> None:
    replace(folder / "g2/A0003.hea", "A0003 12 500", "A0003 12 250")


def lacking_lead(folder: Path) -> None:
    replace(folder / "g2/A0003.hea", " 0 V6", " 0 X")


def invalid(folder: Path) -> None:
    path = folder / "g2/A0003.mat"
    data = bytearray(path.read_bytes())
    data[24:26] = b"\x00\x80"
    path.write_bytes(data)


def twice(folder: Path) -> None:
    (folder / "g1/A0003.hea").write_bytes((folder / "g2/A0003.hea").read_bytes())


def none_at_all(folder: Path) -> None:
    for path in folder.glob("g*/A*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["A0003.mat", "missing", "again"]),
        (no_header, ["A0003.hea", "missing", "again"]),
        (truncated, ["A0003.mat", "again"]),
        (unknown, ["A0003.hea", "10370003", "again"]),
        (no_labels, ["A0003.hea", "Dx", "again"]),
        (wrong_rate, ["A0003.hea", "250 Hz", "again"]),
        (lacking_lead, ["A0003.hea", "V6", "again"]),
        (invalid, ["A0003.mat", "lead I ", "NaN", "again"]),
        (twice, ["g1/A0003.hea", "g2/A0003.hea", "twice", "remove"]),
        (none_at_all, ["cpsc", "data fetch cpsc2018"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("cpsc2018", tmp_path)
    assert all(word in text for word in words), text


def original_missing(folder: Path) -> None:
    next(folder.glob("*/A0003.mat")).unlink()


def original_truncated(folder: Path) -> None:
    truncate(next(folder.glob("*/A0003.mat")))


def original_leads(folder: Path) -> None:
    path = next(folder.glob("*/A0003.mat"))
    savemat(path, {"ECG": {"sex": "Male", "age": 74.0, "data": values(3).T[:8]}})


def original_invalid(folder: Path) -> None:
    path, data = next(folder.glob("*/A0003.mat")), values(3).T
    data[0, 0] = np.nan
    savemat(path, {"ECG": {"sex": "Male", "age": 74.0, "data": data}})


def original_label(folder: Path) -> None:
    replace(folder / "REFERENCE.csv", "A0003,4", "A0003,14")


def original_column(folder: Path) -> None:
    replace(folder / "REFERENCE.csv", "Third_label", "Third")


def original_twice(folder: Path) -> None:
    replace(folder / "REFERENCE.csv", "A0003,", "A0004,")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (original_missing, ["A0003.mat", "missing", "again"]),
        (original_truncated, ["A0003.mat", "again"]),
        (original_leads, ["A0003.mat", "12 leads", "again"]),
        (original_invalid, ["A0003.mat", "NaN", "again"]),
        (original_label, ["REFERENCE.csv", "A0003", "14", "again"]),
        (original_column, ["REFERENCE.csv", "Third_label", "again"]),
        (original_twice, ["REFERENCE.csv", "A0004", "twice"]),
    ],
)
def test_damage_of_the_original(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make_original(tmp_path))
    text = refused("cpsc2018", tmp_path)
    assert all(word in text for word in words), text


def test_a_reference_in_every_folder(tmp_path: Path) -> None:
    """As the challenge's archives unpack."""
    folder = make_original(tmp_path)
    head, *lines = (folder / "REFERENCE.csv").read_text().splitlines()
    (folder / "REFERENCE.csv").unlink()
    for place in (1, 2, 3):
        below = folder / f"TrainingSet{place}"
        here = [line for line in lines if (below / f"{line.split(',')[0]}.mat").is_file()]
        (below / "REFERENCE.csv").write_text("\n".join([head, *here]) + "\n")
    assert sum(len(rows) for rows in load_task("cpsc2018", tmp_path).load().values()) == RECORDS


def converted_missing(folder: Path) -> None:
    (folder / "records500/58.dat").unlink()


def converted_truncated(folder: Path) -> None:
    truncate(folder / "records500/58.dat")


def converted_label(folder: Path) -> None:
    replace(folder / "icbeb_database.csv", "'CLBBB'", "'XYZ'", 1)


def converted_twice(folder: Path) -> None:
    replace(folder / "icbeb_database.csv", "A0003", "A0004")


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (converted_missing, ["58.dat", "missing", "again"]),
        (converted_truncated, ["58.dat", "again"]),
        (converted_label, ["icbeb_database.csv", "XYZ", "again"]),
        (converted_twice, ["icbeb_database.csv", "A0004", "twice"]),
    ],
)
def test_damage_of_the_converted(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make_converted(tmp_path))
    text = refused("cpsc2018", tmp_path)
    assert all(word in text for word in words), text
