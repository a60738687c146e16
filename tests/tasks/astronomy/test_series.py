"""One light curve a line: StarLightCurves of the UCR archive and Kaggle's Kepler fluxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.catalog import load_task
from benchmark.prepare import read_row

STARS, KEPLER = "starlightcurves", "kepler-labelled"
POINTS = 200  # of the small Kepler file; the format says how many


def curve(number: int) -> tuple[int, np.ndarray]:
    rng = np.random.default_rng(number)
    kind = number % 3
    phase = np.linspace(0, 1, 1024)
    values = (np.sin(2 * np.pi * phase), np.cos(4 * np.pi * phase) ** 6, (phase * 3) % 1)[kind]
    return kind + 1, (values - values.mean()) / values.std() + rng.normal(0, 0.1, 1024)


def line(number: int, ending: str) -> str:
    kind, values = curve(number)
    numbers = [f"{value:.7f}" for value in values]
    if ending == "tsv":
        return "\t".join([str(kind), *numbers])
    if ending == "txt":
        return "  ".join([f"{kind:.7e}", *numbers])
    if not ending:
        return ",".join([str(kind), *numbers])
    return ",".join(numbers) + (f":{kind}" if ending == "ts" else f",{kind}")


HEADS = {
    "tsv": "",
    "txt": "",
    "": "",
    "ts": "# comment\n@problemName StarLightCurves\n@classLabel true 1 2 3\n@data\n",
    "arff": "% comment\n@relation StarLightCurves\n@attribute att0 numeric\n@data\n",
}


def write_stars(root: Path, ending: str = "tsv", newline: str = "\n") -> Path:
    folder = root / "StarLightCurves"
    folder.mkdir()
    for part, numbers in (("TRAIN", range(18)), ("TEST", range(18, 30))):
        text = HEADS[ending] + "".join(f"{line(n, ending)}\n" for n in numbers)
        path = folder / f"StarLightCurves_{part}.{ending}".removesuffix(".")
        path.write_bytes(text.replace("\n", newline).encode())
    return folder


@pytest.mark.parametrize(
    ("ending", "newline"),
    [("tsv", "\n"), ("txt", "\n"), ("ts", "\r\n"), ("arff", "\n"), ("", "\r\n")],
)
def test_every_format_of_the_archive(tmp_path, ending, newline):
    write_stars(tmp_path, ending, newline)
    data = load_task(STARS, tmp_path).load()
    assert [len(data["train"]), len(data["test"])] == [18, 12]
    row = read_row(data["test"], 1)
    kind, values = curve(19)
    assert row["target"] == kind - 1
    np.testing.assert_allclose(row["input"]["photometry"][:, 1], values, atol=1e-6)


def test_stars_score(tmp_path, score, findings):
    write_stars(tmp_path)
    assert all(found.passed for found in findings(STARS, tmp_path).values())
    assert score(STARS, tmp_path, "astro-statistics").metrics["accuracy"].value > 0.9


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("1\t", "7\t", "'7'"),
        ("\t", "\tNaN\t", "1025 values"),
        ("0.", "NaN0.", "could not convert"),
        ("1\t", "1.2.3\t", "'1.2.3'"),
    ],
)
def test_damaged_stars(tmp_path, refused, before, after, told):
    path = write_stars(tmp_path) / "StarLightCurves_TEST.tsv"
    path.write_text(path.read_text().replace(before, after, 1))
    message = refused(STARS, tmp_path)
    assert told in message
    assert path.name in message
    assert "get the file again" in message


def test_stars_cut_short_nan_and_empty(tmp_path, refused):
    path = write_stars(tmp_path) / "StarLightCurves_TRAIN.tsv"
    whole = path.read_text()
    path.write_text(whole[:-3000])
    assert "values instead of 1024" in refused(STARS, tmp_path)
    cells = whole.split("\t")
    cells[5] = "NaN"
    path.write_text("\t".join(cells))
    assert "holds NaN" in refused(STARS, tmp_path)
    path.write_text("")
    assert "empty" in refused(STARS, tmp_path)


def write_kepler(root: Path, newline: str = "\n") -> Path:
    """Planets dim their star every 40 points."""
    folder = root / "kepler-labelled"
    folder.mkdir()
    head = ",".join(["LABEL", *(f"FLUX.{i + 1}" for i in range(POINTS))])
    for name, count in (("exoTrain", 24), ("exoTest", 12)):
        rows = [head]
        for number in range(count):
            rng = np.random.default_rng(number + 100 * count)
            flux = rng.normal(0, 1, POINTS)
            flux[::40] -= 30 * (number % 2)
            rows.append(",".join([str(1 + number % 2), *(f"{v:.2f}" for v in flux)]))
        (folder / f"{name}.csv").write_bytes((newline.join(rows) + newline).encode("utf-8-sig"))
    return folder


def test_kepler_scores(tmp_path, score, findings):
    write_kepler(tmp_path, "\r\n")
    assert all(found.passed for found in findings(KEPLER, tmp_path).values())
    assert score(KEPLER, tmp_path, "astro-statistics").metrics["macro_auroc"].value > 0.9
    curve = read_row(load_task(KEPLER, tmp_path).load()["train"], 1)["input"]["photometry"]
    assert curve.shape == (POINTS, 4)
    assert curve[-1, 0] == pytest.approx((POINTS - 1) * 29.4 / 1440, rel=1e-5)


def test_kepler_is_fetched_from_kaggle(tmp_path, fetched, findings):
    address = "https://www.kaggle.com/api/v1/datasets/download/"
    address += "keplersmachines/kepler-labelled-time-series-data"
    fetched(KEPLER, {address: write_kepler(tmp_path)}, tmp_path / "new")
    assert all(found.passed for found in findings(KEPLER, tmp_path / "new").values())


def test_kepler_columns_in_any_order(tmp_path):
    folder = write_kepler(tmp_path)
    before = read_row(load_task(KEPLER, tmp_path).load()["test"], 3)
    for path in folder.iterdir():
        rows = [row.split(",") for row in path.read_text("utf-8-sig").splitlines()]
        path.write_text("\n".join(",".join(["x", *row[::-1]]) for row in rows))
    after = read_row(load_task(KEPLER, tmp_path).load()["test"], 3)
    assert before["target"] == after["target"]
    np.testing.assert_array_equal(before["input"]["photometry"], after["input"]["photometry"])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("LABEL", "CLASS", "LABEL"),
        ("FLUX.7,", "", "between its fluxes"),
        ("\n1,", "\n3,", "'3'"),
        ("\n1,", "\n1,5,", "columns instead of"),
        ("\n1,", "\n1,nan", "could not convert"),
    ],
)
def test_damaged_kepler(tmp_path, refused, before, after, told):
    path = write_kepler(tmp_path) / "exoTest.csv"
    path.write_text(path.read_text("utf-8-sig").replace(before, after, 1))
    message = refused(KEPLER, tmp_path)
    assert told in message
    assert "exoTest.csv" in message
    assert "get the file again" in message


def test_kepler_cut_short_and_missing(tmp_path, refused):
    path = write_kepler(tmp_path) / "exoTrain.csv"
    path.write_bytes(path.read_bytes()[:-400])
    assert "columns instead of" in refused(KEPLER, tmp_path)
    path.unlink()
    assert "lacks exoTrain.csv" in refused(KEPLER, tmp_path)
