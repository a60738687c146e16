"""NSynth: generated notes in the layout of the published archives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task

FAMILIES = {"bass": 0, "flute": 2, "organ": 6}
PITCHES = (15, 45, 52, 60)  # 15 is below the piano
RATE = 16_000


def note(path: Path, family: str, pitch: int, seed: int, rate: int = RATE) -> None:
    """A few harmonics, more of them for some families, in noise."""
    generator = np.random.default_rng(seed)
    time = np.arange(rate // 2) / rate
    harmonics = {"bass": 1, "flute": 3, "organ": 8}[family]
    base = 440 * 2 ** ((pitch - 69) / 12)
    wave = sum(np.sin(2 * np.pi * base * k * time) / k for k in range(1, harmonics + 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * wave + generator.normal(0, 0.005, len(time)), rate)


def make(root: Path, kind: str = "wav") -> Path:
    folder = root / "nsynth"
    for split, instruments in (("train", range(5)), ("valid", range(5, 6)), ("test", range(5, 7))):
        examples: dict[str, Any] = {}
        for family, number in FAMILIES.items():
            for instrument in instruments:
                for pitch in PITCHES:
                    name = f"{family}_acoustic_{instrument:03d}-{pitch:03d}-100"
                    examples[name] = {
                        "note": len(examples),
                        "note_str": name,
                        "instrument": 10 * number + instrument,
                        "instrument_str": f"{family}_acoustic_{instrument:03d}",
                        "instrument_family": number,
                        "instrument_family_str": family,
                        "instrument_source": 0,
                        "instrument_source_str": "acoustic",
                        "pitch": pitch,
                        "velocity": 100,
                        "qualities": [0] * 10,
                        "qualities_str": [],
                        "sample_rate": RATE,
                    }
                    path = folder / f"nsynth-{split}/audio/{name}.{kind}"
                    note(path, family, pitch, len(examples) + 100 * len(split))
        (folder / f"nsynth-{split}/examples.json").write_text(json.dumps(examples))
    return folder


def test_instrument(tmp_path: Path, score: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("nsynth-instrument", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 60, "test": 24}
    assert set(data["train"]["group"]).isdisjoint(data["test"]["group"])
    assert score("nsynth-instrument", tmp_path, "mfcc").metrics["accuracy"].value > 0.6


def test_pitch(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    """Notes outside the piano are no part of the task; classes are MIDI numbers from 21."""
    make(tmp_path, "flac")
    data = load_task("nsynth-pitch", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 45, "test": 18}
    assert set(data["train"]["target"]) == {45 - 21, 52 - 21, 60 - 21}
    found = findings("nsynth-pitch", tmp_path)
    assert all(found[name].passed for name in found if name != "labels")  # 85 pitches do not occur
    assert score("nsynth-pitch", tmp_path, "mfcc").metrics["accuracy"].value > 0.5


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "nsynth-test/examples.json"
    examples = json.loads(path.read_text())
    change(examples)
    path.write_text(json.dumps(examples))


NAME = "flute_acoustic_006-045-100"


def missing(folder: Path) -> None:
    (folder / f"nsynth-test/audio/{NAME}.wav").unlink()


def truncated(folder: Path) -> None:
    path = folder / f"nsynth-test/audio/{NAME}.wav"
    path.write_bytes(path.read_bytes()[:3000])


def wrong_rate(folder: Path) -> None:
    note(folder / f"nsynth-test/audio/{NAME}.wav", "flute", 45, 1, rate=22_050)


def truncated_index(folder: Path) -> None:
    path = folder / "nsynth-test/examples.json"
    path.write_text(path.read_text()[:1000])


def no_pitch(folder: Path) -> None:
    edit(folder, lambda examples: examples[NAME].pop("pitch"))


def unknown_family(folder: Path) -> None:
    edit(folder, lambda examples: examples[NAME].update(instrument_family_str="kazoo"))


def no_examples(folder: Path) -> None:
    edit(folder, lambda examples: examples.clear())


def shared_instrument(folder: Path) -> None:
    edit(folder, lambda examples: examples[NAME].update(instrument_str="flute_acoustic_000"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, [f"{NAME}.wav", "missing", "again"]),
        (truncated, [f"{NAME}.wav", "again"]),
        (wrong_rate, [f"{NAME}.wav", "22050", "16000"]),
        (truncated_index, ["examples.json", "cannot be read", "again"]),
        (no_pitch, ["examples.json", NAME, "pitch", "again"]),
        (unknown_family, ["examples.json", "kazoo", "again"]),
        (no_examples, ["test", "empty"]),
        (shared_instrument, ["instrument", "flute_acoustic_000"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("nsynth-instrument", tmp_path)
    assert all(word in text for word in words), text
