"""LAMOST spectra: the real sample, both layouts of the archive, and damage."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from benchmark.catalog import load_task
from tasks.astronomy.fits_files import read_spectrum
from tasks.astronomy.lamost import spectral_type
from tasks.astronomy.lamost_archive import ARCHIVE, PLANS

TASK = "lamost-class"
COEFF0, COEFF1, PIXELS = 3.5682, 1e-4, 300
TEMPERATURES = {"A": 9000, "G": 5500, "M": 3300}


def header(kind: str = "STAR", subclass: str = "G2", number: int = 0) -> fits.Header:
    cards = {"CLASS": kind, "SUBCLASS": subclass, "DESIG": f"LAMOST J06{number:04d}.00+270000.0"}
    return fits.Header({**cards, "COEFF0": COEFF0, "COEFF1": COEFF1})


def black_body(temperature: float, rng: np.random.Generator) -> np.ndarray:
    wavelength = 10 ** (COEFF0 + COEFF1 * 12 * np.arange(PIXELS)) * 1e-10
    flux = wavelength**-5 / np.expm1(0.014388 / (wavelength * temperature))
    return (flux / flux.mean() * 1000 * rng.normal(1, 0.02, PIXELS)).astype(np.float32)


def write_image(path: Path, flux: np.ndarray, head: fits.Header) -> None:
    """DR1 to DR7: rows flux, inverse variance, wavelength, and mask, or mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head["COEFF1"] = COEFF1 * 12
    wavelength = 10 ** (COEFF0 + COEFF1 * 12 * np.arange(len(flux)))
    rows = [flux, np.full_like(flux, 0.25), wavelength, 0 * flux, 0 * flux]
    fits.PrimaryHDU(np.array(rows, ">f4"), head).writeto(path)


def write_table(path: Path, flux: np.ndarray, head: fits.Header) -> None:
    """Later releases: one row of arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavelength = 10 ** (COEFF0 + COEFF1 * 12 * np.arange(len(flux)))
    form = f"{len(flux)}E"
    columns = [
        fits.Column(name, form, array=[values])
        for name, values in (
            ("FLUX", flux),
            ("IVAR", np.full_like(flux, 0.25)),
            ("WAVELENGTH", wavelength),
            ("ANDMASK", 0 * flux),
            ("ORMASK", 0 * flux),
        )
    ]
    table = fits.BinTableHDU.from_columns(columns, name="COADD")
    fits.HDUList([fits.PrimaryHDU(header=head), table]).writeto(path)


def file_of(root: Path, number: int) -> Path:
    return root / "lamost" / "20111024" / f"spec-55862-B6212_sp06-{number + 1:03d}.fits"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten stars of each of three types; one packed, one in another folder, every third a table."""
    rng = np.random.default_rng(0)
    number = 0
    for letter, temperature in TEMPERATURES.items():
        for subtype in range(10):
            head = header(subclass=f"{letter}{subtype}V", number=number)
            write = write_table if number % 3 == 0 else write_image
            write(file_of(tmp_path, number), black_body(temperature, rng), head)
            number += 1
    packed = file_of(tmp_path, 1)
    packed.with_suffix(".fits.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    file_of(tmp_path, 2).rename(tmp_path / "lamost" / file_of(tmp_path, 2).name)
    return tmp_path


@pytest.mark.long
@pytest.mark.shared_data
def test_the_real_sample(shared_data, score, findings):
    found = findings(TASK, shared_data)
    assert all(found[name].passed for name in ("files", "examples", "groups", "duplicates"))
    assert found["examples"].detail.startswith("18 fold-1")
    result = score(TASK, shared_data, "astro-statistics")
    assert 0.74 < result.metrics["balanced_accuracy"].value < 0.92


@pytest.mark.long
def test_both_layouts_packed_or_not(root, score, findings):
    found = findings(TASK, root)
    assert all(found[name].passed for name in ("files", "examples", "groups", "duplicates"))
    assert "6 fold-1, 6 fold-2, 6 fold-3, 6 fold-4, 6 fold-5" in found["examples"].detail
    assert score(TASK, root, "astro-statistics").metrics["balanced_accuracy"].value > 0.9


def test_every_fifth_spectrum_of_some_plans_is_fetched(root, tmp_path, fetched, findings):
    pages = {f"{ARCHIVE}/{plan}/": "<a href='../'>up</a>\n" for plan in PLANS}
    files, spectra = {}, sorted(root.rglob("spec-*"))
    for number, path in enumerate(spectra):
        page = list(pages)[number % len(PLANS)]
        for fibre in range(5):
            name = f"spec-55862-B6212_sp06-{5 * number + fibre:03d}.fits.gz"
            pages[page] += f'<a href="{name}">{name}</a>\n'
        content = path.read_bytes()
        packed = content if path.suffix == ".gz" else gzip.compress(content, 1)
        files[f"{page}spec-55862-B6212_sp06-{5 * number:03d}.fits.gz"] = packed
    served = {**files, **{page: text.encode() for page, text in pages.items()}}
    fetched(TASK, served, tmp_path / "new")
    new = [path.relative_to(tmp_path / "new" / "lamost") for path in (tmp_path / "new").rglob("*z")]
    assert sorted(f"{ARCHIVE}/{path}" for path in new) == sorted(files)
    found = findings(TASK, tmp_path / "new")
    assert all(found[name].passed for name in ("files", "examples", "groups", "duplicates"))


def test_layouts_give_the_same_spectrum(tmp_path):
    flux = black_body(5500, np.random.default_rng(1))
    write_image(tmp_path / "image.fits", flux, header())
    write_table(tmp_path / "table.fits", flux, header())
    image, table = read_spectrum(tmp_path / "image.fits"), read_spectrum(tmp_path / "table.fits")
    np.testing.assert_allclose(image, table, rtol=1e-6)
    np.testing.assert_allclose(image[:, 1], flux)
    assert (image[:, 2] == 2).all()
    assert image[0, 0] == pytest.approx(10**COEFF0, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "subclass", "letter"),
    [
        ("STAR", "F9", "F"),
        ("STAR", "A7V", "A"),
        ("STAR", "K", "K"),
        ("STAR", "gM3", "M"),
        ("STAR", "sdM1", "M"),
        ("STAR", "B6", "B"),
        ("STAR", "OB", None),
        ("STAR", "Carbon", None),
        ("STAR", "WD", None),
        ("STAR", "CV", None),
        ("GALAXY", "Non", None),
        ("QSO", "Non", None),
        ("Unknown", "Non", None),
    ],
)
def test_spectral_types(kind, subclass, letter):
    assert spectral_type(kind, subclass, Path("x.fits")) == letter


def test_what_has_no_type_is_no_part_of_the_task(root):
    flux = np.ones(PIXELS, np.float32)
    write_image(file_of(root, 80), flux, header("GALAXY", "Non", 80))
    data = load_task(TASK, root).load()
    assert sum(len(split) for split in data.values()) == 30


def test_observations_of_one_object_stay_together(root):
    copy = file_of(root, 3).with_name("spec-56000-B7000_sp01-001.fits")
    write_image(copy, np.arange(1, PIXELS + 1, dtype=np.float32), header(subclass="A3V", number=3))
    data = load_task(TASK, root).load()
    held = {split for split, rows in data.items() if "J060003.00+270000.0" in rows["group"]}
    assert len(held) == 1
    assert sum(len(split) for split in data.values()) == 31


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def unknown_label(path: Path) -> None:
    fits.setval(path, "CLASS", value="STARFISH")


def no_label(path: Path) -> None:
    fits.delval(path, "SUBCLASS")


def holds_nan(path: Path) -> None:
    head = fits.getheader(path)
    flux = np.ones(PIXELS, np.float32)
    flux[7] = math.nan
    path.unlink()
    write_image(path, flux, head)


def no_wavelength(path: Path) -> None:
    fits.delval(path, "COEFF1")


def falling_wavelength(path: Path) -> None:
    fits.setval(path, "COEFF1", value=-0.001)


def twice(path: Path) -> None:
    path.with_suffix(".fits.gz").write_bytes(gzip.compress(path.read_bytes()))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (cut, "truncated"),
        (cut_header, "cannot be read"),
        (unknown_label, "STARFISH"),
        (no_label, "SUBCLASS"),
        (holds_nan, "NaN"),
        (no_wavelength, "COEFF1"),
        (falling_wavelength, "do not ascend"),
        (twice, "stands twice"),
    ],
)
def test_damage_is_told_with_file_and_remedy(root, refused, damage, told):
    path = file_of(root, 4)
    damage(path)
    message = refused(TASK, root)
    assert told in message
    assert "spec-55862-B6212_sp06-005" in message
    assert any(remedy in message for remedy in ("get the file again", "remove the second"))


def test_too_few_objects_leave_a_fold_empty(tmp_path, refused):
    write_image(file_of(tmp_path, 0), np.ones(PIXELS, np.float32), header())
    assert "empty" in refused(TASK, tmp_path)


def test_missing_data_says_how_to_get_it(tmp_path, refused):
    message = refused(TASK, tmp_path)
    assert "no folder lamost" in message
    assert "data fetch lamost-class" in message
