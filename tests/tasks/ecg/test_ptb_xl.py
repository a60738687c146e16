"""PTB-XL: the first 500 records, and a small generated copy of the layout."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_records import LEADS, replace, signal, truncate, write_dat

from benchmark.catalog import load_task, task_cards
from benchmark.datacheck import check_task
from benchmark.prepare import read_row

STATEMENTS = """\
,description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass,Statement Category
NORM,normal ECG,1.0,,,NORM,NORM,Normal/abnormal
IMI,inferior myocardial infarction,1.0,,,MI,IMI,Myocardial Infarction
ASMI,anteroseptal myocardial infarction,1.0,,,MI,AMI,Myocardial Infarction
NDT,non-diagnostic T abnormalities,1.0,1.0,,STTC,STTC,other
PVC,ventricular premature complex,,1.0,,,,
SR,sinus rhythm,,,1.0,,,
AFIB,atrial fibrillation,,,1.0,,,
"""
CODES = (
    "{'NORM': 100.0, 'SR': 0.0}",
    "{'IMI': 35.0, 'ASMI': 0.0, 'AFIB': 0.0}",
    "{'PVC': 100.0, 'SR': 0.0}",
)
COLUMNS = ("ecg_id", "patient_id", "age", "scp_codes", "strat_fold", "filename_lr", "filename_hr")


def make(root: Path, rates: tuple[int, ...] = (100, 500), leads: int = 12) -> Path:
    """Thirty records of twenty patients, three in each fold; returns the dataset's folder."""
    folder = root / "ptb-xl-1.0.3"
    folder.mkdir(parents=True)
    (folder / "scp_statements.csv").write_text(STATEMENTS)
    with (folder / "ptbxl_database.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number in range(1, 31):
            name, fold = f"00000/{number:05d}", (number - 1) // 3 + 1
            patient = 2 * fold + number % 2
            paths = (f"records100/{name}_lr", f"records500/{name}_hr")
            table.writerow((number, f"{patient}.0", 60.0, CODES[number % 3], fold, *paths))
            for rate, path in zip((100, 500), paths, strict=True):
                if rate in rates:
                    values = signal(number, rate, 10, beat=(0.8, 0.5, 1.1)[number % 3])
                    names = [name.upper() for name in LEADS]
                    write_dat(folder / path, values[:, :leads], rate, names[:leads])
    return folder


@pytest.mark.long
@pytest.mark.shared_data
def test_real_records(
    shared_data: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    """466 patients; 12 records without a superclass; recordings at 500 Hz are in part missing,
    which is no matter at 100 Hz."""
    data = load_task("ptbxl-super", shared_data).load()
    assert sum(len(rows) for rows in data.values()) == 500 - 12
    assert all(found.passed for found in findings("ptbxl-super", shared_data).values())
    first = read_row(data["train"], 0)
    assert first["input"]["signal"].shape == (12, 1000)
    assert first["input"]["signal"][0, 0] == pytest.approx(-0.119)
    result = score("ptbxl-super", shared_data, "ecg-features")
    assert 0.78 < result.metrics["macro_auroc"].value < 0.92


@pytest.mark.shared_data
def test_fractions_of_the_labels(shared_data: Path, score: Callable[..., Any]) -> None:
    """The label protocol of MERL: 1%, 10% and 100%."""
    metrics = score("ptbxl-super", shared_data, "ecg-features", "label-efficiency").metrics
    one, ten, whole = (metrics[f"macro_auroc@{share}"].value for share in ("1%", "10%", "100%"))
    assert 0.5 < one < whole
    assert one < ten < whole
    assert 0.78 < whole < 0.92


@pytest.mark.shared_data
def test_real_records_at_500_hz_are_not_whole(
    shared_data: Path, refused: Callable[..., str]
) -> None:
    text = refused("ptbxl-super-500", shared_data)
    assert "_hr.hea" in text
    assert "missing" in text
    assert "data fetch ptbxl-super-500" in text


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("kind", "column", "classes"),
    [
        ("super", "superclass", 5),
        ("sub", "subclass", 23),
        ("form", "form", 19),
        ("rhythm", "rhythm", 12),
        ("all", "statements", 71),
    ],
)
def test_classes_are_those_of_the_table(
    shared_data: Path, kind: str, column: str, classes: int
) -> None:
    from tasks.ecg.ptb_xl import statements

    known = statements(shared_data / "ptb-xl" / "scp_statements.csv")[column]
    for suffix in ("", "-500"):
        card = next(c for c in task_cards() if c.name == f"ptbxl-{kind}{suffix}")
        assert card.target.column == column
        assert len(card.target.classes) == classes
        wanted = sorted(set(known.values()) or [c for k in known for c in known[k]])
        assert not wanted or sorted(card.target.classes) == wanted
        assert set(card.target.prompts) == set(card.target.classes)


@pytest.mark.long
@pytest.mark.parametrize(("suffix", "length"), [("", 1000), ("-500", 5000)])
def test_layout_labels_and_score(
    tmp_path: Path,
    score: Callable[..., Any],
    findings: Callable[..., Any],
    suffix: str,
    length: int,
) -> None:
    """Statements count whatever their likelihood; a record without one of the kind is left out."""
    make(tmp_path)
    name = f"ptbxl-super{suffix}"
    data = load_task(name, tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 16, "validation": 2, "test": 2,
    }  # fmt: skip
    row = read_row(data["train"], 0)
    assert row["input"]["signal"].shape == (12, length)
    assert row["input"]["leads"][3] == "aVR"
    classes = load_task(name).card.target.classes
    assert [classes[i] for i in np.flatnonzero(row["target"])] == ["MI"]
    form = load_task(f"ptbxl-form{suffix}", tmp_path).load()
    assert len(form["train"]) == 8
    everything = load_task(f"ptbxl-all{suffix}", tmp_path)
    stated = np.flatnonzero(read_row(everything.load()["train"], 0)["target"])
    assert [everything.card.target.classes[i] for i in stated] == ["AFIB", "ASMI", "IMI"]
    found = findings(name, tmp_path)
    assert all(finding.passed for finding in found.values())
    assert found["labels"].note  # three of the five classes do not occur
    assert score(name, tmp_path, "ecg-features").metrics["macro_auroc"].value == 1.0


def test_other_spelling(tmp_path: Path) -> None:
    """A byte order mark, Windows line ends, columns in another order, a statement of version 1.0.1;
    recordings at 100 Hz alone; leads in another order."""
    folder = make(tmp_path, rates=(100,))
    for name in ("ptbxl_database.csv", "scp_statements.csv"):
        with (folder / name).open(newline="") as file:
            rows = [row[::-1] if name.startswith("ptbxl") else row for row in csv.reader(file)]
        with (folder / name).open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, lineterminator="\r\n").writerows(rows)
    names = [f"V{i}" for i in range(6, 0, -1)] + ["aVF", "AVL", "avr", "III", "II", "I"]
    values = signal(1, 100, 10)
    write_dat(folder / "records100/00000/00001_lr", values[:, ::-1], 100, names)
    task = load_task("ptbxl-super", tmp_path)
    row = read_row(task.load()["train"], 0)
    assert np.abs(row["input"]["signal"].T - values).max() < 0.001


def record(folder: Path, ending: str = "dat") -> Path:
    return folder / f"records100/00000/00004_lr.{ending}"


def missing(folder: Path) -> None:
    record(folder).unlink()


def missing_header(folder: Path) -> None:
    record(folder, "hea").unlink()


def truncated(folder: Path) -> None:
    truncate(record(folder))


def altered(folder: Path) -> None:
    data = bytearray(record(folder).read_bytes())
    data[1000] ^= 1
    record(folder).write_bytes(data)


def broken_header(folder: Path) -> None:
    record(folder, "hea").write_text("nothing\n")


def wrong_rate(folder: Path) -> None:
    write_dat(record(folder).with_suffix(""), signal(0, 250, 10), 250)


def lacking_lead(folder: Path) -> None:
    replace(record(folder, "hea"), " AVL", " VX")


def invalid(folder: Path) -> None:
    values = signal(0, 100, 10)
    values[500, 3] = np.nan
    write_dat(record(folder).with_suffix(""), values, 100)


def no_table(folder: Path) -> None:
    (folder / "scp_statements.csv").unlink()


def lacking_column(folder: Path) -> None:
    replace(folder / "ptbxl_database.csv", "strat_fold", "fold")


def unknown_code(folder: Path) -> None:
    replace(folder / "ptbxl_database.csv", "'PVC'", "'XYZ'", 1)


def unknown_class(folder: Path) -> None:
    replace(folder / "scp_statements.csv", "1.0,,,MI,IMI", "1.0,,,MII,IMI")


def no_codes(folder: Path) -> None:
    replace(folder / "ptbxl_database.csv", "{'PVC': 100.0, 'SR': 0.0}", "PVC", 1)


def strange_fold(folder: Path) -> None:
    replace(folder / "ptbxl_database.csv", ",10,records100", ",11,records100", 1)


def no_test(folder: Path) -> None:
    replace(folder / "ptbxl_database.csv", ",10,records100", ",8,records100")


def twice(folder: Path) -> None:
    with (folder / "ptbxl_database.csv").open("a+") as file:
        file.seek(0)
        file.write(file.readlines()[1])


def in_two(folder: Path) -> None:
    replace(folder / "ptbxl_database.csv", "\n30,20.0", "\n30,2.0")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["00004_lr.dat", "missing", "data fetch ptbxl-super"]),
        (missing_header, ["00004_lr.hea", "missing", "data fetch"]),
        (truncated, ["00004_lr.dat", "cannot be read", "data fetch"]),
        (altered, ["00004_lr.dat", "checksum", "again"]),
        (broken_header, ["00004_lr.hea", "cannot be read"]),
        (wrong_rate, ["00004_lr.hea", "250 Hz", "100 Hz", "again"]),
        (lacking_lead, ["00004_lr.hea", "aVL", "again"]),
        (invalid, ["00004_lr.dat", "aVR", "NaN", "again"]),
        (no_table, ["scp_statements.csv", "data fetch"]),
        (lacking_column, ["ptbxl_database.csv", "strat_fold", "again"]),
        (unknown_code, ["ptbxl_database.csv", "XYZ", "again"]),
        (unknown_class, ["ptbxl_database.csv", "MII", "again"]),
        (no_codes, ["ptbxl_database.csv", "scp_codes", "again"]),
        (strange_fold, ["ptbxl_database.csv", "strat_fold", "11", "again"]),
        (no_test, ["test", "empty", "data check"]),
        (twice, ["'1'", "twice"]),
        (in_two, ["patient", "'2'", "train", "test", "again"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path, rates=(100,)))
    text = refused("ptbxl-super", tmp_path)
    assert all(word in text for word in words), text


def test_all_problems_at_once(tmp_path: Path) -> None:
    folder = make(tmp_path, rates=(100,))
    missing(folder)
    truncate(folder / "records100/00000/00029_lr.dat")
    told = [found.detail for found in check_task(load_task("ptbxl-super", tmp_path))]
    assert any("00004_lr.dat is missing" in detail for detail in told)
    assert any("00029_lr.dat cannot be read" in detail for detail in told)
