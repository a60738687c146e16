"""ESC-50 and ESC-10: the real ten classes, and generated clips in the published layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task, task_card
from benchmark.datacheck import check_task

HEADER = "filename,fold,target,category,esc10,src_file,take"
CLASSES = {"dog": (300, True), "rooster": (900, True), "pig": (2500, False)}


def make(root: Path, folder: str = "ESC-50-master", ending: str = "\r\n") -> Path:
    lines = [HEADER]
    place = root / folder
    (place / "audio").mkdir(parents=True)
    (place / "meta").mkdir()
    generator = np.random.default_rng(0)
    for fold in range(1, 6):
        for target, (name, (pitch, subset)) in enumerate(CLASSES.items()):
            for take in "AB":
                file = f"{fold}-{1000 * fold + target}-{take}-{target}.wav"
                source = 1000 * fold + target
                lines.append(f"{file},{fold},{target},{name},{subset},{source},{take}")
                time = np.arange(22_050) / 44_100
                wave = 0.3 * np.sin(2 * np.pi * pitch * time) + generator.normal(0, 0.01, 22_050)
                soundfile.write(place / "audio" / file, wave, 44_100)
    (place / "meta/esc50.csv").write_bytes(("\ufeff" + ending.join(lines) + ending).encode())
    return place


@pytest.mark.long
def test_both_tasks(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    assert {s: len(d) for s, d in load_task("esc50", tmp_path).load().items()} == {
        f"fold-{k}": 6 for k in range(1, 6)
    }
    assert {s: len(d) for s, d in load_task("esc10", tmp_path).load().items()} == {
        f"fold-{k}": 4 for k in range(1, 6)
    }
    assert score("esc50", tmp_path, "mfcc").metrics["accuracy"].value > 0.9
    found = findings("esc50", tmp_path)
    assert found["groups"].passed
    assert found["duplicates"].passed


def test_the_subset_has_the_classes_of_the_whole() -> None:
    whole, subset = task_card("esc50").target, task_card("esc10").target
    assert len(whole.classes) == 50
    assert set(subset.classes) < set(whole.classes)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("category", "name"), "no column 'category'"),
        (lambda text: text.replace(",pig,", ",swine,", 1), "'swine' is not one of the 50"),
        (lambda text: text.replace(".wav,5,", ".wav,6,", 1), "there is no fold '6'"),
        (lambda text: text.replace("1-1000-B-0", "1-1000-A-0"), "1-1000-A-0"),
        (lambda text: text.replace(",2000,", ",1000,"), "1000"),
        (lambda text: text.replace("1-1000-B-0", "1-1000-C-0"), r"1-1000-C-0.wav is missing"),
        (lambda text: "\n".join(x for x in text.splitlines() if ".wav,5" not in x), "fold-5"),
    ],
)
def test_damaged_index(
    tmp_path: Path, refused: Callable[..., str], damage: Callable[[str], str], message: str
) -> None:
    index = make(tmp_path) / "meta/esc50.csv"
    index.write_text(damage(index.read_text(encoding="utf-8-sig")))
    assert message in refused("esc50", tmp_path)


def test_shortened_clip(tmp_path: Path, refused: Callable[..., str]) -> None:
    clip = make(tmp_path) / "audio/3-3001-A-1.wav"
    clip.write_bytes(clip.read_bytes()[:9000])
    assert "3-3001-A-1.wav ends before its sound does" in refused("esc50", tmp_path)


def test_other_rate(tmp_path: Path, refused: Callable[..., str]) -> None:
    soundfile.write(make(tmp_path) / "audio/3-3001-A-1.wav", np.zeros(8000), 16_000)
    told = refused("esc50", tmp_path)
    assert "3-3001-A-1.wav has a sampling rate of 16000 Hz, the dataset has 44100 Hz" in told


def test_the_check_goes_on_after_a_faulty_line(tmp_path: Path) -> None:
    index = make(tmp_path) / "meta/esc50.csv"
    text = index.read_text(encoding="utf-8-sig").replace("5-5002-B-2.wav,5,", "5-5002-B-2.wav,7,")
    text = text.replace("1-1000-A-0.wav,1,", "1-1000-A-0.wav,6,").replace(",pig,", ",swine,", 1)
    index.write_text(text)
    (index.parents[1] / "audio/3-3001-A-1.wav").unlink()
    problems = [f.detail for f in check_task(load_task("esc50", tmp_path)) if not f.passed]
    for words in ("1-1000-A-0.wav: there is no fold '6'", "5-5002-B-2.wav: there is no fold '7'",
                  "'swine' is not one of", "3-3001-A-1.wav is missing"):  # fmt: skip
        assert sum(words in problem for problem in problems) == 1, (words, problems)


def test_no_dataset(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert "data fetch esc10" in refused("esc10", tmp_path)


@pytest.mark.long
@pytest.mark.shared_data
def test_real(shared_data: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    """MFCC means with logistic regression give 0.78; `mfcc` has more statistics."""
    assert 0.80 < score("esc10", shared_data, "mfcc").metrics["accuracy"].value < 0.93
    found = findings("esc10", shared_data)
    assert all(found[check].passed for check in ("files", "examples", "labels", "groups"))
