"""AstroM3's parquet files, as observed and as the authors prepare them, and its raw form."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits

from baselines.astronomy.astrom3_photometry import band_curves, prepare_photometry
from baselines.astronomy.astrom3_spectra import prepare_spectra
from benchmark.catalog import load_task, task_cards
from benchmark.prepare import read_row
from tasks.astronomy.astrom3 import CATALOGUE, OF_LIGHT_CURVE, catalogue, light_curve, spectrum

TASKS = ("astrom3-all", "astrom3-photometry", "astrom3-spectra", "astrom3-metadata")
NAMES = ("EW", "SR", "M")
SIZES = {"train": 18, "validation": 9, "test": 9}


def star(number: int) -> dict:
    """As observed: Mira stars vary by much, SR by less; spectra and colours differ, too."""
    rng = np.random.default_rng(number)
    kind = number % 3
    time = 2_457_000 + np.sort(rng.uniform(0, 900, 40 + number % 5))
    flux = 20 + (1, 5, 15)[kind] * np.sin(time / (2, 60, 300)[kind]) + rng.normal(0, 0.2, len(time))
    wavelength = np.geomspace(3700, 9100, 600)
    level = 100 * (1 + (kind - 1) * (wavelength - 6000) / 6000) + rng.normal(0, 1, 600)
    values = rng.normal(kind, 0.3, len(CATALOGUE) + len(OF_LIGHT_CURVE)).tolist()
    return {
        "photometry": np.column_stack([time, flux, np.full(len(time), 0.2)]).tolist(),
        "spectra": np.column_stack([wavelength, level, np.ones(600)]).tolist(),
        "metadata": {
            "meta_cols": dict(zip(CATALOGUE, values, strict=False)),
            "photo_cols": dict(zip(OF_LIGHT_CURVE, values[34:], strict=True)),
        },
        "label": NAMES[kind],
    }


def as_prepared(row: dict) -> dict:
    """The (N, 9) and (3, 2575) of the authors, worked out here by their description."""
    raw = np.array(row["photometry"])
    spread = np.median(np.abs(raw[:, 1] - np.median(raw[:, 1])))
    span = np.ptp(raw[:, 0])
    aux = [*row["metadata"]["photo_cols"].values(), np.log10(spread), span / 365]
    steps = [
        (raw[:, 0] - raw[0, 0]) / span,
        (raw[:, 1] - raw[:, 1].mean()) / spread,
        raw[:, 2] / spread,
    ]
    photometry = np.column_stack([*steps, np.tile(aux, (len(raw), 1))])
    grid, observed = np.arange(3850, 9000, 2), np.array(row["spectra"]).T
    flux, error = (np.interp(grid, observed[0], channel) for channel in observed[1:])
    spread = np.median(np.abs(flux - np.median(flux)))
    level = np.full_like(flux, np.log10(spread))
    return {
        "photometry": photometry.astype(np.float32).tolist(),
        "spectra": np.array([(flux - flux.mean()) / spread, error / spread, level]).tolist(),
        "metadata": list(row["metadata"]["meta_cols"].values()),
        "label": sorted(NAMES).index(row["label"]),
    }


def write(
    root: Path, prepared: bool = False, change=lambda rows: rows, subset: str = "full"
) -> Path:
    folder = root / "AstroM3Processed" / f"{subset}_42{'_norm' if prepared else ''}"
    folder.mkdir(parents=True)
    first = 0
    for split, size in SIZES.items():
        rows = [star(number) for number in range(first, first + size)]
        table = pa.Table.from_pylist(change([as_prepared(r) for r in rows] if prepared else rows))
        if prepared:
            feature = {"info": {"features": {"label": {"names": sorted(NAMES)}}}}
            told = str(feature).replace("'", '"').encode()
            table = table.replace_schema_metadata({b"huggingface": told})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet", row_group_size=7)
        first += size
    return folder


def write_raw(root: Path, subset: str = "full") -> Path:
    """Splits as csv, light curves in a zip, spectra as LAMOST delivers them (image or table)."""
    folder = root / "AstroM3Dataset"
    tables = folder / "splits" / subset / "42"
    tables.mkdir(parents=True)
    columns = [*OF_LIGHT_CURVE, *CATALOGUE]
    told = {"all_cols": columns, "mean": [0.5] * 38, "std": [2.0] * 38}
    functions = {"abs": ["mean_vmag"], "cos": ["l"], "sin": ["b"], "log": ["period"]}
    (tables / "info.json").write_text(json.dumps(told | {"metadata_func": functions}))
    number = 0
    with zipfile.ZipFile(folder / "photometry.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for split, file in (("train", "train"), ("validation", "val"), ("test", "test")):
            lines = [",".join(["name", "edr3_source_id", "target", "spec_filename", *columns])]
            for _ in range(SIZES[split]):
                row = star(number)
                name = f"ASASSN-V J{number:06d}.00+000000.0"
                curve = "\n".join(
                    f"{t:.5f} 12.5 0.02 {f:.4f} {e:.3f}" for t, f, e in row["photometry"]
                )
                archive.writestr(
                    f"vardb_files/{name.replace(' ', '')}.dat",
                    f"#{name}\nHJD MAG MAG_ERR FLUX FLUX_ERR\n{curve}\n",
                )
                path = folder / "spectra" / row["label"] / f"spec-{number}.fits"
                path.parent.mkdir(parents=True, exist_ok=True)
                flux = np.array(row["spectra"])[:, 1]
                head = fits.Header({"COEFF0": 3.57, "COEFF1": 6e-4})
                image = np.stack([flux, np.full(600, 0.25)]).astype(">f4")
                fits.PrimaryHDU(image, head).writeto(path)
                values = row["metadata"]["photo_cols"] | row["metadata"]["meta_cols"]
                values["period"] = 10.0 ** values["period"]
                cells = ["" if c == "w4_mag" else f"{values[c]:.8f}" for c in columns]
                lines.append(",".join([name, "1", row["label"], path.name, *cells]))
                number += 1
            (tables / f"{file}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.long
def test_the_raw_form_scores(tmp_path, score, findings):
    write_raw(tmp_path)
    found = findings(TASKS[0], tmp_path)
    assert all(found[name].passed for name in ("files", "examples", "groups", "duplicates"))
    assert found["examples"].detail == "18 train, 9 validation, 9 test"
    for task in TASKS:
        assert score(task, tmp_path, "astro-statistics").metrics["accuracy"].value > 0.6


def test_the_raw_form_is_as_observed_with_values_normalised(tmp_path):
    write_raw(tmp_path)
    stored = read_row(load_task(TASKS[0], tmp_path).load()["train"], 4)
    row, given = stored["input"], star(4)
    assert stored["id"] == stored["group"] == "ASASSN-V J000004.00+000000.0"
    observed = np.array(given["photometry"])
    np.testing.assert_allclose(row["photometry"][:, 0], observed[:, 0] - observed[0, 0], atol=1e-3)
    np.testing.assert_allclose(row["photometry"][:, 1], observed[:, 1], atol=1e-3)
    np.testing.assert_allclose(row["spectrum"][:, 1], np.array(given["spectra"])[:, 1], rtol=1e-5)
    assert (row["spectrum"][:, 2] == 2).all()
    told = {**given["metadata"]["meta_cols"], **given["metadata"]["photo_cols"]}
    told["mean_vmag"] += -10 + 5 * np.log10(told["parallax"] if told["parallax"] > 0 else 1)
    told["l"] = np.cos(np.radians(told["l"]))
    told["b"] = np.sin(np.radians(told["b"]))
    told["w4_mag"] = np.nan
    expected = [(told[name] - 0.5) / 2 for name in (*CATALOGUE, *OF_LIGHT_CURVE)]
    np.testing.assert_allclose(row["metadata"], expected, atol=1e-5)


def test_unpacked_light_curves_are_the_same(tmp_path):
    folder = write_raw(tmp_path)
    task = load_task(TASKS[0], tmp_path)
    names = {path.name for path in task.files()}
    assert {"info.json", "photometry.zip", "spec-4.fits", "val.csv"} <= names
    packed = task.load()["test"]["input"][0]["photometry"]
    with zipfile.ZipFile(folder / "photometry.zip") as archive:
        archive.extractall(folder)
    (folder / "photometry.zip").unlink()
    assert load_task(TASKS[0], tmp_path).load()["test"]["input"][0]["photometry"] == packed


def test_smaller_parts_are_tasks_of_their_own(tmp_path, score):
    write(tmp_path, subset="sub10")
    write_raw(tmp_path, subset="sub50")
    (tmp_path / "AstroM3Dataset").rename(tmp_path / "half")
    assert score("astrom3-all-sub10", tmp_path, "astro-statistics").metrics["accuracy"].value > 0.6
    assert len(load_task("astrom3-all-sub50", tmp_path / "half").load()["test"]) == 9


def test_forms_do_not_mix(tmp_path):
    """Normalised values to train and others to test would be two kinds of input."""
    write(tmp_path)
    (write(tmp_path, prepared=True) / "test-00000-of-00001.parquet").unlink()
    task = load_task(TASKS[0], tmp_path)
    assert {r["_file"].parent.name for s in task.splits for r in task.rows(s)} == {"full_42"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda f: (f / "spectra" / "SR" / "spec-4.fits").unlink(), "spec-4.fits is missing"),
        (lambda f: (f / "photometry.zip").write_bytes(b"PK" + bytes(90)), "photometry.zip"),
        (lambda f: drop_light_curve(f, None), "lacks vardb_files/ASASSN-VJ000004"),
        (lambda f: drop_light_curve(f, "1 2 3 4 5\n6 7 8\n"), "ASASSN-VJ000004.00+000000.0.dat"),
        (lambda f: edit(f, "train.csv", ",SR,", ",XYZ,"), "'XYZ' is not one of"),
        (lambda f: edit(f, "train.csv", "ruwe", "rude"), "has no column 'ruwe'"),
        (lambda f: edit(f, "info.json", '"mean"', '"men"'), "info.json cannot be read"),
    ],
)
def test_damage_of_the_raw_form_is_told(tmp_path, refused, damage, told):
    damage(write_raw(tmp_path))
    message = refused(TASKS[0], tmp_path)
    assert told in message
    assert "get the file again" in message


def edit(folder: Path, name: str, before: str, after: str) -> None:
    path = folder / "splits" / "full" / "42" / name
    path.write_text(path.read_text().replace(before, after, 1))


def drop_light_curve(folder: Path, instead: str | None) -> None:
    """Star 4 without its light curve, or with another."""
    path = folder / "photometry.zip"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = "vardb_files/ASASSN-VJ000004.00+000000.0.dat"
    del files[name]
    if instead is not None:
        files[name] = b"#\nHJD MAG MAG_ERR FLUX FLUX_ERR\n" + instead.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.mark.long
@pytest.mark.parametrize("prepared", [False, True])
def test_every_task_scores(tmp_path, score, findings, prepared):
    write(tmp_path, prepared)
    found = findings(TASKS[0], tmp_path)
    assert all(found[name].passed for name in ("files", "examples", "groups", "duplicates"))
    assert found["examples"].detail == "18 train, 9 validation, 9 test"
    for task in TASKS:
        assert score(task, tmp_path, "astro-statistics").metrics["accuracy"].value > 0.6


def test_both_forms_are_one_to_the_encoder():
    raw, ready = star(4), as_prepared(star(4))
    curves, spectra = [], []
    for row in (raw, ready):
        curve, given = light_curve(np.array(row["photometry"], np.float64))
        one = torch.from_numpy(curve)[None].double()
        bands = band_curves(one, torch.tensor([len(curve)]), "mean")
        aux = torch.tensor(catalogue(row["metadata"], given)[None, 34:])
        curves.append(prepare_photometry(bands, aux)[0])
        spectra.append(
            prepare_spectra(torch.from_numpy(spectrum(np.array(row["spectra"])).T[None]))
        )
    torch.testing.assert_close(*curves, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(*spectra, rtol=1e-3, atol=2e-3)
    expected = torch.tensor(ready["spectra"], dtype=torch.float32)[None]
    torch.testing.assert_close(spectra[0], expected, rtol=1e-3, atol=1e-3)


def test_encoder_astrom3_takes_it(tmp_path, score):
    from benchmark.encoder import load_encoder

    write(tmp_path)
    row = read_row(load_task(TASKS[0], tmp_path).load()["test"], 0)["input"]
    module = load_encoder("astrom3", init="random", reduced=True).module
    arrays = {
        "photometry": torch.tensor(row["photometry"])[None],
        "lengths": torch.tensor([len(row["photometry"])]),
        "spectrum": torch.tensor(row["spectrum"].T.copy())[None],
        "metadata": torch.tensor(row["metadata"])[None],
    }
    assert set(module.towers(**arrays)) == {"photometry", "spectrum", "metadata"}


def test_normalised_values_are_preferred(tmp_path):
    write(tmp_path)
    write(tmp_path, prepared=True)
    rows = list(load_task(TASKS[0], tmp_path).rows("train"))
    assert [row["_file"].parent.name for row in rows] == ["full_42_norm"] * 3


def test_cards_agree():
    cards = [card for card in task_cards() if card.name in TASKS]
    cards += [card for card in task_cards() if card.name.startswith("astrom3-all-sub")]
    assert len(cards) == 7
    assert len({card.target.classes for card in cards}) == 1


def nan_flux(rows):
    rows[3]["photometry"][5][1] = float("nan")
    return rows


def strange(rows):
    rows[3]["label"] = "XYZ"
    return rows


def other_shape(rows):
    return [{**row, "photometry": [[1.0, 2.0], [2.0, 3.0]]} for row in rows]


def other_values(rows):
    return [{**row, "metadata": [1.0, 2.0]} for row in rows]


def without(rows):
    return [{k: v for k, v in row.items() if k != "spectra"} for row in rows]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (nan_flux, "NaN"),
        (strange, "XYZ"),
        (without, "spectra"),
        (other_shape, "(2, 2)"),
        (other_values, "2 catalogue"),
    ],
)
def test_wrong_content_is_told(tmp_path, refused, change, told):
    write(tmp_path, change=change)
    assert told in refused(TASKS[0], tmp_path)


def test_damaged_and_missing_files_are_told(tmp_path, refused):
    folder = write(tmp_path)
    path = folder / "test-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    message = refused(TASKS[0], tmp_path)
    assert path.name in message
    assert "get the file again" in message
    path.unlink()
    assert "lacks full_42_norm/test-*.parquet" in refused(TASKS[0], tmp_path)
