"""Spectral types of stars from low-resolution spectra of LAMOST.

Layout: FITS files `spec-MMMMM-YYYY_spXX-FFF.fits[.gz]` (local modified Julian day, plan,
spectrograph, fibre) in folders of any depth, as the archive delivers them. Header keywords:
CLASS (STAR, GALAXY, QSO, Unknown), SUBCLASS (the spectral type), DESIG (the designation of the
object). Both layouts of the data, that of DR1 to DR7 and the table of later releases, are those of
`tasks.astronomy.fits_files`. Source: http://dr5.lamost.org/v3/doc/data-production-description.
LAMOST has no official split; how the folds are made is told in `deal_folds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from benchmark.distribution import Distribution, matches
from benchmark.errors import DatasetError
from benchmark.task import Task, folds
from tasks.astronomy.dealt_folds import deal_folds
from tasks.astronomy.fits_files import read_header, read_spectrum
from tasks.astronomy.lamost_archive import PLANS, PlanFolders

NAME = "spec-*_sp[0-9][0-9]-[0-9][0-9][0-9].fit"
LAYOUT = "|".join(f"**/{NAME}{ending}" for ending in ("s", "s.gz", "", ".gz"))
KINDS = ("STAR", "GALAXY", "QSO", "UNKNOWN")
# F9, A7V, K, gM3, dM0, sdM1; but neither OB (one or the other), WD, Carbon, CV nor EM
TYPE = re.compile(r"(?:([OBAFGK])|(?:g|d|sd|esd|usd)?(M))(?:\d.*)?")


def spectral_type(kind: str, subclass: str, path: Path) -> str | None:
    """The letter of the Harvard sequence; None for what is no star or has none.

    Raises:
        DatasetError: no class that LAMOST has.
    """
    if kind.upper() not in KINDS:
        raise DatasetError(
            f"{path}: the label {kind!r} in CLASS is not one of {', '.join(KINDS)}: "
            "get the file again, unchanged"
        )
    found = TYPE.fullmatch(subclass) if kind.upper() == "STAR" else None
    return None if found is None else found[1] or found[2]


class Lamost(Task):
    """One example per spectrum: `spectrum` (W, 3) wavelength in Angstrom, flux, error."""

    source: ClassVar[str] = "lamost"
    splits = folds(5)
    distribution = Distribution(
        folders=("lamost", "lamost-lrs", "lamost-sample"),
        layout=(LAYOUT,),
        listings=(PlanFolders(PLANS, 5),),
        apply=(
            "Download low-resolution spectra (spec-*_spXX-FFF.fits.gz) from http://www.lamost.org "
            "(any release; those of the newest ask for an account) and put them below lamost/, in "
            "folders or not."
        ),
    )

    @cached_property
    def _listing(self) -> list[dict[str, Any]]:
        """The headers of all files, read once."""
        rows: list[dict[str, Any]] = []
        for path in sorted(set(matches(self.folder, LAYOUT))):
            with self.collecting():
                told = read_header(path, ("CLASS", "SUBCLASS", "DESIG"))
                name = path.name.partition(".")[0]
                letter = spectral_type(str(told["CLASS"]), str(told["SUBCLASS"]), path)
                group = str(told["DESIG"]).removeprefix("LAMOST ") or name
                rows.append({"id": name, "group": group, "type": letter, "_file": path})
        held = deal_folds(((r["group"], str(r["type"])) for r in rows), len(self.splits))
        return [{**row, "_fold": f"fold-{held[row['group']]}"} for row in rows]

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        for row in self._listing:
            if row["_fold"] == split:
                known = row["type"]
                index = None if known is None else self.label("type", known, row["_file"])
                yield {**row, "type": index}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"input": {"spectrum": read_spectrum(row["_file"])}}
