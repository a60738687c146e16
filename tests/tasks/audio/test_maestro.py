"""MAESTRO: plucked sines with their MIDI files, in the layout of the archive."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.audio.maestro import excerpts, notes

RATE = 44_100
COLUMNS = [
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
]
TASK = "maestro-onsets"
Played = list[tuple[float, float, int]]


def write_midi(path: Path, played: Played) -> None:
    """Two tracks as in the set: tempo, then the performance; notes end with velocity 0."""
    tempo, ticks = 500_000, 480
    events = []
    for onset, offset, pitch in played:
        events.append((onset, mido.Message("note_on", note=pitch, velocity=64)))
        events.append((offset, mido.Message("note_on", note=pitch, velocity=0)))
    events.sort(key=lambda event: event[0])
    first = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo)])
    second, now = mido.MidiTrack(), 0
    for time, message in events:
        tick = round(mido.second2tick(time, ticks, tempo))
        second.append(message.copy(time=tick - now))
        now = tick
    mido.MidiFile(tracks=[first, second], ticks_per_beat=ticks, type=1).save(path)


def write_sound(path: Path, played: Played, seconds: float, seed: int) -> None:
    wave = np.random.default_rng(seed).normal(0, 0.001, int(seconds * RATE))
    for onset, _, pitch in played:
        start = int(onset * RATE)
        time = np.arange(min(RATE // 3, len(wave) - start)) / RATE
        tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) * np.exp(-8 * time)
        wave[start : start + len(time)] += 0.2 * tone
    soundfile.write(path, np.stack([wave, wave], 1), RATE)


def make(root: Path, seconds: float = 12.0) -> Path:
    folder = root / "maestro-v3.0.0"
    (folder / "2004").mkdir(parents=True)
    rows = []
    for index in range(10):
        generator = np.random.default_rng(index)
        played = []
        for onset in np.arange(0.1, seconds - 0.5, 0.25):
            pitch = int(generator.choice([48, 60, 72]))
            played.append((round(float(onset), 3), round(float(onset) + 0.2, 3), pitch))
        name = f"2004/MIDI-Unprocessed_{index}_wav--1"
        write_midi(folder / f"{name}.midi", played)
        write_sound(folder / f"{name}.wav", played, seconds + 0.2, index)
        split = "train" if index < 6 else "validation" if index < 8 else "test"
        title = f'Sonata, Op. {index // 2} "Quasi"'
        rows.append([f"Composer {index // 2}", title, split, "2004", f"{name}.midi",
                     f"{name}.wav", seconds])  # fmt: skip
    with (folder / "maestro-v3.0.0.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def test_excerpts() -> None:
    assert excerpts(400.0) == [(45.0, 55.0), (145.0, 155.0), (245.0, 255.0), (345.0, 355.0)]
    assert excerpts(25.0) == [(1.25, 11.25), (13.75, 23.75)]
    assert excerpts(6.0) == [(0.0, 6.0)]


def test_notes(tmp_path: Path) -> None:
    """A repeated note-on ends the note before it; a note without an end lasts to the end."""
    track = mido.MidiTrack()
    for time, kind, pitch, velocity in (
        (480, "note_on", 60, 9), (480, "note_on", 60, 9), (480, "note_off", 60, 0),
        (0, "note_on", 64, 1), (960, "control_change", 0, 0),
    ):  # fmt: skip
        if kind == "control_change":
            track.append(mido.Message(kind, control=64, value=100, time=time))
        else:
            track.append(mido.Message(kind, note=pitch, velocity=velocity, time=time))
    mido.MidiFile(tracks=[track], ticks_per_beat=480, type=0).save(tmp_path / "a.midi")
    found = notes(tmp_path / "a.midi")
    assert found.tolist() == [[0.5, 1.0, 60], [1.0, 1.5, 60], [1.5, 2.5, 64]]


@pytest.mark.long
def test_layout_score_and_check(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    task = load_task(TASK, tmp_path)
    data = task.load()
    assert [len(rows) for rows in data.values()] == [6, 2, 2]
    row = read_row(data["train"], 0)
    assert row["input"]["waveform"].shape == (10 * RATE,)
    assert row["id"].endswith("@1.00")
    assert set(row["target"][:, 2]) <= {48 - 21, 60 - 21, 72 - 21}
    assert np.allclose(row["target"][0, 0], 0.1, atol=0.003)  # 1.1 s, one second into the file
    assert (row["target"][:, 1] <= 10).all()
    assert all(found.passed for found in findings(TASK, tmp_path).values())
    assert score(TASK, tmp_path, "mfcc").metrics["onset_f1"].value > 0.5


@pytest.mark.long
def test_long_performance(tmp_path: Path) -> None:
    """Several excerpts of one performance have one group."""
    make(tmp_path, 41.0)
    data = load_task(TASK, tmp_path).load()
    assert [len(rows) for rows in data.values()] == [24, 8, 8]
    assert len(set(data["test"]["group"])) == 1


MIDI, SOUND = "2004/MIDI-Unprocessed_9_wav--1.midi", "2004/MIDI-Unprocessed_9_wav--1.wav"


def missing_midi(folder: Path) -> None:
    (folder / MIDI).unlink()


def missing_sound(folder: Path) -> None:
    (folder / SOUND).unlink()


def truncated_midi(folder: Path) -> None:
    (folder / MIDI).write_bytes((folder / MIDI).read_bytes()[:150])


def truncated_sound(folder: Path) -> None:
    (folder / SOUND).write_bytes((folder / SOUND).read_bytes()[: 8 * RATE])


def no_notes(folder: Path) -> None:
    write_midi(folder / MIDI, [])


def table(folder: Path, old: str, new: str) -> None:
    path = folder / "maestro-v3.0.0.csv"
    path.write_text(path.read_text().replace(old, new))


def no_column(folder: Path) -> None:
    table(folder, "duration", "seconds")


def other_split(folder: Path) -> None:
    table(folder, ",test,", ",dev,")


def no_duration(folder: Path) -> None:
    table(folder, ",12.0", ",")


def no_test(folder: Path) -> None:
    table(folder, ",test,", ",train,")


def in_two(folder: Path) -> None:
    table(folder, "Composer 4", "Composer 3")
    table(folder, "Op. 4", "Op. 3")


def twice(folder: Path) -> None:
    path = folder / "maestro-v3.0.0.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing_midi, [MIDI, "missing", "again"]),
        (missing_sound, [SOUND, "missing", "again"]),
        (truncated_midi, [MIDI, "ends too early", "again"]),
        (truncated_sound, [SOUND, "ends before", "again"]),
        (no_notes, [MIDI, "no notes", "again"]),
        (no_column, ["maestro-v3.0.0.csv", "duration", "again"]),
        (other_split, ["maestro-v3.0.0.csv", "dev", "again"]),
        (no_duration, ["maestro-v3.0.0.csv", "duration", "again"]),
        (no_test, ["test", "empty"]),
        (in_two, ["composition", "Composer 3"]),
        (twice, ["twice"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused(TASK, tmp_path)
    assert all(word in text for word in words), text
