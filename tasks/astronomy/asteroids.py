"""Asteroid taxonomy from reflectance spectra, catalogue metadata, or both.

The spectra and classes are those of Mahlke, Carry & Mattei 2022, A&A 665, A26, embedded by
`data/build_asteroids.py`; what the columns mean is told in the cards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.task import Task

TABLE = Path(__file__).parent / "data" / "asteroids.parquet"
WAVELENGTHS = np.concatenate([np.arange(0.45, 1.03, 0.025), np.arange(1.05, 2.46, 0.05)])  # um
CATALOGUE = (
    "absolute_magnitude",
    "log10_albedo",
    "semi_major_axis",
    "eccentricity",
    "sin_inclination",
    "g1_cyan",
    "g2_cyan",
    "g1_orange",
    "g2_orange",
)
ORBITS = (
    "NEA>Aten",
    "NEA>Apollo",
    "NEA>Amor",
    "Mars-Crosser",
    "Hungaria",
    "MB>Inner",
    "MB>Middle",
    "MB>Outer",
    "MB>Cybele",
    "MB>Hilda",
    "Trojan",
)


def fill_ends(values: NDArray[Any]) -> NDArray[Any]:
    """Hold the first and last observed value of (W,) over the missing bins at both ends."""
    seen = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), seen, values[seen])


def reflectance(log_values: NDArray[Any]) -> NDArray[np.float32]:
    """(W,) natural logarithms, NaN where missing -> (W, 2) wavelength in um, reflectance.

    The reflectance has mean 1 over the observed bins, so that the level, which the package's own
    alignment of the spectra has chosen, tells nothing.
    """
    values = np.exp(log_values.astype(np.float64))
    values /= np.nanmean(values)
    return np.stack([WAVELENGTHS, fill_ends(values)], axis=1).astype(np.float32)


class Asteroids(Task):
    """One example per spectrum: `spectrum` (53, 2), `metadata` (20,) with NaN where unknown."""

    source: ClassVar[str] = "asteroids"

    def files(self) -> list[Path]:
        return [TABLE]

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        import pandas as pd

        table = pd.read_parquet(TABLE, filters=[("split", "==", split)])
        catalogue = table[list(CATALOGUE)].to_numpy(np.float32)
        orbits = (table["orbit"].to_numpy()[:, None] == np.array(ORBITS)).astype(np.float32)
        metadata = np.hstack([catalogue, orbits])
        for row, values in zip(table.to_dict("records"), metadata, strict=True):
            yield {
                "id": f"{row['name']}/{row['spectrum']}",
                "group": row["name"],
                "input": {"spectrum": reflectance(row["bins"]), "metadata": values},
                "taxon": self.card.target.classes.index(row["taxon"]),
            }
