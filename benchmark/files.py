"""Reading the files of a dataset: what is wrong with one is told by its name, with the remedy."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import DatasetError, SslBenchError


@contextmanager
def reading(path: Path, remedy: str = "get the file again") -> Iterator[None]:
    """Turn whatever a decoder raises for a damaged or missing file into one `DatasetError`."""
    try:
        yield
    except (SslBenchError, ImportError, MemoryError):
        raise
    except FileNotFoundError as error:
        missing = error.filename or path
        raise DatasetError(f"{missing} is missing: {remedy}") from error
    except EOFError as error:
        raise DatasetError(f"{path} is empty or ends too early: {remedy}") from error
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise DatasetError(f"{path} cannot be read ({text}): {remedy}") from error


def read_csv(
    path: Path, columns: Sequence[str], *, delimiter: str = ",", header: Sequence[str] | None = None
) -> list[dict[str, str]]:
    """The rows of a delimited text file as texts.

    `columns` have to be there. A file without a header line is read with the names in `header`.

    Raises:
        DatasetError: missing file, no such column, a row that is too short, or no rows.
    """
    with reading(path), path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, fieldnames=header, delimiter=delimiter)
        rows = list(reader)
        found = list(reader.fieldnames or ())
    lacking = [name for name in columns if name not in found]
    if lacking:
        raise DatasetError(
            f"{path} has no column {', '.join(map(repr, lacking))} (it has {', '.join(found)}): "
            "get the file again, unchanged"
        )
    if not rows:
        raise DatasetError(f"{path} has no rows: get the file again")
    for number, row in enumerate(rows, 1):
        short = [name for name in columns if row[name] is None]
        if short:
            raise DatasetError(
                f"{path}: row {number} ends before its column {short[0]!r}: get the file again"
            )
    return rows


def number(text: str, path: Path, column: str) -> float:
    """A finite number from a table's cell.

    Raises:
        DatasetError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value - value != 0:
        raise DatasetError(
            f"{path}: {text!r} in column {column!r} is not a number: get the file again, unchanged"
        )
    return value
