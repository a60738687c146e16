"""emoMusic: generated clips whose loudness is their arousal and whose pitch is their valence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from benchmark.prepare import read_row

RATE = 44_100
COLUMNS = (
    "song_id,file_name,Artist,Song title,start of the segment (min.sec),"
    "end of the segment (min.sec),Genre,Mediaeval 2013 set"
)


def make(root: Path, annotations: str = ".") -> Path:
    folder = root / "emomusic"
    generator = np.random.default_rng(0)
    info, static = [COLUMNS], ["song_id,mean_arousal,std_arousal,mean_valence,std_valence"]
    (folder / "clips_45seconds").mkdir(parents=True)
    (folder / annotations).mkdir(exist_ok=True)
    for song in range(2, 62):
        arousal, valence = generator.uniform(1, 9, 2)
        time = np.arange(RATE // 4) / RATE
        wave = 10 ** (-1.5 + arousal / 8) * np.sin(2 * np.pi * 150 * 1.4**valence * time)
        wave = np.stack([wave + generator.normal(0, 0.001, len(time))] * 2, 1)
        soundfile.write(folder / f"clips_45seconds/{song}.mp3", wave * 0.3, RATE)
        part = "evaluation" if song % 4 == 0 else "development"
        title = f'"Song\t{song}, live"' if song == 5 else f"Song {song}"
        info.append(f"{song},{song}.mp3,\tArtist {song // 2} é,{title},1.02,1.47,Rock,{part}")
        static.append(f"{song},{arousal:.1f},1.5,{valence:.1f},1.2")
    (folder / annotations / "songs_info.csv").write_text("\n".join(info) + "\n")
    (folder / annotations / "static_annotations.csv").write_text("\n".join(static) + "\n")
    return folder


@pytest.mark.long
def test_layout_and_scores(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    data = load_task("emomusic-arousal", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 45, "test": 15}
    assert len(set(data["train"]["group"])) == 30
    assert "artist artist 2 é" in data["train"]["group"]
    first = read_row(data["train"], 0)
    assert first["input"]["sample_rate"] == RATE
    assert 1 <= first["target"] <= 9
    assert all(found.passed for found in findings("emomusic-valence", tmp_path).values())
    assert score("emomusic-arousal", tmp_path, "mfcc").metrics["r2"].value > 0.5
    assert score("emomusic-valence", tmp_path, "mfcc").metrics["r2"].value > 0.3


def test_annotations_in_a_folder(tmp_path: Path) -> None:
    """The archive's csv files in annotations/, with a byte-order mark and Windows line ends."""
    folder = make(tmp_path, "annotations")
    for path in (folder / "annotations").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(load_task("emomusic-valence", tmp_path).load()["test"]) == 15


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


def missing(folder: Path) -> None:
    (folder / "clips_45seconds/8.mp3").unlink()


def damaged(folder: Path) -> None:
    (folder / "clips_45seconds/8.mp3").write_bytes(b"")


def truncated(folder: Path) -> None:
    path = folder / "clips_45seconds/8.mp3"
    path.write_bytes(path.read_bytes()[:1500])


def no_column(folder: Path) -> None:
    replace(folder / "static_annotations.csv", "mean_arousal", "arousal")


def no_number(folder: Path) -> None:
    replace(folder / "static_annotations.csv", "\n8,", "\n8,nan")


def no_set(folder: Path) -> None:
    replace(folder / "songs_info.csv", "evaluation", "reserve")


def no_song(folder: Path) -> None:
    replace(folder / "songs_info.csv", "\n8,", "\n99999,")


def no_test(folder: Path) -> None:
    path = folder / "songs_info.csv"
    path.write_text(path.read_text().replace("evaluation", "development"))


def twice(folder: Path) -> None:
    path = folder / "static_annotations.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undamaged set to copy: coding mp3 takes longest."""
    return make(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, ["8.mp3", "missing", "again"]),
        (damaged, ["8.mp3", "again"]),
        (truncated, ["8.mp3", "again"]),
        (no_column, ["static_annotations.csv", "mean_arousal", "again"]),
        (no_number, ["static_annotations.csv", "nan", "again"]),
        (no_set, ["songs_info.csv", "reserve", "again"]),
        (no_song, ["songs_info.csv", "8", "again"]),
        (no_test, ["test", "empty"]),
        (twice, ["twice"]),
    ],
)
def test_damage(
    tmp_path: Path,
    whole: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(shutil.copytree(whole, tmp_path / whole.name))
    text = refused("emomusic-arousal", tmp_path)
    assert all(word in text for word in words), text
