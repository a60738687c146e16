"""MagnaTagATune: generated clips in the folders of the published archive."""

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

RATE = 16_000
OTHER = ("singer", "duet")  # tags that are not among the 50
TASK = "magnatagatune"


def clip(path: Path, high: bool, noisy: bool, seed: int, kind: str = "MP3") -> None:
    """A low or a high tone, with or without noise: two tags can be told."""
    generator = np.random.default_rng(seed)
    wave = 0.3 * np.sin(2 * np.pi * (2000 if high else 200) * np.arange(RATE) / RATE)
    wave += generator.normal(0, 0.2 if noisy else 0.01, RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE, format=kind)


def make(root: Path, below: str = "mp3", quoted: bool = True) -> Path:
    """Three songs in every folder, two clips of each."""
    folder = root / "MagnaTagATune"
    tags = [*reversed(load_task(TASK).card.target.classes), *OTHER]
    lines = [["clip_id", *tags, "mp3_path"]]
    for hexadecimal in "0123456789abcdef":
        for song in range(3):
            for start in (0, 29):
                number = len(lines) + 1
                high, noisy = (song + int(hexadecimal, 16)) % 2 == 0, song == 1
                name = f"{hexadecimal}/some_band-album_{hexadecimal}-{song:02d}-a_song"
                name += f"-{start}-{start + 29}.mp3"
                clip(folder / below / name, high, noisy, number)
                on = {"flute": high, "loud": noisy, "singer": True}
                lines.append([str(number), *(str(int(on.get(tag, False))) for tag in tags), name])
    quote = '"' if quoted else ""
    text = "".join("\t".join(f"{quote}{cell}{quote}" for cell in line) + "\n" for line in lines)
    folder.mkdir(exist_ok=True)
    (folder / "annotations_final.csv").write_text(text)
    return folder


@pytest.mark.long
def test_layout_and_score(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    task = load_task(TASK, tmp_path)
    data = task.load()
    assert [len(rows) for rows in data.values()] == [72, 6, 18]
    assert len(set(data["train"]["group"])) == 36
    row = read_row(data["train"], 0)
    assert row["target"].tolist() == [int(tag == "flute") for tag in task.card.target.classes]
    assert row["input"]["waveform"].dtype == np.int16
    found = findings(TASK, tmp_path)
    assert all(found[name].passed for name in found if name != "labels")
    assert score(TASK, tmp_path, "mfcc").metrics["macro_auroc"].value > 0.9


@pytest.mark.long
def test_folders_beside_the_table(tmp_path: Path) -> None:
    """Without mp3/ above, without quotes; the empty files of the archive are left out."""
    folder = make(tmp_path, ".", quoted=False)
    empty = "6/norine_braun-now_and_zen-08-gently-117-146.mp3"
    (folder / empty).write_bytes(b"")
    table = folder / "annotations_final.csv"
    cells = table.read_text().splitlines()[1].split("\t")
    table.write_text(table.read_text() + "\t".join(["9999", *cells[1:-1], empty]) + "\n")
    assert len(load_task(TASK, tmp_path).load()["train"]) == 72


SONG = "d/some_band-album_d-00-a_song-0-29.mp3"


def replace(folder: Path, old: str, new: str) -> None:
    table = folder / "annotations_final.csv"
    table.write_text(table.read_text().replace(old, new))


def missing(folder: Path) -> None:
    (folder / "mp3" / SONG).unlink()


def damaged(folder: Path) -> None:
    (folder / "mp3" / SONG).write_bytes(b"not sound" * 99)


def truncated(folder: Path) -> None:
    path = folder / "mp3" / SONG
    path.write_bytes(path.read_bytes()[:1500])


def no_tag(folder: Path) -> None:
    replace(folder, '"no vocals"', '"no_vocals"')


def not_binary(folder: Path) -> None:
    lines = (folder / "annotations_final.csv").read_text().splitlines()
    lines[1] = lines[1].replace('"0"', '"2"')
    (folder / "annotations_final.csv").write_text("\n".join(lines))


def other_path(folder: Path) -> None:
    replace(folder, SONG, "d/song.mp3")


def no_test(folder: Path) -> None:
    lines = (folder / "annotations_final.csv").read_text().splitlines()
    kept = [line for line in lines if line.split("\t")[-1][1] not in "def"]
    (folder / "annotations_final.csv").write_text("\n".join(kept))


def twice(folder: Path) -> None:
    lines = (folder / "annotations_final.csv").read_text().splitlines()
    (folder / "annotations_final.csv").write_text("\n".join([*lines, lines[1]]))


def in_two(folder: Path) -> None:
    name = SONG.replace("d/", "0/", 1)
    (folder / "mp3" / name).write_bytes((folder / "mp3" / SONG).read_bytes())
    lines = (folder / "annotations_final.csv").read_text().splitlines()
    line = next(line for line in lines if SONG in line).replace(SONG, name)
    line = "\t".join(['"9999"', *line.split("\t")[1:]])
    (folder / "annotations_final.csv").write_text("\n".join([*lines, line]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undamaged set to copy: coding mp3 takes longest."""
    return make(tmp_path_factory.mktemp("whole"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, [Path(SONG).name, "missing", "again"]),
        (damaged, [Path(SONG).name, "cannot be read", "again"]),
        (truncated, [Path(SONG).name, "again"]),
        (no_tag, ["annotations_final.csv", "no vocals", "again"]),
        (not_binary, ["annotations_final.csv", "neither 0 nor 1", "again"]),
        (other_path, ["annotations_final.csv", "d/song.mp3", "again"]),
        (no_test, ["test", "empty"]),
        (twice, ["twice"]),
        (in_two, ["song", "some_band-album_d-00-a_song"]),
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
