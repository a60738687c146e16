"""EchoNet-LVH: a tiny copy of the official layout."""

import pytest
from echo_files import beating, change, cut, write_avi, write_table

from benchmark.catalog import load_task
from benchmark.prepare import read_row

SPLITS = ["train"] * 12 + ["val"] * 6 + ["test"] * 8
TASKS = ("echonet-lvh-lvidd", "echonet-lvh-ivsd", "echonet-lvh-lvpwd")
INDEX = "MeasurementsList.csv"


def calipers(name, split, bright, twice):
    sizes = {"LVIDd": 3 + 3 * bright, "IVSd": 1.5 - bright, "LVPWd": 0.8 + bright, "LVIDs": 2.5}
    rows = [
        {"": i, "HashedFileName": name, "Calc": calc, "CalcValue": f"{size:.3f}", "Frame": 2,
         "X1": 4, "Y1": 5, "X2": 20, "Y2": 25, "Frames": 6, "FPS": 30.0, "Width": 32,
         "Height": 32, "split": split}
        for i, (calc, size) in enumerate(sizes.items())
    ]  # fmt: skip
    return rows + [{**rows[0], "CalcValue": f"{sizes['LVIDd'] + 1:.3f}"}] * twice


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data" / "EchoNet-LVH"
    rows = []
    for i, split in enumerate(SPLITS):
        name, bright = f"0XAB{i:04X}", (i * 7 % 26) / 26
        write_avi(folder / f"Batch{i % 4 + 1}" / f"{name}.avi", beating(i, bright))
        measured = calipers(name, split, bright, twice=i == 0)
        rows += [row for row in measured if (i, row["Calc"]) != (1, "IVSd")]
    write_table(folder / INDEX, rows)
    return tmp_path / "data"


@pytest.mark.parametrize("task", TASKS)
def test_checks_and_scores(root, findings, score, task):
    assert all(finding.passed for finding in findings(task, root).values())
    assert score(task, root, "flow-statistics").score.value > 0.2


def test_examples(root):
    data = load_task("echonet-lvh-lvidd", root).load()
    assert [part.num_rows for part in data.values()] == [12, 6, 8]
    assert data["train"]["target"][0] == pytest.approx(3.5)  # measured twice: 3 and 4
    first = read_row(data["train"], 0)
    assert first["input"]["video"].shape == (6, 32, 32)
    assert first["input"]["fps"] == pytest.approx(30)
    septum = load_task("echonet-lvh-ivsd", root).load()["train"]
    assert "0XAB0001" not in list(septum["id"])  # never measured there
    assert septum.num_rows == 11


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "Batch2" / "0XAB0005.avi").unlink(), ["0XAB0005.avi", "Batch", INDEX]),
        (lambda d: cut(d / "Batch2" / "0XAB0005.avi"), ["0XAB0005.avi", "get it again"]),
        (lambda d: change(d / INDEX, ",split", ",Split"), ["'split'", INDEX]),
        (lambda d: change(d / INDEX, ",val", ",dev"), ["'dev'", "train, val, test"]),
        (lambda d: change(d / INDEX, ",test", ",train"), ["0XAB0012", "two splits"]),
        (lambda d: change(d / INDEX, "3.000", "wide"), ["'wide'", "'CalcValue'"]),
        (lambda d: change(d / INDEX, ",val", ",test", 99), ["validation"]),
        (lambda d: (d / INDEX).unlink(), [INDEX, "data fetch"]),
    ],
)
def test_damage_is_told_by_name(root, refused, damage, words):
    damage(root / "EchoNet-LVH")
    told = refused("echonet-lvh-lvidd", root)
    assert all(word in told for word in words), told
