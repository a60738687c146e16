"""FSD50K: generated clips in the published layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task, task_card
from benchmark.prepare import read_row

RATE = 44_100
LABELS = {300: "Bark,Dog,Animal", 1200: "Meow,Cat,Animal", 4000: "Fart"}


def make(root: Path, rate: int = RATE) -> Path:
    place = root / "FSD50K"
    (place / "FSD50K.ground_truth").mkdir(parents=True)
    generator = np.random.default_rng(0)
    number = 1000
    for part, splits in (("dev", ["train"] * 6 + ["val"] * 4), ("eval", [""] * 6)):
        (place / f"FSD50K.{part}_audio").mkdir()
        lines = ["fname,labels,mids,split" if part == "dev" else "fname,labels,mids"]
        for split in splits:
            for pitch, labels in LABELS.items():
                number += 1
                mids = ",".join(f"/m/{name}" for name in labels.split(","))
                end = f",{split}" if part == "dev" else ""
                lines.append(f'{number},"{labels}","{mids}"{end}')
                time = np.arange(rate // 3) / rate
                wave = 0.3 * np.sin(2 * np.pi * pitch * time)
                wave += generator.normal(0, 0.01, len(time))
                soundfile.write(place / f"FSD50K.{part}_audio/{number}.wav", wave, rate)
        (place / f"FSD50K.ground_truth/{part}.csv").write_text("\n".join(lines))
    return place


def test_labels_and_score(tmp_path: Path, score: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("fsd50k", tmp_path).load()
    assert {s: len(d) for s, d in data.items()} == {"train": 18, "validation": 12, "test": 18}
    classes = task_card("fsd50k").target.classes
    assert len(set(classes)) == 200
    target = read_row(data["test"], 0)["target"]
    assert {classes[i] for i in np.flatnonzero(target)} == {"Bark", "Dog", "Animal"}
    assert score("fsd50k", tmp_path, "mfcc").metrics["macro_ap"].value > 0.9


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("dev", lambda text: text.replace("split", "part"), "no column 'split'"),
        ("dev", lambda text: text.replace(",train", ",training", 1), "neither train nor val"),
        ("dev", lambda text: text.replace("1001,", "1002,"), "1002"),
        ("eval", lambda text: text.replace("Fart", "Burp", 1), "'Burp' is not one of the 200"),
        ("eval", lambda text: text.replace("1031,", "9999,"), "9999.wav is missing"),
        ("eval", lambda text: text.replace("1031,", "1001,"), "1001"),
        ("dev", lambda text: text.replace(",val", ",train"), "validation"),
    ],
)
def test_damaged_index(
    tmp_path: Path,
    refused: Callable[..., str],
    file: str,
    damage: Callable[[str], str],
    message: str,
) -> None:
    index = make(tmp_path) / f"FSD50K.ground_truth/{file}.csv"
    index.write_text(damage(index.read_text()))
    assert message in refused("fsd50k", tmp_path)


def test_other_rate(tmp_path: Path, refused: Callable[..., str]) -> None:
    make(tmp_path, 22_050)
    assert "22050 Hz, the dataset has 44100 Hz" in refused("fsd50k", tmp_path)
