"""PLAsTiCC as published: simulated six-band light curves, classified by the type of the object.

Layout, that of https://zenodo.org/records/2539456 (each file also compressed, `.csv.gz`):
`plasticc_train_lightcurves.csv` (object_id, mjd, passband, flux, flux_err, detected_bool),
`plasticc_train_metadata.csv` (object_id, target, true_target, ...), and for the official test set
`plasticc_test_lightcurves_01.csv` to `_11.csv` and `plasticc_test_metadata.csv`. The names on
Kaggle (`training_set.csv`, `training_set_metadata.csv`) are read as well. Flux is FLUXCAL of SNANA
(zero point 27.5 mag), passbands 0 to 5 are u, g, r, i, z, y.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, Download, matches
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.task import Task, folds
from tasks.astronomy.dealt_folds import deal_folds

if TYPE_CHECKING:
    import pandas as pd

# The challenge's numbers of the types: Kessler et al. 2019, PASP 131, 094501, table 1
TYPES = {
    90: "SNIa",
    67: "SNIa-91bg",
    52: "SNIax",
    42: "SNII",
    62: "SNIbc",
    95: "SLSN-I",
    15: "TDE",
    64: "KN",
    88: "AGN",
    92: "RRL",
    65: "M-dwarf",
    16: "EB",
    53: "Mira",
    6: "uLens-Single",
}
RARE = (99, 991, 992, 993, 994)  # in the test set alone: what the challenge called "other"
OBSERVATIONS = {
    "object_id": "int64",
    "mjd": "float64",
    "passband": "int8",
    "flux": "float32",
    "flux_err": "float32",
}
CHUNK = 2_000_000  # rows of a test file in memory


def _either(*names: str) -> str:
    return "|".join(f"{name}.csv{ending}" for name in names for ending in ("", ".gz"))


CURVES = _either("plasticc_train_lightcurves", "training_set")
OBJECTS = _either("plasticc_train_metadata", "training_set_metadata")
TEST_CURVES = _either("plasticc_test_lightcurves_[0-9][0-9]")
TEST_OBJECTS = _either("plasticc_test_metadata")
TEST_FILES = 11
BANDS = 6


def _downloads(*names: str) -> tuple[Download, ...]:
    site = "https://zenodo.org/records/2539456/files"
    return tuple(Download(url=f"{site}/plasticc_{name}.csv.gz") for name in names)


TRAINING = ("train_metadata", "train_lightcurves")


def _table(path: Path, columns: Mapping[str, str], chunk: int | None = None) -> Any:
    """A csv file's `columns` as a pandas frame, or in pieces of `chunk` rows."""
    import pandas as pd

    with reading(path):
        head = [name.strip() for name in pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns]
    lacking = [name for name in columns if name not in head]
    if lacking:
        raise DatasetError(
            f"{path} has no column {', '.join(map(repr, lacking))}: get the file again, unchanged"
        )
    with reading(path):
        return pd.read_csv(
            path,
            encoding="utf-8-sig",
            names=head,
            header=0,
            usecols=list(columns),
            dtype=dict(columns),
            skipinitialspace=True,
            chunksize=chunk,
        )


def _types(path: Path, column: str) -> dict[int, str | None]:
    """Object -> type; None for a rare one.

    Raises:
        DatasetError: a number that the challenge does not have.
    """
    table = _table(path, {"object_id": "int64", column: "int64"})
    known = {**TYPES, **dict.fromkeys(RARE)}
    strange = set(table[column].tolist()) - set(known)
    if strange:
        raise DatasetError(
            f"{path}: the label {min(strange)} in column {column!r} is not a type of PLAsTiCC: "
            "get the file again, unchanged"
        )
    twice = table["object_id"][table["object_id"].duplicated()]
    if len(twice):
        raise DatasetError(f"{path}: object {twice.iloc[0]} stands twice: get the file again")
    return dict(zip(table["object_id"].tolist(), map(known.get, table[column]), strict=True))


def _curves(table: pd.DataFrame, path: Path) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Observations of several objects -> each object's number and its (L, 4) light curve: days
    since the first observation, flux, error, band; in the order in which the objects appear."""
    columns = ["mjd", "flux", "flux_err", "passband"]
    numbers, values = table["object_id"].to_numpy(), table[columns].to_numpy(np.float64)
    _, first, code = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.lexsort((values[:, 3], values[:, 0], first[code]))
    numbers, values = numbers[order], values[order]
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1))
    for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=False):  # none of none
        number, curve = int(numbers[start]), values[start:stop]
        if not np.isfinite(curve).all():
            raise DatasetError(
                f"{path}: object {number} has NaN among its observations: get the file again"
            )
        if not ((curve[:, 3] >= 0) & (curve[:, 3] < BANDS)).all():
            raise DatasetError(
                f"{path}: object {number} has a passband that is none of 0 to {BANDS - 1}: "
                "get the file again, unchanged"
            )
        yield number, (curve - [curve[0, 0], 0, 0, 0]).astype(np.float32)


class PlasticcTraining(Task):
    """The training set in five folds. One example per object: `photometry` (L, 4)."""

    source: ClassVar[str] = "plasticc-training"
    splits: ClassVar[tuple[str, ...]] = folds(5)
    distribution: ClassVar[Distribution | None] = Distribution(
        folders=("plasticc", "PLAsTiCC-2018"),
        layout=(CURVES, OBJECTS),
        downloads=_downloads(*TRAINING),
    )

    def _only(self, pattern: str) -> Path:
        return next(matches(self.folder, pattern))

    @cached_property
    def _objects_file(self) -> Path:
        return self._only(OBJECTS)

    @cached_property
    def _curves_file(self) -> Path:
        return self._only(CURVES)

    @cached_property
    def _training(self) -> dict[int, str | None]:
        return _types(self._objects_file, "target")

    @cached_property
    def _observed(self) -> dict[int, NDArray[np.float32]]:
        return dict(_curves(_table(self._curves_file, OBSERVATIONS), self._curves_file))

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        held = deal_folds(((str(i), str(t)) for i, t in self._training.items()), len(self.splits))
        for number, name in self._training.items():
            if split == f"fold-{held[str(number)]}":
                yield self._row(number, name)

    def _row(self, number: int, name: str | None) -> dict[str, Any]:
        label = None if name is None else self.label("type", name, self._objects_file)
        return {"id": str(number), "group": str(number), "type": label}

    def read(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        curve = self._observed.get(int(row["id"]))
        if curve is None:
            raise DatasetError(
                f"{self._curves_file}: object {row['id']} of {self._objects_file.name} has no "
                "observation: get the file again"
            )
        return {"input": {"photometry": curve}}


class PlasticcFull(PlasticcTraining):
    """The challenge's own split: the training set, and the unblinded test set object by object."""

    source: ClassVar[str] = "plasticc-full"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    distribution: ClassVar[Distribution | None] = Distribution(
        folders=("plasticc", "PLAsTiCC-2018"),
        layout=(CURVES, OBJECTS, TEST_CURVES, TEST_OBJECTS),
        downloads=_downloads(
            *TRAINING,
            "test_metadata",
            *(f"test_lightcurves_{part:02d}" for part in range(1, TEST_FILES + 1)),
        ),
    )

    @cached_property
    def _test(self) -> dict[int, str | None]:
        return _types(self._only(TEST_OBJECTS), "true_target")

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        """The training objects; for the test set one row per file, which `expand` goes through."""
        if split == "train":
            for number, name in self._training.items():
                yield self._row(number, name)
        else:
            paths = sorted(matches(self.folder, TEST_CURVES))
            for path in paths:
                yield {"id": path.name, "_file": path, "_all": paths if path == paths[-1] else []}

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if "_file" not in row:
            yield from super().expand(row)
            return
        path: Path = row["_file"]
        for number, curve in _objects(path):
            if number not in self._test:
                raise DatasetError(
                    f"{path}: object {number} is not in {self._only(TEST_OBJECTS)}: "
                    "get the files again"
                )
            if self._test[number] is not None:
                yield {**self._row(number, self._test[number]), "input": {"photometry": curve}}
        if row["_all"]:
            self._look_for_lost_objects(row["_all"])

    def _look_for_lost_objects(self, paths: list[Path]) -> None:
        """Files are read independently of each other, so that only all of them together show that
        one is missing or has been cut short."""
        seen: set[int] = set()
        for path in paths:
            with reading(path):
                for chunk in _table(path, {"object_id": "int64"}, CHUNK):
                    seen.update(chunk["object_id"].unique().tolist())
        lost = [number for number in self._test if number not in seen]
        if lost:
            raise DatasetError(
                f"{paths[0].parent}: {len(lost)} objects of {self._only(TEST_OBJECTS).name}, the "
                f"first {lost[0]}, have no observation in {len(paths)} files of light curves "
                f"(the whole set has {TEST_FILES}): get the missing files again"
            )


def _objects(path: Path) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The light curves of a test file one after the other; an object's observations stand
    together, so that the last object of a piece may go on in the next."""
    import pandas as pd

    rest: pd.DataFrame | None = None
    with reading(path):
        for chunk in _table(path, OBSERVATIONS, CHUNK):
            table = chunk if rest is None else pd.concat([rest, chunk])
            going_on = table["object_id"] == table["object_id"].iloc[-1]
            rest = table[going_on]
            yield from _curves(table[~going_on], path)
    if rest is not None:
        yield from _curves(rest, path)
