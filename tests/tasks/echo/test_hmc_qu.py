"""HMC-QU: a tiny copy of the official layout, with the lists as workbooks or as text."""

import openpyxl
import pytest
from echo_files import beating, change, cut, write_avi, write_table

from benchmark.catalog import load_task
from benchmark.prepare import read_row

PATIENTS = 30


def listing():
    rows = []
    for i in range(PATIENTS):
        for clip in range(1 + (i == 3)):
            name = f"ES{i:04d}{'ab'[clip]} _4CH_1" if i == 3 else f"ES{i:04d} _4CH_1"
            ill = i % 3 == 0
            segments = {f"SEG{k}": "MI" if ill and k == 5 else "non-MI" for k in range(1, 8)}
            if i == 4:
                segments["SEG2"] = ""  # out of sight
            rows.append({"ECHO": name, **segments, "Reference frame": 3, "End of the cycle": 6})
    return rows


def workbook(path, rows):
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["HMC-QU dataset"])
    sheet.append(list(rows[0]))
    for row in rows:
        sheet.append([value or None for value in row.values()])
    book.save(path)


@pytest.fixture(params=["xlsx", "csv"])
def root(tmp_path, request):
    folder = tmp_path / "data" / "hmc-qu"
    for view in ("A4C", "A2C"):
        rows = [{**row, "ECHO": row["ECHO"].replace("4CH", view[1] + "CH")} for row in listing()]
        for i, row in enumerate(rows):
            ill = row["SEG5"] == "MI"
            video = beating(i, 0.3 + 0.5 * ill)
            write_avi(folder / "HMC-QU" / view / f"{row['ECHO']}.avi", video, 25.0)
        write = workbook if request.param == "xlsx" else write_table
        write(folder / f"{view}.{request.param}", rows)
    return tmp_path / "data"


@pytest.mark.long
@pytest.mark.parametrize("task", ["hmc-qu-mi-a4c", "hmc-qu-mi-a2c"])
def test_checks_and_scores(root, findings, score, task):
    assert all(finding.passed for finding in findings(task, root).values())
    assert score(task, root, "flow-statistics").score.value > 0.9


def test_both_views_are_fetched_from_kaggle(root, tmp_path, fetched, findings):
    address = "https://www.kaggle.com/api/v1/datasets/download/aysendegerli/hmcqu-dataset"
    for task in ("hmc-qu-mi-a4c", "hmc-qu-mi-a2c"):
        fetched(task, {address: root / "hmc-qu"}, tmp_path / "new")
        assert all(finding.passed for finding in findings(task, tmp_path / "new").values())


def test_folds_keep_patients_together_and_share_infarctions(root):
    data = load_task("hmc-qu-mi-a4c", root).load()
    assert list(data) == [f"fold-{i}" for i in range(1, 6)]
    assert sum(part.num_rows for part in data.values()) == PATIENTS + 1
    assert all(2 <= sum(part["target"]) <= 3 for part in data.values())
    (home,) = [part for part in data.values() if "ES0003" in list(part["group"])]
    assert list(home["group"]).count("ES0003") == 2
    assert read_row(home, 0)["input"]["fps"] == pytest.approx(25)


def clip(folder, number=7):
    return next((folder / "HMC-QU" / "A4C").glob(f"ES{number:04d}*.avi"))


def relabel(folder, old, new):
    if (folder / "A4C.csv").exists():
        return change(folder / "A4C.csv", old, new)
    book = openpyxl.load_workbook(folder / "A4C.xlsx")
    cells = [cell for line in book.active.iter_rows() for cell in line if cell.value == old]
    cells[0].value = new
    book.save(folder / "A4C.xlsx")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: clip(d).unlink(), ["ES0007 _4CH_1.avi", "A4C."]),
        (lambda d: cut(clip(d)), ["ES0007 _4CH_1.avi", "get it again"]),
        (lambda d: relabel(d, "ECHO", "CLIP"), ["'ECHO'", "A4C."]),
        (lambda d: relabel(d, "non-MI", "unsure"), ["'unsure'", "MI or non-MI"]),
        (lambda d: relabel(d, "ES0007 _4CH_1", "7 _4CH_1"), ["'7 _4CH_1'", "ES"]),
        (lambda d: [path.unlink() for path in d.glob("A4C.*")], ["A4C.xlsx", "data fetch"]),
    ],
)
def test_damage_is_told_by_name(root, refused, damage, words):
    damage(root / "hmc-qu")
    told = refused("hmc-qu-mi-a4c", root)
    assert all(word in told for word in words), told


def test_a_damaged_workbook(root, refused):
    path = root / "hmc-qu" / "A4C.xlsx"
    if path.exists():
        cut(path)
        told = refused("hmc-qu-mi-a4c", root)
        assert "A4C.xlsx" in told
        assert "get the file again" in told
