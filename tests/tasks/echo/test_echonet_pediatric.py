"""EchoNet-Pediatric: a tiny copy of the official layout, ten folds in two views."""

import numpy as np
import pytest
from echo_files import beating, change, cut, write_avi, write_table

from benchmark.catalog import load_task
from benchmark.prepare import read_row

OUTLINE = [(10, 8), (22, 8), (24, 16), (20, 24), (12, 24), (8, 16)]
TASKS = ("echonet-pediatric-ef", "echonet-pediatric-psax-ef", "echonet-pediatric-lv")


@pytest.fixture(params=["", "pediatric_echo_avi/pediatric_echo_avi"])
def root(tmp_path, request):
    folder = tmp_path / "data" / "EchoNet-Pediatric" / request.param
    for number, view in enumerate(("A4C", "PSAX")):
        listing, traces = [], []
        for i in range(20):
            name = f"CR{i:03d}-{i:06d}.avi"
            bright = (i * 7 % 20) / 20
            write_avi(folder / view / "Videos" / name, beating(100 * number + i, bright))
            listing.append(
                {"FileName": name, "EF": 40 + 30 * bright, "Sex": "F", "Age": 9, "Weight": "",
                 "Height": "", "Split": i % 10}
            )  # fmt: skip
            traces += [{"FileName": name, "X": x, "Y": y, "Frame": 2} for x, y in OUTLINE]
            last = "No Diastolic" if i == 0 else 5
            traces += [{"FileName": name, "X": x, "Y": y, "Frame": last} for x, y in OUTLINE]
        write_table(folder / view / "FileList.csv", listing)
        write_table(folder / view / "VolumeTracings.csv", traces)
    return tmp_path / "data"


@pytest.mark.parametrize("task", TASKS)
def test_checks_and_folds(root, findings, task):
    assert all(finding.passed for finding in findings(task, root).values())
    data = load_task(task, root).load()
    assert list(data) == [f"fold-{i}" for i in range(1, 11)]
    assert {part.num_rows for part in data.values()} == ({2} if task.endswith("ef") else {8, 6})


def test_scores_and_masks(root, score):
    assert score("echonet-pediatric-ef", root, "flow-statistics").score.value > 0
    row = read_row(load_task("echonet-pediatric-lv", root).load()["fold-2"], 0)
    assert row["input"]["video"].shape == (1, 32, 32)
    assert row["target"][16, 16] == 1
    assert 0.1 < np.mean(row["target"]) < 0.4


def part(data, view, name):
    return next((data / "EchoNet-Pediatric").rglob(f"{view}/{name}"))


@pytest.mark.parametrize(
    ("task", "damage", "words"),
    [
        ("ef", lambda d: part(d, "A4C/Videos", "CR003-000003.avi").unlink(), ["CR003-000003.avi"]),
        ("ef", lambda d: cut(part(d, "A4C/Videos", "CR003-000003.avi")), ["CR003-000003.avi"]),
        ("ef", lambda d: change(part(d, "PSAX", "FileList.csv"), "Split", "Fold"), ["'Split'"]),
        ("ef", lambda d: change(part(d, "A4C", "FileList.csv"), ",3\n", ",12\n"), ["fold 12"]),
        ("lv", lambda d: change(part(d, "A4C", "VolumeTracings.csv"), ",2\n", ",?\n"), ["'Frame'"]),
    ],
)
def test_damage_is_told_by_name(root, refused, task, damage, words):
    damage(root)
    told = refused(f"echonet-pediatric-{task}", root)
    assert all(word in told for word in words), told
