"""VoxCeleb1: generated recordings below the published lists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task, task_card
from benchmark.prepare import read_row

SPEAKERS = {"id10001": 200, "id10002": 700, "id10270": 1800, "id10271": 4000}
PARTS = {"1": ("aaa", "bbb", "ccc", "ddd", "eee"), "2": ("fff",), "3": ("ggg", "hhh")}


def make(root: Path, apart: bool = False, rate: int = 16_000) -> Path:
    place = root / "VoxCeleb1"
    generator = np.random.default_rng(0)
    lines, tested = [], []
    for speaker, pitch in SPEAKERS.items():
        part = ("test/wav" if speaker >= "id10270" else "dev/wav") if apart else "wav"
        for number, videos in PARTS.items():
            for video in videos:
                for piece in (1, 2):
                    name = f"{speaker}/{video}/{piece:05d}.wav"
                    path = place / part / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    time = np.arange(rate // 3) / rate
                    wave = 0.3 * np.sin(2 * np.pi * pitch * time)
                    soundfile.write(path, wave + generator.normal(0, 0.01, len(time)), rate)
                    lines.append(f"{number} {name}")
                    if number == "3" and speaker >= "id10270":
                        tested.append(name)
    (place / "iden_split.txt").write_text("\n".join(lines))
    trials = [
        f"{int(a[:7] == b[:7])} {a} {b}" for i, a in enumerate(tested) for b in tested[i + 1 :]
    ]
    (place / "veri_test2.txt").write_text("\r\n".join(trials) + "\r\n")
    return place


@pytest.mark.long
@pytest.mark.parametrize("apart", [True, False])
def test_identification(tmp_path: Path, score: Callable[..., Any], apart: bool) -> None:
    make(tmp_path, apart)
    assert len(task_card("voxceleb1-identification").target.classes) == 1251
    data = load_task("voxceleb1-identification", tmp_path).load()
    assert {s: len(d) for s, d in data.items()} == {"train": 40, "validation": 8, "test": 16}
    assert data["validation"]["group"][0] == "id10001/fff"
    result = score("voxceleb1-identification", tmp_path, "mfcc")
    assert result.metrics["accuracy"].value > 0.9


def test_verification(tmp_path: Path, score: Callable[..., Any]) -> None:
    make(tmp_path, apart=True)
    data = load_task("voxceleb1-verification", tmp_path).load()
    assert {s: len(d) for s, d in data.items()} == {"test": 8}
    rows = [read_row(data["test"], i) for i in range(8)]
    assert sum(len(row["target"]) for row in rows) == 28
    for row in rows:
        for other, same in row["target"]:
            assert same == (rows[other]["group"] == row["group"])
    result = score("voxceleb1-verification", tmp_path, "mfcc", protocol="verification")
    assert result.metrics["eer"].value < 0.1


@pytest.mark.parametrize(
    ("task", "file", "damage", "message"),
    [
        ("identification", "iden_split.txt", ("1 id10002", "4 id10002"), "no split is called '4'"),
        ("identification", "iden_split.txt", ("1 id10002", "1,id10002"), "has not 2 entries"),
        ("identification", "iden_split.txt", ("3 id10001/ggg/00002", "2 id10001/ggg/00002"), "ggg"),
        ("identification", "iden_split.txt", ("bbb/00001", "bbb/00002"), "bbb/00002"),
        ("identification", "iden_split.txt", ("bbb/00001", "bbb/00009"), "00009.wav is missing"),
        ("identification", "iden_split.txt", ("id10002", "id20002"), "'id20002' is not one of"),
        ("verification", "veri_test2.txt", ("1 id10270", "2 id10270"), "marked '2' and not 0 or 1"),
        ("verification", "veri_test2.txt", ("hhh/00002", "hhh/00009"), "00009.wav is missing"),
        ("verification", "veri_test2.txt", ("1 id10270", "id10270"), "has not 3 entries"),
    ],
)  # fmt: skip
def test_damaged_list(
    tmp_path: Path,
    refused: Callable[..., str],
    task: str,
    file: str,
    damage: tuple[str, str],
    message: str,
) -> None:
    path = make(tmp_path) / file
    path.write_text(path.read_text().replace(*damage))
    assert message in refused(f"voxceleb1-{task}", tmp_path)


@pytest.mark.parametrize("task", ["identification", "verification"])
def test_damaged_recording(tmp_path: Path, refused: Callable[..., str], task: str) -> None:
    path = make(tmp_path) / "wav/id10270/hhh/00001.wav"
    path.write_bytes(path.read_bytes()[:700])
    assert "00001.wav ends before its sound does" in refused(f"voxceleb1-{task}", tmp_path)


def test_other_rate(tmp_path: Path, refused: Callable[..., str]) -> None:
    make(tmp_path, rate=8000)
    assert "8000 Hz, the dataset has 16000 Hz" in refused("voxceleb1-verification", tmp_path)
