"""Free Spoken Digit Dataset: the real takes 0 to 9, and damage to generated ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from benchmark.datacheck import check_task

SPEAKERS = ("theo", "anna_maria", "george", "jackson", "lucas", "nicolas")


def make(root: Path, rate: int = 8000) -> Path:
    place = root / "free-spoken-digit-dataset/recordings"
    place.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for speaker in SPEAKERS:
        for digit in range(10):
            for take in range(2):
                time = np.arange(rate // 4) / rate
                wave = 0.3 * np.sin(2 * np.pi * 150 * 1.4**digit * time)
                wave += generator.normal(0, 0.01, len(time))
                soundfile.write(place / f"{digit}_{speaker}_{take}.wav", wave, rate)
    return place


def test_folds_are_speakers_by_name(tmp_path: Path, score: Callable[..., Any]) -> None:
    make(tmp_path)
    data = load_task("fsdd", tmp_path).load()
    assert [set(rows["group"]) for rows in data.values()] == [{s} for s in sorted(SPEAKERS)]
    assert score("fsdd", tmp_path, "mfcc").metrics["accuracy"].value > 0.9


def test_damage(tmp_path: Path, refused: Callable[..., str]) -> None:
    place = make(tmp_path)
    path = place / "3_theo_1.wav"
    data = path.read_bytes()
    path.write_bytes(data[:1000])
    assert "3_theo_1.wav ends before its sound does" in refused("fsdd", tmp_path)
    path.unlink()
    (place / "8_theo_1.wav").rename(place / "12_theo_1.wav")
    told = refused("fsdd", tmp_path)
    assert "lacks 3_theo_1.wav, 8_theo_1.wav, while other recordings go up to take 1" in told
    found = check_task(load_task("fsdd", tmp_path))
    missing, label = (finding.detail for finding in found if finding.check == "examples")
    assert missing == told
    assert "'12' is not one of 10 classes" in label
    (place / "12_theo_1.wav").rename(place / "3_zoe_1.wav")
    assert "has 7 speakers" in refused("fsdd", tmp_path)


def test_other_rate(tmp_path: Path, refused: Callable[..., str]) -> None:
    make(tmp_path, 16_000)
    assert "16000 Hz, the dataset has 8000 Hz" in refused("fsdd", tmp_path)


@pytest.mark.long
@pytest.mark.shared_data
def test_real(shared_data: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    """MFCC with logistic regression give 0.66 on unseen speakers, 0.97 where speakers leak."""
    assert 0.6 < score("fsdd", shared_data, "mfcc").metrics["accuracy"].value < 0.85
    found = findings("fsdd", shared_data)
    assert all(found[check].passed for check in ("files", "examples", "labels", "groups"))
