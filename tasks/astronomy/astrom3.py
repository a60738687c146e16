"""Variable stars of the AstroM3 dataset: light curve, spectrum and catalogue values of each.

Layouts: the parquet files of https://huggingface.co/datasets/AstroMLCore/AstroM3Processed, one
folder for each configuration `{full,sub50,sub25,sub10}_{42,0,66,12,123}[_norm]` with
`{train,validation,test}-*.parquet` (or, as the hub converts them, `{split}/*.parquet`); and the raw
AstroM3Dataset, told in `tasks.astronomy.astrom3_raw`. The tasks are those of seed 42, the one that
the published AstroM3-CLIP has been trained on: the full set and the smaller ones. Catalogue
values are normalised where the layout can (`_norm`, raw).

Columns: `photometry` (N, 3) time in days, V-band flux, error, or (N, 9) as the authors prepare it;
`spectra` (M, 3) wavelength in Angstrom, flux, error, or (3, 2575) as prepared; `metadata`, a
structure of `meta_cols` and `photo_cols` or a list in their order; `label`, a name or an index of
the feature's class names. Source of prepared columns: `src/dataset.py` of MeriDK/AstroM3 (GitHub).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.distribution import Distribution, matches
from benchmark.errors import DatasetError
from benchmark.files import reading
from benchmark.listings import HubDataset
from benchmark.task import SPLITS, Task
from tasks.astronomy import astrom3_raw

SEED = 42
STARS = 256  # of the raw layout, read together
CATALOGUE = (
    "mean_vmag",
    "phot_g_mean_mag",
    "e_phot_g_mean_mag",
    "phot_bp_mean_mag",
    "e_phot_bp_mean_mag",
    "phot_rp_mean_mag",
    "e_phot_rp_mean_mag",
    "bp_rp",
    "parallax",
    "parallax_error",
    "parallax_over_error",
    "pmra",
    "pmra_error",
    "pmdec",
    "pmdec_error",
    "j_mag",
    "e_j_mag",
    "h_mag",
    "e_h_mag",
    "k_mag",
    "e_k_mag",
    "w1_mag",
    "e_w1_mag",
    "w2_mag",
    "e_w2_mag",
    "w3_mag",
    "w4_mag",
    "j_k",
    "w1_w2",
    "w3_w4",
    "pm",
    "ruwe",
    "l",
    "b",
)
OF_LIGHT_CURVE = ("amplitude", "period", "lksl_statistic", "rfr_score")
COLUMNS = ("photometry", "spectra", "metadata", "label")
FIRST, STEP = 3850.0, 2.0  # Angstrom, the grid of prepared spectra
YEAR = 365.0  # days, in prepared light curves

Array = NDArray[Any]


def light_curve(values: Array) -> tuple[Array, Array]:
    """(N, 3) or (N, 9) -> (N, 4) days, flux, error, band 0; the prepared one's four catalogue
    values, else none. Preparation is undone but for the mean of the flux, which is 0.
    Observations that stand twice count once, as for the authors."""
    if values.shape[1] not in (3, 9):
        raise ValueError(f"photometry of shape {values.shape}")
    values = values[values[:, :3].any(1)]  # rows of zeros are padding
    steps, given = values[:, :3].copy(), values[:0, 0]
    if values.shape[1] == 9 and len(values):
        scale, span = 10 ** values[0, 7], values[0, 8] * YEAR
        steps, given = steps * [span, scale, scale], values[0, 3:7]
    steps = np.unique(steps, axis=0)  # by time
    if len(steps):
        steps[:, 0] -= steps[0, 0]
    return np.column_stack([steps, np.zeros(len(steps))]).astype(np.float32), given


def spectrum(values: Array) -> NDArray[np.float32]:
    """(M, 3) or, by channels, (3, M) -> (M, 3) wavelength in Angstrom, flux, error.

    Prepared channels are flux and error over the median absolute deviation, and its logarithm."""
    if values.shape[0] == 3 and values.shape[1] != 3:
        values = values.T
        if values[0, 0] < 1000 or (np.diff(values[:, 0]) <= 0).any():
            scaled = values[:, :2] * 10 ** values[:, 2:]
            values = np.column_stack([FIRST + STEP * np.arange(len(values)), scaled])
    if values.ndim != 2 or values.shape[1] != 3 or len(values) < 2:
        raise ValueError(f"spectra of shape {values.shape}")
    return values.astype(np.float32)


def catalogue(values: Any, given: Array) -> NDArray[np.float32]:
    """Structure or list -> (38,): the 34 columns of AstroM3, then those of the light curve."""
    if isinstance(values, Mapping):
        meta = values.get("meta_cols") or values
        photo = values.get("photo_cols") or values
        listed = [meta[name] for name in CATALOGUE] + [photo[name] for name in OF_LIGHT_CURVE]
    else:
        listed = [*values, *given] if len(values) == len(CATALOGUE) else [*values]
    row = np.array([np.nan if v is None else v for v in listed], np.float32)
    full = np.full(len(CATALOGUE) + len(OF_LIGHT_CURVE), np.nan, np.float32)
    if len(row) not in (len(CATALOGUE), len(full)):
        raise ValueError(f"{len(row)} catalogue values instead of {len(CATALOGUE)}")
    full[: len(row)] = row
    return full


def _configurations(subset: str, split: str) -> tuple[str, ...]:
    """Patterns of one split's files, the best first."""
    names = (f"{subset}_{SEED}_norm", f"{subset}_{SEED}")
    parquet = [
        f"{n}/{place}" for n in names for place in (f"{split}-*.parquet", f"{split}/*.parquet")
    ]
    return (*parquet, f"splits/{subset}/{SEED}/{astrom3_raw.FILES[split]}")


def _published(subset: str) -> Distribution:
    return Distribution(
        folders=("astrom3", "AstroM3Processed", "AstroM3Dataset", "AstroM3"),
        layout=tuple("|".join(_configurations(subset, split)) for split in reversed(SPLITS)),
        listings=(
            HubDataset(
                "AstroMLCore/AstroM3Processed",
                (f"{subset}_{SEED}_norm/*.parquet|{subset}_{SEED}/*.parquet",),
            ),
        ),
    )


class AstroM3Stars(Task):
    """One example per star: `photometry` (N, 4), `spectrum` (M, 3), `metadata` (38,)."""

    source: ClassVar[str] = "astrom3"
    subset: ClassVar[str] = "full"
    distribution: ClassVar[Distribution | None] = _published("full")

    def files(self) -> list[Path]:
        found = super().files()
        if any(path.suffix == ".csv" for path in found):
            tables = f"splits/{self.subset}/{SEED}/info.json"
            found += sorted(matches(self.folder, f"{tables}|{astrom3_raw.OBSERVATIONS}"))
        return found

    @cached_property
    def _files(self) -> dict[str, list[Path]]:
        """Files of each split in the best form that has them all: forms do not mix."""
        choices = zip(*(_configurations(self.subset, split) for split in SPLITS), strict=True)
        for patterns in choices:
            found = [sorted(matches(self.folder, pattern)) for pattern in patterns]
            if all(found):
                return dict(zip(SPLITS, found, strict=True))
        raise DatasetError(
            f"{self.folder}: no form of {self.subset}_{SEED} has all of {', '.join(SPLITS)}; "
            f"{self._how_to_get()}"
        )

    @cached_property
    def _raw_stars(self) -> Callable[[str], list[dict[str, Any]]]:
        folder = self._files["train"][0].parent
        return astrom3_raw.list_stars(folder, (*CATALOGUE, *OF_LIGHT_CURVE))

    def rows(self, split: str) -> Iterator[Mapping[str, Any]]:
        """One for each piece of the files: `expand` reads it at once."""
        for path in self._files[split]:
            parts = self._raw_parts(path, split) if path.suffix == ".csv" else self._parts(path)
            for part in parts:
                yield {
                    "id": f"{path.parent.name}/{path.stem}-{part['_first']}",
                    "_file": path,
                } | part

    def _raw_parts(self, path: Path, split: str) -> Iterator[dict[str, Any]]:
        stars = self._raw_stars(split)
        for star in stars:
            self.label("type", star["target"], f"{path}, star {star['name']}")
        for first in range(0, len(stars), STARS):
            yield {"_first": first, "_stars": stars[first : first + STARS]}

    def _parts(self, path: Path) -> Iterator[dict[str, Any]]:
        """The row groups of a parquet file."""
        import pyarrow.parquet as pq

        with reading(path), pq.ParquetFile(path) as file:
            lacking = [name for name in COLUMNS if name not in file.schema_arrow.names]
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            names = _class_names(file.schema_arrow.metadata or {})
        if lacking:
            raise DatasetError(
                f"{path} has no column {', '.join(lacking)}: get the file again, unchanged"
            )
        for group, first in enumerate(np.cumsum([0, *sizes])[:-1].tolist()):
            yield {
                "_first": first,
                "_group": group,
                "_names": names or sorted(self.classes("type")),
            }

    def expand(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        stars = self._raw(row) if "_stars" in row else self._of_row_group(row)
        for name, kind, arrays in stars:
            if not len(arrays["photometry"]):
                raise DatasetError(
                    f"{row['_file']}: star {name} has no observation: get the file again"
                )
            label = self.label("type", kind, f"{row['_file']}, star {name}")
            yield {"id": name, "group": name, "type": label, "input": arrays}

    def _raw(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Array]]]:
        observed = astrom3_raw.observations(self.folder, row["_stars"])
        for star, arrays in zip(row["_stars"], observed, strict=True):
            arrays["photometry"] = light_curve(arrays["photometry"])[0]
            yield star["name"], star["target"], arrays | {"metadata": star["metadata"]}

    def _of_row_group(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Array]]]:
        import pyarrow.parquet as pq

        path: Path = row["_file"]
        with reading(path), pq.ParquetFile(path) as file:
            stars = file.read_row_group(row["_group"], columns=list(COLUMNS)).to_pylist()
        for number, star in enumerate(stars, row["_first"]):
            with reading(path):
                kind = star["label"]
                kind = kind if isinstance(kind, str) else row["_names"][kind]
                curve, given = light_curve(np.array(star["photometry"], np.float64, ndmin=2))
                arrays = {
                    "photometry": curve,
                    "spectrum": spectrum(np.array(star["spectra"], np.float64)),
                    "metadata": catalogue(star["metadata"], given),
                }
            yield f"{path.parent.name}/{path.stem}-{number}", kind, arrays


class AstroM3Half(AstroM3Stars):
    """The authors' half of the data."""

    source: ClassVar[str] = "astrom3-sub50"
    subset: ClassVar[str] = "sub50"
    distribution: ClassVar[Distribution | None] = _published("sub50")


class AstroM3Quarter(AstroM3Stars):
    """The authors' quarter of the data."""

    source: ClassVar[str] = "astrom3-sub25"
    subset: ClassVar[str] = "sub25"
    distribution: ClassVar[Distribution | None] = _published("sub25")


class AstroM3Tenth(AstroM3Stars):
    """The authors' tenth of the data."""

    source: ClassVar[str] = "astrom3-sub10"
    subset: ClassVar[str] = "sub10"
    distribution: ClassVar[Distribution | None] = _published("sub10")


def _class_names(metadata: Mapping[bytes, bytes]) -> list[str]:
    """The class names that the Hugging Face library writes into a file's schema."""
    told = json.loads(metadata.get(b"huggingface", b"{}"))
    feature = told.get("info", {}).get("features", {}).get("label", {})
    return list(feature.get("names", []))
