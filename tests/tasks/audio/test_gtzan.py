"""GTZAN: generated recordings in the layout of the fault-filtered split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task

GENRES = [
    "blues",
    "classical",
    "country",
    "disco",
    "hiphop",
    "jazz",
    "metal",
    "pop",
    "reggae",
    "rock",
]
LISTS = {"train": range(5), "valid": range(5, 7), "test": range(7, 10)}


def tone(path: Path, pitch: float, seed: int, seconds: float = 0.5, rate: int = 22_050) -> None:
    """A sine in noise."""
    noise = np.random.default_rng(seed).normal(0, 0.02, int(seconds * rate))
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(len(noise)) / rate) + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="PCM_16")


def make(root: Path, genres: str = "genres", kind: str = "wav") -> Path:
    """Ten genres of ten recordings; returns the dataset's folder."""
    folder = root / "gtzan"
    for number, genre in enumerate(GENRES):
        for index in range(10):
            path = folder / genres / genre / f"{genre}.{index:05d}.{kind}"
            tone(path, 200 * 1.3**number, 10 * number + index)
    for name, indices in LISTS.items():
        lines = [f"{genre}/{genre}.{index:05d}.wav" for genre in GENRES for index in indices]
        (folder / f"{name}_filtered.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    data = load_task("gtzan-genre", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 50, "validation": 20, "test": 30,
    }  # fmt: skip
    assert data["train"][0]["id"] == "blues.00000"
    assert all(found.passed for found in findings("gtzan-genre", tmp_path).values())
    assert score("gtzan-genre", tmp_path, "mfcc").metrics["accuracy"].value > 0.8


@pytest.mark.parametrize(("genres", "kind"), [("genres_original", "wav"), (".", "au")])
def test_other_copies(tmp_path: Path, genres: str, kind: str) -> None:
    """Kaggle's folder name; the first edition's .au files without a folder above; a list with
    Windows line ends; the damaged recording is left out though it is listed."""
    folder = make(tmp_path, genres, kind)
    listed = folder / "train_filtered.txt"
    listed.write_bytes(listed.read_bytes().replace(b"\n", b"\r\n") + b"jazz/jazz.00054.wav\r\n")
    (folder / genres / "jazz" / f"jazz.00054.{kind}").write_bytes(b"damaged")
    assert len(load_task("gtzan-genre", tmp_path).load()["train"]) == 50


def missing(folder: Path) -> None:
    (folder / "genres/pop/pop.00003.wav").unlink()


def truncated(folder: Path) -> None:
    path = folder / "genres/pop/pop.00003.wav"
    path.write_bytes(path.read_bytes()[:5000])


def wrong_rate(folder: Path) -> None:
    tone(folder / "genres/pop/pop.00003.wav", 200, 0, rate=16_000)


def unknown_genre(folder: Path) -> None:
    tone(folder / "genres/polka/polka.00000.wav", 200, 0)
    with (folder / "test_filtered.txt").open("a") as file:
        file.write("polka/polka.00000.wav\n")


def empty_list(folder: Path) -> None:
    (folder / "valid_filtered.txt").write_text("")


def no_list(folder: Path) -> None:
    (folder / "valid_filtered.txt").unlink()


def twice(folder: Path) -> None:
    with (folder / "train_filtered.txt").open("a") as file:
        file.write("rock/rock.00000.wav\n")


def in_two(folder: Path) -> None:
    with (folder / "test_filtered.txt").open("a") as file:
        file.write("rock/rock.00000.wav\n")


def no_number(folder: Path) -> None:
    with (folder / "test_filtered.txt").open("a") as file:
        file.write("rock/rock.mp3\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["pop.00003.wav", "missing", "again"]),
        (truncated, ["pop.00003.wav", "again"]),
        (wrong_rate, ["pop.00003.wav", "16000", "22050"]),
        (unknown_genre, ["polka", "again"]),
        (empty_list, ["validation", "empty"]),
        (no_list, ["valid_filtered.txt", "data fetch"]),
        (twice, ["rock.00000", "twice"]),
        (in_two, ["rock.00000"]),
        (no_number, ["test_filtered.txt", "rock/rock.mp3", "again"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("gtzan-genre", tmp_path)
    assert all(word in text for word in words), text
