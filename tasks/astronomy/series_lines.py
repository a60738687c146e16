"""Text files that hold one labelled series a line, read line by line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Position in bytes and text of every line that is not empty, without its end."""
    with reading(path), path.open("rb") as file:
        position = 0
        for number, raw in enumerate(file):
            text = raw.decode("utf-8-sig" if number == 0 else "utf-8").strip()
            if text:
                yield position, text
            position += len(raw)


def line_at(path: Path, position: int) -> str:
    """The line that begins at a position which `lines` gave."""
    with reading(path), path.open("rb") as file:
        file.seek(position)
        return file.readline().decode("utf-8-sig").strip()


def numbers(cells: list[str], where: str) -> NDArray[Any]:
    """(L,) float64.

    Raises:
        DatasetError: a cell is no finite number; names the line `where` it stands.
    """
    try:
        values = np.array(cells, np.float64)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}: get the file again, unchanged") from None
    if not np.isfinite(values).all():
        raise DatasetError(f"{where} holds NaN or infinite values: get the file again")
    return values


def even_light_curve(flux: NDArray[Any], step: float) -> NDArray[np.float32]:
    """(L,) fluxes that are `step` days apart -> (L, 4) time, flux, error (0: unknown), band 0."""
    times = step * np.arange(len(flux))
    nothing = np.zeros(len(flux))
    return np.stack([times, flux, nothing, nothing], axis=1).astype(np.float32)
