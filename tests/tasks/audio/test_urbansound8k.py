"""UrbanSound8K: generated excerpts in the published layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from benchmark.prepare import read_row

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
CLASSES = {"air_conditioner": 200, "car_horn": 800, "siren": 2500}


def make(root: Path) -> Path:
    """Sampling rates, depths and channels differ, as in the publication."""
    place, lines = root / "UrbanSound8K", [HEADER]
    generator = np.random.default_rng(0)
    for fold in range(1, 11):
        (place / f"audio/fold{fold}").mkdir(parents=True)
        for number, (name, pitch) in enumerate(CLASSES.items()):
            for piece in range(2):
                recording = 100 * fold + number
                file = f"{recording}-{number}-0-{piece}.wav"
                lines.append(f"{file},{recording},0.0,0.4,1,{fold},{number},{name}")
                rate, channels = (44_100, 2) if fold % 2 else (22_050, 1)
                time = np.arange(int(0.4 * rate)) / rate
                wave = 0.3 * np.sin(2 * np.pi * pitch * time)[:, None].repeat(channels, 1)
                wave = wave + generator.normal(0, 0.01, wave.shape)
                subtype = ("PCM_16", "PCM_24", "FLOAT", "MS_ADPCM")[fold % 4]
                soundfile.write(place / f"audio/fold{fold}/{file}", wave, rate, subtype=subtype)
    (place / "metadata").mkdir()
    (place / "metadata/UrbanSound8K.csv").write_text("\n".join(lines))
    (place / "audio/.DS_Store").write_bytes(b"0")
    return place


@pytest.mark.long
def test_folds(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("urbansound8k", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {
        f"fold-{k}": 6 for k in range(1, 11)
    }
    row = read_row(data["fold-1"], 0)
    assert row["input"]["sample_rate"] == 44_100
    assert row["input"]["waveform"].shape == (17_640,)
    assert set(data["fold-2"]["group"]) == {"200", "201", "202"}
    assert score("urbansound8k", tmp_path, "mfcc").metrics["accuracy"].value > 0.9
    assert findings("urbansound8k", tmp_path)["groups"].passed


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("fsID", "id"), "no column 'fsID'"),
        (lambda text: text.replace(",siren", ",alarm", 1), "'alarm' is not one of the 10"),
        (lambda text: text.replace(",1,10,", ",1,11,", 1), "there is no fold '11'"),
        (lambda text: text.replace("100-0-0-1.wav,100", "100-0-0-2.wav,100"), "100-0-0-2.wav"),
        (lambda text: text.replace(".wav,200,", ".wav,100,"), "100"),
    ],
)
def test_damaged_index(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[str], str], message: str
) -> None:
    index = make(tmp_path) / "metadata/UrbanSound8K.csv"
    index.write_text(damage(index.read_text()))
    assert message in refused("urbansound8k", tmp_path)


def test_shortened_excerpt(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = make(tmp_path) / "audio/fold4/401-1-0-0.wav"
    path.write_bytes(path.read_bytes()[:2000])
    assert "401-1-0-0.wav ends before its sound does" in refused("urbansound8k", tmp_path)
