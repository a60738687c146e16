"""Reading one-dimensional spectra from FITS files, in the layouts that surveys deliver them in.

- **image**: the primary HDU holds rows of pixels, of which row 0 is the flux and row 1 its inverse
  variance; the wavelength of pixel i is 10^(COEFF0 + COEFF1 i) Angstrom (LAMOST up to DR7).
- **table**: a binary table has a column FLUX beside WAVELENGTH in Angstrom or LOGLAM, its decimal
  logarithm, and IVAR; one row per pixel (SDSS), or one row of arrays (LAMOST since DR8).

FITS is big-endian, and names of columns have no case (FITS standard 4.0, section 7.3.1). Files may
be compressed by gzip, whatever they are called.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading

AGAIN = "get the file again"


@contextmanager
def _strictly() -> Iterator[None]:
    """What astropy only warns of when a file ends too early is an error here; unusual header cards,
    which every survey has, are nothing to tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*truncated")
        yield


def read_header(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Values of the primary header's keywords `names`, without reading the data behind it.

    Raises:
        DatasetError: no such file, no FITS file, or a keyword is missing.
    """
    from astropy.io import fits

    with reading(path), _strictly(), path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        header = fits.Header.fromfile(gzip.GzipFile(fileobj=raw) if packed else raw)
        lacking = [name for name in names if name not in header]
        found = {name: header[name] for name in names if name in header}
    if lacking:
        raise DatasetError(
            f"{path}: its primary header has no keyword {', '.join(lacking)}: {AGAIN}, unchanged"
        )
    return {name: v.strip() if isinstance(v, str) else v for name, v in found.items()}


def read_spectrum(path: Path) -> NDArray[np.float32]:
    """(W, 3) wavelength in Angstrom, flux, standard error of the flux (0 where it is unknown).

    Raises:
        DatasetError: the file is missing, damaged, cut short, in no known layout, or holds NaN.
    """
    from astropy.io import fits

    with reading(path), _strictly(), fits.open(path, memmap=False) as hdus:
        table = next((hdu for hdu in hdus[1:] if _has_flux(hdu)), None)
        columns = _of_image(hdus[0]) if table is None else _of_table(table)
    if columns is None:
        raise DatasetError(
            f"{path} holds no spectrum: neither an image with COEFF0 and COEFF1 nor a table with "
            f"FLUX and WAVELENGTH or LOGLAM: {AGAIN}, unchanged"
        )
    wavelength, flux, inverse = columns
    if not len(wavelength) == len(flux) == len(inverse) > 1:
        raise DatasetError(
            f"{path} has {len(flux)} fluxes at {len(wavelength)} wavelengths: {AGAIN}, unchanged"
        )
    if not (np.isfinite(flux).all() and np.isfinite(wavelength).all()):
        raise DatasetError(f"{path} holds NaN or infinite values: {AGAIN}, or leave it out")
    if wavelength[0] <= 0 or (np.diff(wavelength) <= 0).any():
        raise DatasetError(f"{path}: its wavelengths do not ascend: {AGAIN}, unchanged")
    known = np.isfinite(inverse) & (inverse > 0)
    error = np.divide(1.0, np.sqrt(np.where(known, inverse, 1.0)), where=known, out=0 * flux)
    return np.stack([wavelength, flux, error], axis=1).astype(np.float32)


def _has_flux(hdu: Any) -> bool:
    names = {name.upper() for name in getattr(getattr(hdu, "columns", None), "names", None) or ()}
    return "FLUX" in names and bool({"WAVELENGTH", "LOGLAM"} & names)


def _of_table(table: Any) -> tuple[NDArray[np.float64], ...]:
    names = {name.upper(): name for name in table.columns.names}

    def column(name: str) -> NDArray[np.float64]:
        return np.asarray(table.data[names[name]], np.float64).reshape(-1)

    flux = column("FLUX")
    wavelength = column("WAVELENGTH") if "WAVELENGTH" in names else 10 ** column("LOGLAM")
    return wavelength, flux, column("IVAR") if "IVAR" in names else np.zeros(len(flux))


def _of_image(hdu: Any) -> tuple[NDArray[np.float64], ...] | None:
    if hdu.data is None or not {"COEFF0", "COEFF1"} <= set(hdu.header):
        return None
    rows = np.atleast_2d(np.asarray(hdu.data, np.float64))
    rows = rows.reshape(-1, rows.shape[-1])
    pixels = np.arange(rows.shape[1])
    wavelength = 10 ** (hdu.header["COEFF0"] + hdu.header["COEFF1"] * pixels)
    return wavelength, rows[0], rows[1] if len(rows) > 1 else np.zeros(len(pixels))


def table_row(path: Path, names: Mapping[str, str]) -> dict[str, Any]:
    """The cells of the first row of the first table that has all columns `names`: column -> what
    it is, for the message.

    Raises:
        DatasetError: the file is damaged or has no such table.
    """
    from astropy.io import fits

    with reading(path), _strictly(), fits.open(path, memmap=False) as hdus:
        for hdu in hdus[1:]:
            own = {n.upper(): n for n in getattr(getattr(hdu, "columns", None), "names", ())}
            if set(names) <= own.keys() and len(hdu.data):
                cells = {name: np.asarray(hdu.data[own[name]])[0] for name in names}
                return {name: _plain(value) for name, value in cells.items()}
    told = ", ".join(f"{name} ({what})" for name, what in names.items())
    raise DatasetError(f"{path} has no table with the columns {told}: {AGAIN}, unchanged")


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, bytes):
        plain = plain.decode("ascii", "replace")
    return plain.strip() if isinstance(plain, str) else plain
