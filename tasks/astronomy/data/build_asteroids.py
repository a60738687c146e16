"""Build `asteroids.parquet` from the reflectance spectra in the PyPI package space-classy 0.8.8.

    pip download --no-deps space-classy==0.8.8 && unzip space_classy-0.8.8-*.whl -d FOLDER
    python tasks/astronomy/data/build_asteroids.py FOLDER

One row per spectrum: the natural logarithm of the reflectance on 53 bins as the package has it (NaN
where the spectrum has no data), what the catalogues know of the asteroid, its class and its split.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SOURCE = "classy/data/input/classy_data_preprocessed.csv"
# package column -> stored column
CATALOGUE = {
    "H": "absolute_magnitude",
    "pV": "log10_albedo",
    "ap": "semi_major_axis",
    "ep": "eccentricity",
    "sinip": "sin_inclination",
    "g1_c": "g1_cyan",
    "g2_c": "g2_cyan",
    "g1_o": "g1_orange",
    "g2_o": "g2_orange",
}
# left out: O has three asteroids; X means "E, M or P, but no albedo known", which the missing
# albedo in the metadata would give away
LEFT_OUT = ("O", "X")
TRAIN, VALIDATION = 0.60, 0.15  # the rest is the test split


def base_class(label: str) -> str:
    """The class without the suffixes that mark faint features (`Mk` -> `M`); `Ch` is a class."""
    return label if label == "Ch" else label[0]


def split_units(table: pd.DataFrame) -> np.ndarray:
    """(N,) unit of every row: spectra of one asteroid, and of asteroids whose metadata are equal.

    Faint near-Earth asteroids may have nothing but H and the kind of orbit; where these agree, two
    asteroids are the same input of the metadata task and have to stay on one side.
    """
    asteroid = table["name"].astype("category").cat.codes.to_numpy()
    metadata = table.groupby([*CATALOGUE.values(), "orbit"], dropna=False).ngroup().to_numpy()
    nodes = asteroid.max() + metadata.max() + 2
    edges = coo_array(
        (np.ones(len(table)), (asteroid, asteroid.max() + 1 + metadata)), shape=(nodes, nodes)
    )
    return connected_components(edges, directed=False)[1][asteroid]


def assign_splits(table: pd.DataFrame) -> pd.Series:
    """Per class, units in the order of the SHA-256 of their first name: 60 / 15 / 25 per cent."""
    frame = table.assign(unit=split_units(table))
    units = frame.sort_values("name").groupby("unit")[["name", "taxon"]].first()
    units["order"] = [hashlib.sha256(name.encode()).hexdigest() for name in units["name"]]
    units = units.sort_values("order")
    by_taxon = units.groupby("taxon")["name"]
    share = (by_taxon.cumcount() + 0.5) / by_taxon.transform("size")
    units["split"] = np.select(
        [share < TRAIN, share < TRAIN + VALIDATION], ["train", "validation"], "test"
    )
    return frame["unit"].map(units["split"])


def build(folder: Path) -> pd.DataFrame:
    """The stored table from the unpacked package."""
    raw = pd.read_csv(folder / SOURCE)
    bins = [column for column in raw.columns if column.replace(".", "").isdigit()]
    table = pd.DataFrame(
        {
            "name": raw["name"],
            "spectrum": raw["path_file"].str.removesuffix(".csv"),
            "taxon": raw["class_asteroid"].map(base_class),
            "orbit": raw["class_orbit"],
        }
    )
    for column, stored in CATALOGUE.items():
        table[stored] = raw[column].astype(np.float32)
    table["bins"] = pd.Series(list(raw[bins].to_numpy(np.float32)))
    table = table[~table["taxon"].isin(LEFT_OUT)]
    table["split"] = assign_splits(table)
    return table.sort_values(["name", "spectrum"], ignore_index=True)


def main() -> None:
    table = build(Path(sys.argv[1]))
    target = Path(__file__).with_name("asteroids.parquet")
    pq.write_table(
        pa.Table.from_pandas(table, preserve_index=False),
        target,
        compression="zstd",
        compression_level=19,
        use_dictionary=["name", "taxon", "orbit", "split"],
        column_encoding={"bins.list.element": "BYTE_STREAM_SPLIT"},
    )
    print(table.groupby(["taxon", "split"])["name"].agg(["nunique", "size"]).unstack().to_string())
    print(f"{target.name}: {len(table)} spectra, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
