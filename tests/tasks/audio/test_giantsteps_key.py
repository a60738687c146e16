"""GiantSteps: chords of sines in the layout of the two repositories."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from tasks.audio.giantsteps_key import GiantStepsKey, circles

RATE = 44_100
TONICS = {"C": 0, "Eb": 3, "F#": 6}
SHARPS = {"Eb": "D#"}
TASK = "giantsteps-key"


def chord(path: Path, tonic: int, minor: bool, seed: int) -> None:
    """A triad two octaves wide, stereo."""
    generator = np.random.default_rng(seed)
    time = np.arange(RATE // 4) / RATE
    steps = (0, 3 if minor else 4, 7, 12)
    wave = sum(
        generator.uniform(0.6, 1) * np.sin(2 * np.pi * 220 * 2 ** ((tonic + step) / 12) * time)
        for step in steps
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.stack([0.1 * wave + generator.normal(0, 0.003, len(time))] * 2, 1)
    soundfile.write(path, wave, RATE, format="MP3")


def make(root: Path, version: str = "", shared_audio: bool = False) -> Path:
    folder = root / "giantsteps"
    test = folder / f"giantsteps-key-dataset{version}"
    train = folder / f"giantsteps-mtg-key-dataset{version}"
    (test / "annotations/key").mkdir(parents=True)
    (train / "annotations").mkdir(parents=True)
    annotations = ["ID\tMANUAL KEY\tC", "1\tC minor / Eb major\t2", "2\t-\t0", "3\tC minor\t1"]
    metadata = ["ID\tARTIST\tSONG TITLE\tMIX\tLABEL\tBP GENRE\tBP BPM\tBP KEY"]
    metadata += [f"{track}\tNobody\tSong\tMix\tLabel\tTrance\t132\tC minor" for track in (1, 2, 3)]
    track = 100
    for tonic, step in TONICS.items():
        for minor in (False, True):
            mode = "minor" if minor else "major"
            for copy in range(18):
                track += 1
                seen = copy < 12
                audio = folder / "audio" if shared_audio else (train if seen else test) / "audio"
                chord(audio / f"{track}.LOFI.mp3", step, minor, track)
                if seen:
                    key = f"{SHARPS.get(tonic, tonic)} {mode}"
                    annotations.append(f"{track}\t{key}{' ' if copy == 3 else ''}\t2")
                    artists = f"Artist {copy % 6}, Guest {copy % 6}"
                    metadata.append(f"{track}\t{artists}\tS\tM\tL\tTrance\t132\t{key}")
                else:
                    path = test / f"annotations/key/{track}.LOFI.key"
                    path.write_text(f"{tonic} {mode}" + "\n" * (copy % 2))
    (train / "annotations/annotations.txt").write_text("\n".join(annotations) + "\n")
    (train / "annotations/beatport_metadata.txt").write_text("\n".join(metadata) + "\n")
    return folder


@pytest.mark.long
def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    task = load_task(TASK, tmp_path)
    data = task.load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 72, "test": 36}
    assert len(set(data["train"]["group"])) == 6
    used = {task.card.target.classes[index] for index in data["test"]["target"]}
    assert used == {f"{k} {m}" for k in ("C", "D#", "F#") for m in ("major", "minor")}
    found = findings(TASK, tmp_path)
    assert all(found[name].passed for name in found if name != "labels")
    assert score(TASK, tmp_path, "mfcc").metrics["key_score"].value > 0.4


@pytest.mark.long
@pytest.mark.parametrize(("version", "shared"), [("-master", False), ("-fd7b8c5", True)])
def test_archives_of_a_branch_or_commit(tmp_path: Path, version: str, shared: bool) -> None:
    make(tmp_path, version, shared)
    assert len(load_task(TASK, tmp_path).load()["test"]) == 36


def test_artists_who_work_together_go_together() -> None:
    circle = circles([["a", "b"], ["c"], ["d", "e"], ["b", "d", "b"], ["f", "f"]])
    assert circle == {"a": "a", "b": "a", "c": "c", "d": "a", "e": "a", "f": "f"}


def missing(folder: Path) -> None:
    next((folder / "giantsteps-key-dataset/audio").glob("*.mp3")).unlink()


def damaged(folder: Path) -> None:
    next((folder / "giantsteps-key-dataset/audio").glob("*.mp3")).write_bytes(b"no sound" * 99)


def truncated(folder: Path) -> None:
    path = next((folder / "giantsteps-mtg-key-dataset/audio").glob("*.mp3"))
    path.write_bytes(path.read_bytes()[:1500])


def other_key(folder: Path) -> None:
    next((folder / "giantsteps-key-dataset/annotations/key").iterdir()).write_text("C dorian")


def empty_key(folder: Path) -> None:
    next((folder / "giantsteps-key-dataset/annotations/key").iterdir()).write_text("")


def no_column(folder: Path) -> None:
    path = folder / "giantsteps-mtg-key-dataset/annotations/annotations.txt"
    path.write_text(path.read_text().replace("MANUAL KEY", "KEY"))


def no_artist(folder: Path) -> None:
    path = folder / "giantsteps-mtg-key-dataset/annotations/beatport_metadata.txt"
    path.write_text(path.read_text().replace("\n101\t", "\n999\t"))


def no_keys(folder: Path) -> None:
    for path in (folder / "giantsteps-key-dataset/annotations/key").iterdir():
        path.unlink()


def unsure(folder: Path) -> None:
    path = folder / "giantsteps-mtg-key-dataset/annotations/annotations.txt"
    path.write_text(path.read_text().replace("\t2\n", "\t1\n"))


def twice(folder: Path) -> None:
    path = folder / "giantsteps-mtg-key-dataset/annotations/annotations.txt"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undamaged set to copy: coding mp3 takes longest."""
    return make(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, [".LOFI.mp3", "missing", "again"]),
        (damaged, [".LOFI.mp3", "cannot be read", "again"]),
        (truncated, [".LOFI.mp3", "again"]),
        (other_key, [".LOFI.key", "C dorian", "again"]),
        (empty_key, [".LOFI.key", "again"]),
        (no_column, ["annotations.txt", "MANUAL KEY", "again"]),
        (no_artist, ["beatport_metadata.txt", "101", "again"]),
        (no_keys, ["annotations/key", "data fetch"]),
        (unsure, ["empty"]),
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
    text = refused(TASK, tmp_path)
    assert all(word in text for word in words), text


def test_what_is_fetched_is_what_is_read(tmp_path: Path) -> None:
    """The lists that come with the package: every track, with the authors' checksum."""
    assert GiantStepsKey.distribution is not None
    test, train = (listing.files() for listing in GiantStepsKey.distribution.listings)
    assert (len(test), len(train)) == (604, 1159)
    assert all(re.fullmatch(r"\d+\.LOFI\.mp3", file.name) for file in (*test, *train))
    assert all(re.fullmatch(r"[0-9a-f]{32}", file.md5) for file in (*test, *train))
    assert test[0].url == "https://www.cp.jku.at/datasets/giantsteps/backup/1004923.LOFI.mp3"
