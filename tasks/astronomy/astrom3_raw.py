"""The raw form of the AstroM3 dataset, as its loading script reads it.

Layout of https://huggingface.co/datasets/AstroMLCore/AstroM3Dataset:

- `splits/{full,sub50,sub25,sub10}/{42,0,66,12,123}/{train,val,test}.csv`: a star a row, with `name`
  (of ASAS-SN), `target` (the class), `spec_filename` and 38 catalogue columns; `info.json` beside
  them: how the columns are transformed and the mean and deviation of the training stars after it.
- `photometry.zip`, or unpacked: `vardb_files/NAME.dat` (the name without its blanks), two lines of
  header, then HJD MAG MAG_ERR FLUX FLUX_ERR.
- `spectra/CLASS/SPEC_FILENAME`: LAMOST's FITS files, in both of its layouts.

Source: dev/notebooks/049, 050 and 054 of https://github.com/MeriDK/AstroM3.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import number, read_csv, reading
from tasks.astronomy.fits_files import read_spectrum

FILES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
ARCHIVE, FOLDER = "photometry.zip", "vardb_files"
OBSERVATIONS = f"{ARCHIVE}|{FOLDER}/*.dat|spectra/*/*"
STAR = ("name", "target", "spec_filename")

Array = NDArray[Any]


def list_stars(folder: Path, columns: Sequence[str]) -> Callable[[str], list[dict[str, Any]]]:
    """For a folder `splits/SUBSET/SEED`: split -> its stars, each with the cells of `STAR` and its
    `metadata`, the catalogue `columns` normalised as the authors do it (NaN where missing).

    Raises:
        DatasetError: a file is missing or lacks a column.
    """
    path = folder / "info.json"
    with reading(path):
        info = json.loads(path.read_text(encoding="utf-8-sig"))
        scale = {
            name: (float(mean), float(deviation) or 1.0)
            for name, mean, deviation in zip(
                info["all_cols"], info["mean"], info["std"], strict=True
            )
        }
        functions = {name: kind for kind, names in info["metadata_func"].items() for name in names}
    lacking = [name for name in columns if name not in scale]
    if lacking:
        raise DatasetError(f"{path} has no {', '.join(lacking)} in all_cols: get the file again")

    def stars(split: str) -> list[dict[str, Any]]:
        table = folder / FILES[split]
        rows = read_csv(table, [*STAR, *columns])
        cells = {name: _numbers([row[name] for row in rows], table, name) for name in columns}
        values = [
            (_transformed(cells, name, functions.get(name)) - scale[name][0]) / scale[name][1]
            for name in columns
        ]
        metadata = np.stack(values, 1).astype(np.float32)
        return [
            {**{key: row[key].strip() for key in STAR}, "metadata": line}
            for row, line in zip(rows, metadata, strict=True)
        ]

    return stars


def _numbers(cells: list[str], path: Path, name: str) -> Array:
    return np.array([number(c, path, name) if c.strip() else np.nan for c in cells], np.float64)


def _transformed(cells: Mapping[str, Array], name: str, kind: str | None) -> Array:
    """Apparent to absolute magnitudes (parallax in mas; 1 mas where it is none), angles in degrees
    to one of their functions, logarithms."""
    values = cells[name]
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "abs":
            parallax = cells["parallax"]
            return values - 10 + 5 * np.log10(np.where(parallax <= 0, 1, parallax))
        if kind in ("cos", "sin"):
            values = getattr(np, kind)(np.radians(values))
        elif kind == "log":
            values = np.log10(values)
        elif kind:
            raise DatasetError(f"info.json names the unknown function {kind!r}: get the file again")
    return values


def observations(folder: Path, stars: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Array]]:
    """`photometry` (N, 3) HJD, flux, error and `spectrum` (M, 3) of stars of `list_stars`.

    Raises:
        DatasetError: a file is missing or damaged.
    """
    packed = folder / ARCHIVE
    with ExitStack() as opened:
        archive: zipfile.ZipFile | None = None
        if not (folder / FOLDER).is_dir():
            with reading(packed):
                archive = opened.enter_context(zipfile.ZipFile(packed))
        for star in stars:
            member = f"{FOLDER}/{star['name'].replace(' ', '')}.dat"
            path = folder / member if archive is None else packed
            with reading(path):
                if archive is not None and member not in archive.NameToInfo:
                    raise DatasetError(f"{packed} lacks {member}: get the file again")
                text = path.read_bytes() if archive is None else archive.read(member)
            with reading(folder / member):
                curve = np.loadtxt(io.BytesIO(text), skiprows=2, usecols=(0, 3, 4), ndmin=2)
            spectrum = folder / "spectra" / star["target"] / star["spec_filename"]
            yield {"photometry": curve, "spectrum": read_spectrum(spectrum)}
