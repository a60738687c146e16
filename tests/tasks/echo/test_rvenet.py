"""RVENet: a tiny copy of the official layout, DICOM as scanners write it."""

import shutil

import numpy as np
import pytest
from echo_files import beating, change, cut, write_dicom, write_table
from pydicom.examples import get_path

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.echo.clips import read_clip
from tasks.echo.video_files import LUMA

STORED = [{}, {"compressed": True}, {"colour": "YBR_FULL"}]


def clip_of(i):
    return beating(i, (i * 7 % 26) / 26)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data" / "RVENet"
    rows = []
    for i in range(26):
        split = "train" if i < 18 else "validation"
        name = f"1_{i // 2}_{i % 2}"
        write_dicom(folder / split / f"{name}.dcm", clip_of(i), **STORED[i % 3])
        rows.append(
            {"FileName": name, "PatientGroup": "x", "Age": 50, "RVEF": 40 + i * 7 % 26,
             "HR": 70, "FPS": 25, "VideoOrientation": "Mayo", "Split": split}
        )  # fmt: skip
    rows[7]["RVEF"] = ""
    write_table(folder / "codebook.csv", rows)
    return tmp_path / "data"


def test_checks_and_scores(root, findings, score):
    assert all(finding.passed for finding in findings("rvenet-ef", root).values())
    assert score("rvenet-ef", root, "flow-statistics").score.value > 0.2


def test_every_way_of_storing_gives_the_same_pixels(root):
    data = load_task("rvenet-ef", root).load()
    assert [part.num_rows for part in data.values()] == [17, 8]  # one has no RVEF
    names = [str(name) for name in data["train"]["id"]]
    assert [str(group) for group in data["train"]["group"][:2]] == ["1_0", "1_0"]
    for i in range(3):
        row = read_row(data["train"], names.index(f"1_{i // 2}_{i % 2}"))
        assert row["input"]["fps"] == 25
        # YBR goes through RGB, rounded twice
        assert np.abs(row["input"]["video"].astype(int) - clip_of(i)).max() <= i // 2


def test_a_real_echocardiogram_in_its_place(root):
    real = get_path("ybr_color")  # JPEG-compressed colour, from a scanner
    shutil.copy(real, root / "RVENet" / "train" / "1_0_0.dcm")
    row = read_row(load_task("rvenet-ef", root).load()["train"], 0)
    assert row["input"]["video"].shape == (30, 240, 320)
    colour = read_clip(real)["video"].astype(float)
    assert np.abs(row["input"]["video"] - colour @ np.array(LUMA)).max() <= 0.5


def file(root, name="1_2_1"):
    return next(root.rglob(f"{name}.dcm"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: file(d).unlink(), ["1_2_1.dcm", "codebook.csv", "data fetch"]),
        (lambda d: cut(file(d)), ["1_2_1.dcm", "get it again"]),
        (lambda d: write_dicom(file(d), beating(1, frames=1)), ["1_2_1.dcm", "still image"]),
        (lambda d: change(d / "codebook.csv", "RVEF", "EF"), ["'RVEF'", "codebook.csv"]),
        (lambda d: change(d / "codebook.csv", ",validation", ",dev"), ["'dev'", "1_9_0"]),
        (lambda d: change(d / "codebook.csv", ",47,", ",high,"), ["'high'", "'RVEF'"]),
        (lambda d: (d / "codebook.csv").unlink(), ["codebook.csv", "data fetch"]),
    ],
)
def test_damage_is_told_by_name(root, refused, damage, words):
    damage(root / "RVENet")
    told = refused("rvenet-ef", root)
    assert all(word in told for word in words), told
