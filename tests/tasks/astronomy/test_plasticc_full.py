"""PLAsTiCC's published files, in small."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.catalog import load_task, task_cards
from benchmark.prepare import read_row
from tasks.astronomy import plasticc, plasticc_full
from tasks.astronomy.plasticc_full import TYPES

TASK, OFFICIAL = "plasticc", "plasticc-official"
PER_TYPE = 5
LEVELS = 10 ** np.random.default_rng(7).uniform(1, 4, (len(TYPES), 6))  # of a type in a band


def light(numbers: list[int], types: list[int]) -> pd.DataFrame:
    tables = []
    for number, kind in zip(numbers, types, strict=True):
        rng = np.random.default_rng(number)
        mjd = 59_580 + np.sort(rng.uniform(0, 900, 30)).round(4)
        band = rng.permutation(np.arange(30) % 6)
        place = list(TYPES).index(kind) if kind in TYPES else 0
        flux = LEVELS[place, band] * (1 + 0.3 * np.sin(mjd / 40)) + rng.normal(0, 3, 30)
        tables.append(
            pd.DataFrame(
                {
                    "object_id": number,
                    "mjd": mjd,
                    "passband": band,
                    "flux": flux,
                    "flux_err": 3.0,
                    "detected_bool": 1,
                }
            )
        )
    return pd.concat(tables)


def write(root: Path, names=("plasticc_train_lightcurves", "plasticc_train_metadata")) -> Path:
    folder = root / "plasticc"
    folder.mkdir()
    types = [kind for kind in TYPES for _ in range(PER_TYPE)]
    numbers = [615 + 13 * i for i in range(len(types))]
    light(numbers, types).to_csv(folder / f"{names[0]}.csv", index=False)
    table = pd.DataFrame({"object_id": numbers, "ra": 1.5, "ddf_bool": 1, "target": types})
    table.to_csv(folder / f"{names[1]}.csv", index=False)
    return folder


def write_test(folder: Path) -> None:
    """Three packed files; type 991 is one that nobody can have learnt."""
    types = [*TYPES, *TYPES, 991]
    numbers = [13 + 7 * i + 1_000_000 for i in range(len(types))]
    for part, chosen in enumerate(np.array_split(np.arange(len(types)), 3), 1):
        table = light([numbers[i] for i in chosen], [types[i] for i in chosen])
        table.to_csv(folder / f"plasticc_test_lightcurves_{part:02d}.csv.gz", index=False)
    table = pd.DataFrame({"object_id": numbers, "target": 99, "true_target": types})
    table.to_csv(folder / "plasticc_test_metadata.csv.gz", index=False)


@pytest.mark.long
def test_training_set_in_folds(tmp_path, score, findings):
    write(tmp_path)
    assert all(found.passed for found in findings(TASK, tmp_path).values())
    assert score(TASK, tmp_path, "astro-statistics").metrics["balanced_accuracy"].value > 0.5


def test_light_curves_are_as_published(tmp_path):
    folder = write(tmp_path)
    row = read_row(load_task(TASK, tmp_path).load()["fold-1"], 0)
    table = pd.read_csv(folder / "plasticc_train_lightcurves.csv")
    table = table[table["object_id"] == int(row["id"])]
    time, flux, error, band = row["input"]["photometry"].T
    np.testing.assert_allclose(time, table["mjd"] - table["mjd"].iloc[0], atol=1e-3)
    np.testing.assert_allclose(flux, table["flux"], rtol=1e-6)
    np.testing.assert_allclose(error, table["flux_err"])
    np.testing.assert_array_equal(band, table["passband"])


def test_official_split_object_by_object(tmp_path, score, monkeypatch):
    monkeypatch.setattr(plasticc_full, "CHUNK", 47)  # ends within objects
    write_test(write(tmp_path))
    data = load_task(OFFICIAL, tmp_path).load()
    assert [len(data["train"]), len(data["test"])] == [70, 28]
    assert {len(read_row(data["test"], i)["input"]["photometry"]) for i in range(28)} == {30}
    score(OFFICIAL, tmp_path, "astro-statistics")


def test_names_of_kaggle_windows_ends_order_of_columns(tmp_path):
    folder = write(tmp_path, ("training_set", "training_set_metadata"))
    for path in folder.iterdir():
        table = pd.read_csv(path)
        text = table[table.columns[::-1]].to_csv(index=False, lineterminator="\r\n")
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(("\ufeff" + text).encode()))
        path.unlink()
    assert sum(len(split) for split in load_task(TASK, tmp_path).load().values()) == 70


def test_cards_have_the_types():
    cards = {card.name: card for card in task_cards() if card.name in (TASK, OFFICIAL)}
    assert all(set(card.target.classes) == set(TYPES.values()) for card in cards.values())
    assert all(card.simulated for card in cards.values())


def test_a_test_file_that_is_missing_is_told(tmp_path, refused):
    folder = write(tmp_path)
    write_test(folder)
    (folder / "plasticc_test_lightcurves_02.csv.gz").unlink()
    message = refused(OFFICIAL, tmp_path)
    assert "objects of plasticc_test_metadata.csv.gz, the first" in message
    assert "in 2 files of light curves (the whole set has 11): get the missing files" in message


@pytest.mark.long
def test_objects_of_the_challenge_in_the_official_layout(tmp_path, score):
    """Objects of the challenge that the starter suite has embedded, written as published."""
    rng = np.random.default_rng(0)
    table = pd.read_parquet(plasticc.TABLE)
    table = table.groupby("type").sample(15, random_state=1)
    folder = tmp_path / "plasticc"
    folder.mkdir()
    numbers = {name: number for number, name in TYPES.items()}
    curves = []
    for row in table.to_dict("records"):
        time, flux, error, band = plasticc.decode(
            row["time"], row["flux"], row["error"], row["band"]
        ).T.astype(np.float64)
        columns = {"mjd": 59_580 + time, "passband": band.astype(int), "flux": flux}
        curve = pd.DataFrame({"object_id": row["object_id"], **columns, "flux_err": error})
        curves.append(curve.assign(detected_bool=1))
    order = rng.permutation(len(curves))
    pd.concat([curves[i] for i in order]).to_csv(
        folder / "plasticc_train_lightcurves.csv.gz", index=False
    )
    table = table.assign(target=table["type"].map(numbers))[["object_id", "target"]]
    table.to_csv(folder / "plasticc_train_metadata.csv", index=False)
    result = score(TASK, tmp_path, "astro-statistics")
    assert 0.40 < result.metrics["balanced_accuracy"].value < 0.57


def column_lost(folder: Path) -> None:
    path = folder / "plasticc_train_lightcurves.csv"
    pd.read_csv(path).drop(columns="flux_err").to_csv(path, index=False)


def nan(folder: Path) -> None:
    path = folder / "plasticc_train_lightcurves.csv"
    table = pd.read_csv(path)
    table.loc[40, "flux"] = np.nan
    table.to_csv(path, index=False)


def strange_band(folder: Path) -> None:
    path = folder / "plasticc_train_lightcurves.csv"
    table = pd.read_csv(path)
    table.loc[40, "passband"] = 6
    table.to_csv(path, index=False)


def object_lost(folder: Path) -> None:
    path = folder / "plasticc_train_lightcurves.csv"
    table = pd.read_csv(path)
    table[table["object_id"] != 628].to_csv(path, index=False)


def strange_type(folder: Path) -> None:
    path = folder / "plasticc_train_metadata.csv"
    pd.read_csv(path).replace({"target": {92: 93}}).to_csv(path, index=False)


def object_twice(folder: Path) -> None:
    path = folder / "plasticc_train_metadata.csv"
    table = pd.read_csv(path)
    pd.concat([table, table[:1]]).to_csv(path, index=False)


def cut_packed(folder: Path) -> None:
    path = folder / "plasticc_train_lightcurves.csv"
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-200])
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (column_lost, "flux_err"),
        (nan, "NaN"),
        (strange_band, "passband"),
        (object_lost, "object 628"),
        (strange_type, "93"),
        (object_twice, "615 stands twice"),
        (cut_packed, "ends too early: get the file again"),
    ],
)
def test_damage_is_told_with_file_and_remedy(tmp_path, refused, damage, told):
    damage(write(tmp_path))
    message = refused(TASK, tmp_path)
    assert told in message
    assert "plasticc_train_" in message
    assert "get the file again" in message
