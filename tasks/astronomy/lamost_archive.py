"""A fixed sample of LAMOST's fifth data release, from the folders of its archive.

Every plan (a field observed in one night) has a folder, whose page links to its spectra:
https://dr5.lamost.org/v3/sas/fits/20111027/B6212/spec-55862-B6212_sp06-003.fits.gz. Address and
plans are of `data/catalog/valid_plan_urls.csv` of PhD-Brown/AstroSpectro, whose
`src/tools/dr5_downloader.py` reads the pages in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmark.distribution import Download
from benchmark.listings import answer_of, some_of

ARCHIVE = "https://dr5.lamost.org/v3/sas/fits"
PLANS = (  # fields towards M31 and the Galactic anticentre, and others
    "20111027/B6212",
    "20111028/GAC_105N29_B1",
    "20111028/M31_011N40_M1",
    "20111225/F5592102",
    "20120105/GAC_061N46_V1",
    "20120113/B5594004",
)
SPECTRUM = re.compile(r"""href=["'][^"']*?(spec-\d{5}-\w+_sp\d\d-\d{3}\.fits\.gz)["']""", re.ASCII)


@dataclass(frozen=True)
class PlanFolders:
    """Of each plan's spectra, in the order of their names, the first and every `step`-th after."""

    plans: tuple[str, ...]
    step: int

    def files(self) -> list[Download]:
        return [download for plan in self.plans for download in self._of(plan)]

    def _of(self, plan: str) -> list[Download]:
        url = f"{ARCHIVE}/{plan}"
        names = sorted(set(SPECTRUM.findall(answer_of(f"{url}/"))))
        found = [Download(f"{url}/{n}", into=plan, unpack=False) for n in names[:: self.step]]
        return some_of(found, f"{url}/")
