"""SDSS spectra in generated files of the official layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from astropy.io import fits

from benchmark.catalog import load_task
from tasks.astronomy.sky_positions import objects_at
from tasks.astronomy.skyserver import QUERY, SAMPLE, SPECTRA

TASK = "sdss-class"
SLOPES = {"GALAXY": 1.0, "QSO": -1.0, "STAR": 0.0}


def write(path: Path, name: str, ra: float, dec: float, seed: int, columns: str = "lower") -> None:
    """HDU 0 header alone, 1 COADD, 2 SPALL, 3 SPZLINE."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    size = 400 + seed % 7
    loglam = 3.58 + 1e-3 * np.arange(size)
    flux = 10 + 4 * SLOPES.get(name, 0) * np.linspace(-1, 1, size) + rng.normal(0, 0.5, size)
    case = str.upper if columns == "upper" else str.lower
    arrays = {"flux": flux, "loglam": loglam, "ivar": np.full(size, 4.0), "sky": 0 * flux}
    coadd = [fits.Column(case(n), "E", array=a) for n, a in arrays.items()]
    summary = [
        fits.Column("SURVEY", "6A", array=["boss"]),
        fits.Column("PLUG_RA", "D", array=[ra]),
        fits.Column("PLUG_DEC", "D", array=[dec]),
        fits.Column("CLASS", "6A", array=[name]),
        fits.Column("SUBCLASS", "21A", array=[""]),
    ]
    head = fits.Header({"PLUG_RA": ra, "COEFF0": 3.58, "COEFF1": 1e-3})
    hdus = [
        fits.PrimaryHDU(header=head),
        fits.BinTableHDU.from_columns(coadd, name="COADD"),
        fits.BinTableHDU.from_columns(summary, name="SPALL"),
        fits.BinTableHDU.from_columns(
            [fits.Column("LINENAME", "4A", array=["Ha"])], name="SPZLINE"
        ),
    ]
    fits.HDUList(hdus).writeto(path, overwrite=True)


def file_of(root: Path, number: int) -> Path:
    return root / "sdss" / "4055" / f"spec-4055-55359-{number:04d}.fits"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(30):
        name = list(SLOPES)[number % 3]
        case = "upper" if number % 2 else "lower"
        write(file_of(tmp_path, number), name, 150 + number / 10, 2 - number / 10, number, case)
    return tmp_path


@pytest.mark.long
def test_scores_and_has_no_leaks(root, score, findings):
    assert all(found.passed for found in findings(TASK, root).values())
    assert score(TASK, root, "astro-statistics").metrics["balanced_accuracy"].value > 0.9


@pytest.fixture
def ten_of_each(monkeypatch):
    """A sample of ten spectra of every class."""
    kind = type(load_task(TASK))
    (sample,) = kind.distribution.listings
    small = replace(kind.distribution, listings=(replace(sample, number=10),))
    monkeypatch.setattr(kind, "distribution", small)


def answers(root: Path, after: str = "") -> dict[str, bytes]:
    """What SkyServer and the archive answer."""
    files = {}
    for place, kind in enumerate(SLOPES):
        names = [file_of(root, n) for n in range(place, 30, 3)]
        table = ["#Table1", "plate,mjd,fiberID"]
        table += [",".join(str(int(part)) for part in name.stem.split("-")[1:]) for name in names]
        sql = SAMPLE.format(number=10, kind=kind)
        query = urlencode({"searchtool": "SQL", "format": "csv", "cmd": sql})
        files[f"{QUERY}?{query}"] = ("\r\n".join(table) + "\r\n" + after).encode()
        files |= {f"{SPECTRA}/4055/{name.name}": name.read_bytes() for name in names}
    return files


@pytest.mark.usefixtures("ten_of_each")
def test_a_sample_is_chosen_by_skyserver_and_fetched(root, tmp_path, fetched, findings):
    fetched(TASK, answers(root), tmp_path / "new")
    assert all(found.passed for found in findings(TASK, tmp_path / "new").values())
    found = sorted(path.name for path in (tmp_path / "new" / "sdss" / "4055").iterdir())
    assert found == [file_of(root, n).name for n in range(30)]


@pytest.mark.usefixtures("ten_of_each")
@pytest.mark.parametrize(
    ("after", "message"),
    [
        ("<b>time limit</b>", "time limit"),
        (",51630,1", "and no table"),
        ("266,51630,9", "answers 11 of the 10 spectra of class GALAXY"),
    ],
)
def test_an_answer_that_is_not_the_sample_is_told(root, tmp_path, fetched, capsys, after, message):
    with pytest.raises(SystemExit):
        fetched(TASK, answers(root, after), tmp_path / "new")
    told = capsys.readouterr().out
    assert message in told
    assert "try again later" in told
    assert "spec-PLATE-MJD-FIBER.fits" in told  # how to do without


def test_a_second_visit_stays_with_the_first(root):
    again = root / "sdss" / "0266" / "spec-0266-51602-0007.fits"
    write(again, "STAR", 150 + 1e-4, 2 + 1e-4, 99)  # half an arcsecond from the first
    data = load_task(TASK, root).load()
    held = {s for s, rows in data.items() for i in rows["id"] if i.endswith(("-0007", "-0000"))}
    first = {s for s, rows in data.items() if "spec-4055-55359-0000" in rows["id"]}
    assert {s for s, rows in data.items() if "spec-0266-51602-0007" in rows["id"]} == first
    assert first <= held


def test_positions_are_chained_over_the_meridian_and_at_the_pole():
    second = 1 / 3600
    names = objects_at([359.9999, 0.0001, 10, 200, 10], [0, 0, 90, 90, 5], within=2)
    assert names[0] == names[1]
    assert names[2] == names[3] != names[4]
    chain = objects_at([5, 5, 5, 5], [0, 1.5 * second, 3 * second, 10 * second], within=2)
    assert chain[0] == chain[1] == chain[2] != chain[3]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def without_table(path: Path) -> None:
    with fits.open(path, memmap=False) as hdus:
        fits.HDUList(hdus[:2]).writeto(path, overwrite=True)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, "cannot be read"),
        (without_table, "PLUG_RA"),
        (lambda path: write(path, "NEBULA", 1, 1, 3), "NEBULA"),
    ],
)
def test_damage_is_told_with_file_and_remedy(root, refused, damage, told):
    damage(file_of(root, 6))
    message = refused(TASK, root)
    assert told in message
    assert "spec-4055-55359-0006.fits" in message
    assert "get the file again" in message
