"""EchoNet-Dynamic: a tiny copy of the official layout."""

import numpy as np
import pytest
from echo_files import beating, change, cut, write_avi, write_table
from skimage.draw import polygon

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.echo.volume_tracings import read_chords

SPLITS = ["TRAIN"] * 12 + ["VAL"] * 6 + ["TEST"] * 8
TASKS = ("echonet-dynamic-ef", "echonet-dynamic-low-ef", "echonet-dynamic-lv")
CHORDS = [(10, 8, 22, 8), (8, 12, 24, 12), (8, 16, 24, 16), (9, 20, 23, 20), (12, 24, 20, 24)]


def tracing(name, frame, shift=0.0):
    rows = [(16, 6, 16, 26), *CHORDS]  # the long axis first
    return [
        {"FileName": f"{name}.avi", "X1": a + shift, "Y1": b, "X2": c - shift, "Y2": d,
         "Frame": frame}
        for a, b, c, d in rows
    ]  # fmt: skip


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data" / "EchoNet-Dynamic"
    listing, traces = [], []
    for i, split in enumerate(SPLITS):
        name, low = f"0X{i:04X}", i % 2
        write_avi(folder / "Videos" / f"{name}.avi", beating(i, 0.3 + 0.5 * low))
        listing.append(
            {"FileName": name, "EF": 62.5 - 25 * low + i / 10, "ESV": 40, "EDV": 90,
             "FrameHeight": 112, "FrameWidth": 112, "FPS": 30, "NumberOfFrames": 6, "Split": split}
        )  # fmt: skip
        traces += tracing(name, 4) + (tracing(name, 0, 0.4) if i != 3 else [])
    write_table(folder / "FileList.csv", listing, "\r\n")
    write_table(folder / "VolumeTracings.csv", traces)
    return tmp_path / "data"


@pytest.mark.parametrize("task", TASKS)
def test_checks_and_scores(root, findings, score, task):
    assert all(finding.passed for finding in findings(task, root).values())
    assert score(task, root, "flow-statistics").score.value > 0.2


def test_examples(root):
    data = load_task("echonet-dynamic-low-ef", root).load()
    assert [data[split].num_rows for split in ("train", "validation", "test")] == [12, 6, 8]
    first = read_row(data["train"], 0)
    assert first["input"]["video"].shape == (6, 32, 32)
    assert first["input"]["video"].dtype == np.uint8
    assert first["input"]["fps"] == pytest.approx(30)
    assert data["train"]["target"][:4] == [0, 1, 0, 1]
    frames = load_task("echonet-dynamic-lv", root).load()
    assert frames["train"].num_rows == 22  # one video has a single tracing
    assert list(frames["train"]["id"][:2]) == ["0X0000-0", "0X0000-4"]


def test_outlines_are_filled_as_scikit_image_does(root):
    outlines = read_chords(root / "EchoNet-Dynamic" / "VolumeTracings.csv")["0X0000"]
    x = np.array([c[0] for c in CHORDS] + [c[2] for c in CHORDS[::-1]])
    y = np.array([c[1] for c in CHORDS] + [c[3] for c in CHORDS[::-1]])
    expected = np.zeros((32, 32), np.uint8)
    expected[polygon(y, x, expected.shape)] = 1
    assert outlines[4] == list(zip(x, y, strict=True))
    frames = load_task("echonet-dynamic-lv", root).load()
    assert np.array_equal(read_row(frames["train"], 1)["target"], expected)


@pytest.mark.parametrize(
    ("task", "damage", "words"),
    [
        ("ef", lambda d: (d / "Videos" / "0X0005.avi").unlink(), ["0X0005.avi", "data fetch"]),
        ("ef", lambda d: cut(d / "Videos" / "0X0005.avi"), ["0X0005.avi", "get it again"]),
        ("ef", lambda d: change(d / "FileList.csv", "Split", "Part"), ["'Split'", "FileList.csv"]),
        ("ef", lambda d: change(d / "FileList.csv", "VAL", "DEV"), ["'DEV'", "TRAIN, VAL, TEST"]),
        ("ef", lambda d: change(d / "FileList.csv", "62.5", "nan"), ["'nan'", "'EF'"]),
        ("ef", lambda d: change(d / "FileList.csv", "VAL", "TEST", 9), ["validation"]),
        ("ef", lambda d: change(d / "FileList.csv", "0X0001", "0X0000"), ["0X0000"]),
        ("ef", lambda d: change(d / "FileList.csv", "0X0014", "0X0000"), ["0X0000"]),
        ("lv", lambda d: change(d / "VolumeTracings.csv", "X2", "X3"), ["'X2'"]),
        ("lv", lambda d: change(d / "VolumeTracings.csv", ",4\n", ",40\n"), ["frame 40"]),
        ("lv", lambda d: (d / "VolumeTracings.csv").unlink(), ["VolumeTracings.csv"]),
    ],
)
def test_damage_is_told_by_name(root, refused, task, damage, words):
    damage(root / "EchoNet-Dynamic")
    told = refused(f"echonet-dynamic-{task}", root)
    assert all(word in told for word in words), told
