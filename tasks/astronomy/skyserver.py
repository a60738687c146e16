"""A fixed sample of the spectra of the Sloan Digital Sky Survey, chosen by SkyServer.

SkyServer answers SQL by HTTP, as csv below a comment, and the Science Archive Server holds every
spectrum under its plate, day and fibre: both as in `astroquery/sdss/core.py` of astropy/astroquery
(QUERY_URL_SUFFIX_DR_NEW, SPECTRA_URL_SUFFIX), with the folder `lite` as in `spender/data/sdss.py`
of pmelchior/spender.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from benchmark.distribution import Download
from benchmark.errors import SslBenchError
from benchmark.listings import answer_of

QUERY = "https://skyserver.sdss.org/dr17/en/tools/search/x_results.aspx"
SPECTRA = "https://data.sdss.org/sas/dr17/sdss/spectro/redux/26/spectra/lite"
TIMEOUT = 300.0  # s: the catalogue has millions of rows
# Primary spectra of SDSS-I/II (reduction 26) without a warning. The order scatters over plates and
# is the same for everybody: multiples of two primes modulo a third.
SAMPLE = (
    "SELECT TOP {number} plate, mjd, fiberID FROM SpecObj "
    "WHERE class = '{kind}' AND run2d = '26' AND zWarning = 0 "
    "ORDER BY (plate * 7919 + fiberID * 104729) % 1000003, plate, mjd, fiberID"
)


@dataclass(frozen=True)
class SpectrumSample:
    """The first `number` spectra of each of the classes, in a scattered order.

    `classes`: values of the catalogue's column class.
    """

    classes: tuple[str, ...]
    number: int

    def files(self) -> list[Download]:
        return [download for kind in self.classes for download in self._of(kind)]

    def _of(self, kind: str) -> list[Download]:
        sql = SAMPLE.format(number=self.number, kind=kind)
        query = urlencode({"searchtool": "SQL", "format": "csv", "cmd": sql})
        text = answer_of(f"{QUERY}?{query}", TIMEOUT)
        table = io.StringIO(text.partition("\n")[2] if text.startswith("#") else text)
        rows = [[cell.strip() for cell in row] for row in csv.reader(table) if row]
        numbers = all(re.fullmatch("[0-9]{1,9}", cell) for row in rows[1:] for cell in row)
        named = bool(rows) and [name.lower() for name in rows[0]] == ["plate", "mjd", "fiberid"]
        if not named or not numbers or any(len(row) != 3 for row in rows):
            shown = " ".join(text.split())[:300]
            raise SslBenchError(f"{QUERY} answers {shown!r} and no table: try again later")
        if len(rows) - 1 != self.number:
            raise SslBenchError(
                f"{QUERY} answers {len(rows) - 1} of the {self.number} spectra of class {kind} "
                "that were asked for: try again later"
            )
        downloads = []
        for plate, day, fibre in (map(int, row) for row in rows[1:]):
            name = f"spec-{plate:04d}-{day}-{fibre:04d}.fits"
            downloads.append(Download(f"{SPECTRA}/{plate:04d}/{name}", into=f"{plate:04d}"))
        return downloads
