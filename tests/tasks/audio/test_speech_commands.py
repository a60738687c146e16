"""Speech Commands: generated words and noise in the layout of the two archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task, task_card

RATE = 16_000
WORDS = {"yes": 300, "no": 800, "bed": 2000, "cat": 5000}
SPEAKERS = [f"{number:08x}" for number in range(0x5A0, 0x5AA)]
HELD_OUT = {"validation": SPEAKERS[6:8], "testing": SPEAKERS[8:]}


def sound(path: Path, pitch: float, seconds: float, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(len(str(path)) + int(path.stem[:8].strip("_"), 36) % 9999)
    time = np.arange(int(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * pitch * time) * (pitch > 0)
    soundfile.write(path, wave + generator.normal(0, 0.02, len(time)), rate)


def make(root: Path, rate: int = RATE) -> Path:
    place = root / "SpeechCommands"
    inner, test = place / "speech_commands_v0.02", place / "speech_commands_test_set_v0.02"
    lists: dict[str, list[str]] = {"validation": [], "testing": []}
    for word, pitch in WORDS.items():
        for index, speaker in enumerate(SPEAKERS):
            name = f"{speaker}_nohash_0.wav"
            sound(inner / word / name, pitch * (1 + index / 100), 0.4, rate)
            for split, speakers in HELD_OUT.items():
                if speaker in speakers:
                    lists[split].append(f"{word}/{name}")
    for split, lines in lists.items():
        (inner / f"{split}_list.txt").write_text("\n".join(lines) + "\n")
    for name in ("running_tap", "pink_noise", "white_noise"):
        sound(inner / f"_background_noise_/{name}.wav", 0, 3, rate)
    (inner / "_background_noise_/README.md").write_text("noise")
    for speaker in HELD_OUT["testing"]:
        for word in ("yes", "no"):
            sound(test / f"{word}/{speaker}_nohash_0.wav.wav", WORDS[word] * 1.07, 0.4, rate)
        sound(test / f"_unknown_/{speaker}_nohash_0.wav", 2100, 0.4, rate)
        sound(test / f"_silence_/{speaker}.wav", 0, 1, rate)
    return place


def test_35(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("speech-commands-35", tmp_path).load()
    assert {s: len(d) for s, d in data.items()} == {"train": 24, "validation": 8, "test": 8}
    assert set(data["test"]["group"]) == set(HELD_OUT["testing"])
    assert score("speech-commands-35", tmp_path, "mfcc").metrics["accuracy"].value > 0.9
    assert findings("speech-commands-35", tmp_path)["groups"].passed


def test_35_in_the_folder_of_the_archive(tmp_path: Path) -> None:
    (make(tmp_path) / "speech_commands_v0.02").rename(tmp_path / "speech_commands_v0.02")
    assert len(load_task("speech-commands-35", tmp_path).load()["test"]) == 8


def test_12(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("speech-commands-12", tmp_path).load()
    # 3 s of noise: seconds that begin at 0, 0.5, 1 and 1.5 s
    assert {s: len(d) for s, d in data.items()} == {"train": 32, "validation": 12, "test": 8}
    classes = task_card("speech-commands-12").target.classes
    names = [classes[label] for label in data["train"]["target"]]
    assert (names.count("_unknown_"), names.count("_silence_"), names.count("yes")) == (12, 8, 6)
    assert {g for g in data["validation"]["group"] if "noise" in g} == {
        "_background_noise_/running_tap"
    }
    assert score("speech-commands-12", tmp_path, "mfcc").metrics["accuracy"].value > 0.7
    assert findings("speech-commands-12", tmp_path)["groups"].passed


@pytest.mark.parametrize("task", ["speech-commands-35", "speech-commands-12"])
def test_damage(tmp_path: Path, refused: Callable[..., str], task: str) -> None:
    inner = make(tmp_path) / "speech_commands_v0.02"
    path = inner / f"bed/{SPEAKERS[6]}_nohash_0.wav"
    data = path.read_bytes()
    path.write_bytes(data[:3000])
    assert f"{path.name} ends before its sound does" in refused(task, tmp_path)
    path.unlink()
    assert f"{path.name} is missing" in refused(task, tmp_path)
    path.write_bytes(data)
    leak = inner / f"yes/{SPEAKERS[6]}_nohash_1.wav"  # a speaker of validation, not in the list
    leak.write_bytes(data)
    assert SPEAKERS[6] in refused(task, tmp_path)
    leak.unlink()
    (inner / "testing_list.txt").unlink()
    assert "testing_list.txt" in refused(task, tmp_path)


def test_unknown_word(tmp_path: Path, refused: Callable[..., str]) -> None:
    place = make(tmp_path)
    (place / "speech_commands_v0.02/cat").rename(place / "speech_commands_v0.02/cow")
    for name in HELD_OUT:
        lists = place / f"speech_commands_v0.02/{name}_list.txt"
        lists.write_text(lists.read_text().replace("cat/", "cow/"))
    assert "'cow' is not one of the 35 classes" in refused("speech-commands-35", tmp_path)
    (place / "speech_commands_test_set_v0.02/no").rename(
        place / "speech_commands_test_set_v0.02/nope"
    )
    assert "'nope' is not one of the 12" in refused("speech-commands-12", tmp_path)


def test_other_rate(tmp_path: Path, refused: Callable[..., str]) -> None:
    make(tmp_path, 8000)
    assert "8000 Hz, the dataset has 16000 Hz" in refused("speech-commands-35", tmp_path)
