"""Build `plasticc.parquet` from the PLAsTiCC training set in PyPI's snmachine 2.0.0.post3.

    pip download --no-deps snmachine==2.0.0.post3 && unzip snmachine-2.0.0.post3-*.whl -d FOLDER
    python tasks/astronomy/data/build_plasticc.py FOLDER

One row per object, at most `PER_CLASS` of each class, chosen and split in the order of the SHA-256
of the object's number. Observations are stored as integers well below their noise: steps in time
of 0.001 day, flux in units of a twentieth of its error, error to 0.25 per cent (`tasks.astronomy.
plasticc` turns them back).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = "snmachine/example_data"
PER_CLASS = 150
TRAIN, VALIDATION = 0.60, 0.15  # the rest is the test split
# the challenge's numbers of the types: Kessler et al. 2019, PASP 131, 094501
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
TIME_STEP, FLUX_STEP, ERROR_STEP = 1e-3, 0.05, 0.005


def choose(metadata: pd.DataFrame) -> pd.DataFrame:
    """(object_id, type, split) of the chosen objects."""
    table = metadata[["object_id"]].assign(type=metadata["target"].map(TYPES))
    table["order"] = [hashlib.sha256(str(i).encode()).hexdigest() for i in table["object_id"]]
    table = table.sort_values("order").groupby("type").head(PER_CLASS)
    by_type = table.groupby("type")["object_id"]
    share = (by_type.cumcount() + 0.5) / by_type.transform("size")
    table["split"] = np.select(
        [share < TRAIN, share < TRAIN + VALIDATION], ["train", "validation"], "test"
    )
    return table.drop(columns="order").sort_values("object_id", ignore_index=True)


def encode(curve: pd.DataFrame) -> dict[str, np.ndarray]:
    """One object's observations in the order of time, as integers."""
    curve = curve.sort_values(["mjd", "passband"])
    ticks = np.round((curve["mjd"] - curve["mjd"].iloc[0]).to_numpy() / TIME_STEP)
    log_error = np.round(np.log(curve["flux_err"].to_numpy()) / ERROR_STEP)
    error = np.exp(log_error * ERROR_STEP)
    return {
        "time": np.diff(ticks, prepend=0).astype(np.int32),
        "flux": np.round(curve["flux"].to_numpy() / (error * FLUX_STEP)).astype(np.int32),
        "error": log_error.astype(np.int32),
        "band": curve["passband"].to_numpy(np.int8),
    }


def main() -> None:
    folder = Path(sys.argv[1]) / FOLDER
    table = choose(pd.read_csv(folder / "plasticc_train_metadata.csv", skipinitialspace=True))
    light = pd.read_csv(folder / "plasticc_train_lightcurves.csv")
    curves = dict(list(light[light["object_id"].isin(table["object_id"])].groupby("object_id")))
    encoded = pd.DataFrame([encode(curves[i]) for i in table["object_id"]])
    target = Path(__file__).with_name("plasticc.parquet")
    pq.write_table(
        pa.Table.from_pandas(table.join(encoded), preserve_index=False),
        target,
        compression="zstd",
        compression_level=19,
    )
    print(table.groupby(["type", "split"]).size().unstack().to_string())
    count = int(encoded["time"].map(len).sum())
    print(f"{target.name}: {len(table)} objects, {count} observations, ", end="")
    print(f"{target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
