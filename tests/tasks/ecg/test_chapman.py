"""Chapman-Shaoxing-Ningbo: a small generated copy of the layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generated_records import replace, signal, truncate, write_mat

from benchmark.catalog import load_task
from benchmark.prepare import read_row, read_rows

# acronym -> code, as in the published table; three of its acronyms share a code
CODES = {
    "1AVB": 270492004, "2AVB": 195042002, "2AVB1": 54016002, "ALS": 39732003, "APB": 284470004,
    "AQW": 164917005, "ARS": 47665007, "AVB": 233917008, "CCR": 251199005, "CR": 251198002,
    "ERV": 428417006, "JEB": 426995002, "LBBB": 164909002, "LBBBB": 164909002, "LFBBB": 164909002,
    "LVH": 164873001, "MI": 164865005, "PRIE": 164947007, "PWC": 164912004, "QTIE": 111975006,
    "RBBB": 59118001, "RVH": 89792004, "STDD": 429622005, "STE": 164930006, "STTC": 428750005,
    "STTU": 164931005, "TWC": 164934002, "TWO": 59931005, "UW": 164937009, "VB": 11157007,
    "VEB": 75532003, "VPB": 17338001, "WPW": 74390002, "SB": 426177001, "SR": 426783006,
    "AFIB": 164889003, "ST": 427084000, "AF": 164890007, "SA": 427393009, "SVT": 426761007,
    "AT": 713422000,
}  # fmt: skip
RECORDS = 40
RHYTHMS = ("SB", "SR", "AFIB", "ST")


def stem(folder: Path, number: int) -> Path:
    return folder / f"WFDBRecords/{1 + number // 20:02d}/{10 + number // 5:03d}/JS{number:05d}"


def make(root: Path) -> Path:
    """Four rhythms of different rates; returns the dataset's folder."""
    folder = root / "ecg-arrhythmia"
    folder.mkdir(parents=True)
    lines = [
        "Acronym Name,Full Name,Snomed_CT",
        *(f"{k},a condition,{v}" for k, v in CODES.items()),
    ]
    (folder / "ConditionNames_SNOMED-CT.csv").write_text("\n".join(lines) + "\n")
    for number in range(1, RECORDS + 1):
        rhythm = RHYTHMS[number % 4]
        found = [CODES[rhythm], 55827005] + ([CODES["TWC"]] if number % 3 == 0 else [])
        values = signal(number, 500, 10, beat=(1.2, 0.8, 0.6, 0.45)[number % 4])
        comments = ("#Age: 85", "#Sex: Male", f"#Dx: {','.join(map(str, found))}", "#Rx: Unknown")
        write_mat(stem(folder, number), values, 500, comments=comments)
    damaged = folder / "WFDBRecords/01/019/JS01052"
    write_mat(damaged, signal(0, 500, 10), 500)
    replace(damaged.with_suffix(".hea"), "12:33:59\n", "12:33:59 ", 1)
    return folder


@pytest.mark.long
def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    """Codes that the table does not name are ignored, the two damaged records are left out."""
    make(tmp_path)
    task = load_task("chapman", tmp_path)
    data = task.load()
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 28, "validation": 4, "test": 8,
    }  # fmt: skip
    for row in read_rows(data["train"], range(28)):
        number = int(row["id"][2:])
        named = {task.card.target.classes[i] for i in np.flatnonzero(row["target"])}
        assert named == {RHYTHMS[number % 4]} | ({"TWC"} if number % 3 == 0 else set())
        assert row["input"]["signal"].shape == (12, 5000)
    found = findings("chapman", tmp_path)
    assert all(finding.passed for finding in found.values())
    assert found["labels"].note  # of 39 conditions five occur
    assert score("chapman", tmp_path, "ecg-features").metrics["macro_auroc"].value > 0.8


def test_invalid_samples_become_zero(tmp_path: Path) -> None:
    folder = make(tmp_path)
    row = read_row(load_task("chapman", tmp_path).load()["train"], 0)
    path = stem(folder, int(row["id"][2:])).with_suffix(".mat")
    data = bytearray(path.read_bytes())
    data[24:26] = b"\x00\x80"
    path.write_bytes(data)
    changed = read_row(load_task("chapman", tmp_path).load()["train"], 0)["input"]["signal"]
    assert changed[0, 0] == 0 != row["input"]["signal"][0, 0]
    assert (changed[0, 1:] == row["input"]["signal"][0, 1:]).all()


def test_merl_lists(tmp_path: Path, refused: Callable[..., str]) -> None:
    """Labels are the lists' own."""
    folder = make(tmp_path)
    task = load_task("chapman-merl", tmp_path)
    classes = [*reversed(task.card.target.classes)]
    parts = {"train": range(1, 29), "val": range(29, 33), "test": range(33, RECORDS + 1)}
    for name, numbers in parts.items():
        lines = ["ecg_path,age,diagnose," + ",".join(classes)]
        for number in numbers:
            path = stem(Path("/chapman"), number).with_suffix(".mat")
            marks = ("1" if label in ("AF", "SR") else "0" for label in classes)
            lines.append(f'{path},12,"SB,TWC",' + ",".join(marks))
        (folder / f"chapman_{name}.csv").write_text("\n".join(lines) + "\n")
    with (folder / "chapman_train.csv").open("a") as file:
        file.write("/chapman/WFDBRecords/01/019/JS01052.mat,12,SB," + ",".join("0" * 38) + "\n")
    data = task.load()
    assert [len(rows) for rows in data.values()] == [28, 4, 8]
    stated = np.flatnonzero(read_row(data["test"], 0)["target"])
    assert [task.card.target.classes[i] for i in stated] == ["AF", "SR"]
    replace(folder / "chapman_test.csv", "JS00040", "JS99999")
    text = refused("chapman-merl", tmp_path)
    assert all(word in text for word in ("JS99999.hea", "missing", "again"))


def missing(folder: Path) -> None:
    stem(folder, 3).with_suffix(".mat").unlink()


def no_header(folder: Path) -> None:
    stem(folder, 3).with_suffix(".hea").unlink()


def truncated(folder: Path) -> None:
    truncate(stem(folder, 3).with_suffix(".mat"))


def no_diagnoses(folder: Path) -> None:
    replace(stem(folder, 3).with_suffix(".hea"), "#Dx", "#Fx")


def wrong_rate(folder: Path) -> None:
    replace(stem(folder, 3).with_suffix(".hea"), "JS00003 12 500", "JS00003 12 250")


def lacking_lead(folder: Path) -> None:
    replace(stem(folder, 3).with_suffix(".hea"), " 0 V6", " 0 X")


def twice(folder: Path) -> None:
    for ending in (".hea", ".mat"):
        path = stem(folder, 3).with_suffix(ending)
        (stem(folder, 40).parent / path.name).write_bytes(path.read_bytes())


def few(folder: Path) -> None:
    for number in range(3, RECORDS + 1):
        for ending in (".hea", ".mat"):
            stem(folder, number).with_suffix(ending).unlink()


def no_table(folder: Path) -> None:
    (folder / "ConditionNames_SNOMED-CT.csv").unlink()


def lacking_column(folder: Path) -> None:
    replace(folder / "ConditionNames_SNOMED-CT.csv", "Snomed_CT", "Code")


def lacking_acronyms(folder: Path) -> None:
    replace(folder / "ConditionNames_SNOMED-CT.csv", "Acronym Name", "Name")


def lacking_condition(folder: Path) -> None:
    replace(folder / "ConditionNames_SNOMED-CT.csv", "\nSVT,", "\nSVTX,")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["JS00003.mat", "missing", "again"]),
        (no_header, ["JS00003.hea", "missing", "again"]),
        (truncated, ["JS00003.mat", "again"]),
        (no_diagnoses, ["JS00003.hea", "Dx", "again"]),
        (wrong_rate, ["JS00003.hea", "250 Hz", "again"]),
        (lacking_lead, ["JS00003.hea", "V6", "again"]),
        (twice, ["JS00003", "twice", "remove"]),
        (few, ["validation", "empty", "data check"]),
        (no_table, ["ConditionNames_SNOMED-CT.csv", "data fetch"]),
        (lacking_column, ["ConditionNames_SNOMED-CT.csv", "Snomed_CT", "again"]),
        (lacking_acronyms, ["ConditionNames_SNOMED-CT.csv", "Acronym Name", "again"]),
        (lacking_condition, ["ConditionNames_SNOMED-CT.csv", "SVT", "again"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("chapman", tmp_path)
    assert all(word in text for word in words), text
