"""Galaxies, quasars and stars from spectra of the Sloan Digital Sky Survey.

Layout: FITS files `spec-PLATE-MJD-FIBER.fits`, whole or "lite", in folders of any depth. HDU 1
(COADD) is a table with FLUX, LOGLAM and IVAR by pixel; HDU 2 (SPALL, for SDSS-I/II SPECOBJ) is one
row with CLASS, PLUG_RA and PLUG_DEC among others. Source: https://data.sdss.org/datamodel/files/
BOSS_SPECTRO_REDUX/RUN2D/spectra/PLATE4/spec.html. There is no official split; how the folds are
made is told in `deal_folds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from benchmark.distribution import Distribution, matches
from benchmark.task import Task, folds
from tasks.astronomy.dealt_folds import deal_folds
from tasks.astronomy.fits_files import read_spectrum, table_row
from tasks.astronomy.sky_positions import objects_at
from tasks.astronomy.skyserver import SpectrumSample

NAME = "**/spec-[0-9]*-[0-9][0-9][0-9][0-9][0-9]-[0-9]*.fits"
LAYOUT = f"{NAME}|{NAME}.gz"
COLUMNS = {"CLASS": "the label", "PLUG_RA": "degrees", "PLUG_DEC": "degrees"}
SAME_OBJECT = 2.0  # arcsec: SDSS fibres are 2 to 3 wide and cannot be nearer than 55 on one plate


class Sdss(Task):
    """One example per spectrum: `spectrum` (W, 3) wavelength in Angstrom, flux, error."""

    source: ClassVar[str] = "sdss"
    splits = folds(5)
    distribution = Distribution(
        folders=("sdss", "sdss-spectra", "sdss-lite"),
        layout=(LAYOUT,),
        listings=(SpectrumSample(("GALAXY", "QSO", "STAR"), 1000),),
        apply=(
            "Choose spectra on https://dr17.sdss.org/optical/spectrum/search (or by CasJobs), "
            "download their spec-PLATE-MJD-FIBER.fits files and put them below sdss/, in folders "
            "or not."
        ),
    )

    @cached_property
    def _listing(self) -> list[dict[str, Any]]:
        """What the tables of all files say, read once."""
        paths = sorted(set(matches(self.folder, LAYOUT)))
        cells = [table_row(path, COLUMNS) for path in paths]
        groups = objects_at(
            [c["PLUG_RA"] for c in cells], [c["PLUG_DEC"] for c in cells], SAME_OBJECT
        )
        classes = [str(c["CLASS"]) for c in cells]
        held = deal_folds(zip(groups, classes, strict=True), len(self.splits))
        return [
            {
                "id": path.name.partition(".")[0],
                "group": group,
                "class": name,
                "_file": path,
                "_fold": f"fold-{held[group]}",
            }
            for path, group, name in zip(paths, groups, classes, strict=True)
        ]

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for row in self._listing:
            if row["_fold"] == split:
                yield {**row, "class": self.label("class", row["class"], row["_file"])}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": {"spectrum": read_spectrum(row["_file"])}}
