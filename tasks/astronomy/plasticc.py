"""Types of transient and variable objects from simulated six-band light curves (PLAsTiCC).

A class-balanced part of the challenge's training set (Kessler et al. 2019, PASP 131, 094501),
embedded by `data/build_plasticc.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.task import Task

TABLE = Path(__file__).parent / "data" / "plasticc.parquet"
TIME_STEP, FLUX_STEP, ERROR_STEP = 1e-3, 0.05, 0.005  # as written by data/build_plasticc.py


def decode(
    time: NDArray[Any], flux: NDArray[Any], error: NDArray[Any], band: NDArray[Any]
) -> NDArray[np.float32]:
    """Stored integers (L,) -> (L, 4): days since the first observation, flux, flux error, band.

    Fluxes are FLUXCAL of SNANA (zero point 27.5 mag); bands 0 to 5 are LSST's u, g, r, i, z, y.
    """
    sigma = np.exp(error * ERROR_STEP)
    columns = [np.cumsum(time) * TIME_STEP, flux * sigma * FLUX_STEP, sigma, band]
    return np.stack(columns, axis=1).astype(np.float32)


class Plasticc(Task):
    """One example per object: `photometry` (L, 4), L from 52 to 352."""

    source: ClassVar[str] = "plasticc"

    def files(self) -> list[Path]:
        return [TABLE]

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        import pandas as pd

        table = pd.read_parquet(TABLE, filters=[("split", "==", split)])
        for row in table.to_dict("records"):
            curve = decode(row["time"], row["flux"], row["error"], row["band"])
            yield {
                "id": str(row["object_id"]),
                "group": str(row["object_id"]),
                "input": {"photometry": curve},
                "type": self.card.target.classes.index(row["type"]),
            }
