"""CREMA-D: generated utterances of some of the actors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from tasks.audio.crema_d import EMOTIONS, actor_splits


def make(root: Path, rate: int = 16_000) -> Path:
    place = root / "CREMA-D"
    (place / "AudioWAV").mkdir(parents=True)
    generator = np.random.default_rng(0)
    splits = actor_splits()
    actors = [
        actor
        for split, number in (("train", 5), ("validation", 2), ("test", 3))
        for actor in [name for name in splits if splits[name] == split][:number]
    ]
    lines = ['"Stimulus_Number","Filename"']
    for actor in sorted(actors):
        for index, code in enumerate(EMOTIONS):
            for sentence in ("DFA", "IEO"):
                name = f"{actor}_{sentence}_{code}_{'XX' if sentence == 'DFA' else 'HI'}"
                lines.append(f'{len(lines)},"{name}"')
                time = np.arange(rate // 3) / rate
                wave = 0.3 * np.sin(2 * np.pi * 200 * 1.6**index * time)
                wave += generator.normal(0, 0.01, len(time))
                soundfile.write(place / f"AudioWAV/{name}.wav", wave, rate)
    lines.append(f'{len(lines)},"1006_TIE_NEU_XX"')  # listed, but not published
    (place / "SentenceFilenames.csv").write_text("\n".join(lines))
    return place


def test_actors_are_split_as_published() -> None:
    splits = actor_splits()
    sizes = {name: list(splits.values()).count(name) for name in ("train", "validation", "test")}
    assert sizes == {"train": 63, "validation": 9, "test": 19}
    order = np.random.RandomState(0).permutation(91)  # the same draws, made in another way
    assert {1001 + int(i) for i in order[72:]} == {int(a) for a in splits if splits[a] == "test"}


@pytest.mark.parametrize("indexed", [True, False])
def test_emotions(tmp_path: Path, score: Callable[..., Any], indexed: bool) -> None:
    place = make(tmp_path)
    if not indexed:
        (place / "SentenceFilenames.csv").unlink()
    data = load_task("crema-d", tmp_path).load()
    assert {s: len(d) for s, d in data.items()} == {"train": 60, "validation": 24, "test": 36}
    assert score("crema-d", tmp_path, "mfcc").metrics["accuracy"].value > 0.9


def test_damage(tmp_path: Path, refused: Callable[..., str]) -> None:
    place = make(tmp_path)
    first = min((place / "AudioWAV").iterdir())
    data = first.read_bytes()
    first.write_bytes(data[:500])
    assert "ends before its sound does" in refused("crema-d", tmp_path)
    first.unlink()
    assert f"{first.name} is missing" in refused("crema-d", tmp_path)
    (place / "SentenceFilenames.csv").unlink()
    first.with_name("1001_DFA_JOY_XX.wav").write_bytes(data)
    assert "'JOY' is not one of the 6 classes" in refused("crema-d", tmp_path)
    first.with_name("1001_DFA_JOY_XX.wav").unlink()
    first.with_name("2001_DFA_ANG_XX.wav").write_bytes(data)
    assert "'2001' is not one of the actors" in refused("crema-d", tmp_path)


def test_other_rate(tmp_path: Path, refused: Callable[..., str]) -> None:
    make(tmp_path, 8000)
    assert "8000 Hz, the dataset has 16000 Hz" in refused("crema-d", tmp_path)
