"""DESED: bursts of noise and tones with their times, in the layout of the `desed` package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from tasks.audio.desed import ARCHIVE, REPOSITORY

RATE = 16_000
SECONDS = 4
HEADER = "filename\tonset\toffset\tevent_label\n"
SOUNDS = {"Dog": 300, "Cat": 1500, "Frying": 5000}


def make(root: Path, base: str = ".", nested: bool = True) -> Path:
    """24 clips to learn from, 8 of the public evaluation set; every eighth without an event."""
    folder = root / "DESED" / base
    for part, clips in (("validation/validation", 24), ("eval/public", 8)):
        audio = folder / "audio" / (part if nested or part != "validation/validation"
                                    else "validation")  # fmt: skip
        audio.mkdir(parents=True, exist_ok=True)
        rows = []
        for index in range(clips):
            generator = np.random.default_rng(index + 1000 * len(part))
            video = f"{part[:4]}_{index:06d}"
            name = f"{'Y' if part[0] == 'v' else ''}{video}_30.000_40.000.wav"
            wave = generator.normal(0, 0.003, SECONDS * RATE)
            events = list(SOUNDS) if index % 8 else []
            for label in events:
                onset = round(float(generator.uniform(0.1, 2)), 3)
                offset = onset + round(float(generator.uniform(0.6, 1.8)), 3)
                time = np.arange(int(onset * RATE), int(offset * RATE)) / RATE
                wave[int(onset * RATE) : int(offset * RATE)] += 0.1 * np.sin(
                    2 * np.pi * SOUNDS[label] * time
                )
                rows.append(f"{name}\t{onset:.3f}\t{offset:.3f}\t{label}\n")
            if not events:
                rows.append(f"{name}\t\t\t\n")
            soundfile.write(audio / name, wave, RATE)
        table = folder / "metadata" / f"{part}.tsv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(HEADER + "".join(rows))
    return folder


@pytest.mark.long
def test_layout_and_scores(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    make(tmp_path)
    data = load_task("desed", tmp_path).load()
    assert {split: len(rows) for split, rows in data.items()} == {"train": 24, "test": 8}
    assert read_row(data["train"], 0)["target"].shape == (0, 3)
    assert read_row(data["train"], 1)["target"].shape == (3, 3)
    assert all(found.passed for found in findings("desed", tmp_path).values())
    metrics = score("desed", tmp_path, "mfcc").metrics
    assert metrics["event_macro_f1"].value > 0.15  # the three classes that occur are found
    assert 0 <= score("desed-psds", tmp_path, "mfcc").metrics["psds"].value <= 1


@pytest.mark.parametrize(("base", "nested"), [("dataset", True), ("real", False)])
def test_other_places(tmp_path: Path, base: str, nested: bool) -> None:
    make(tmp_path, base, nested)
    assert len(load_task("desed", tmp_path).load()["test"]) == 8


def test_all_but_the_validation_recordings_are_fetched(
    tmp_path: Path,
    fetched: Callable[..., None],
    findings: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy, new = make(tmp_path), tmp_path / "new"
    table, recordings = "metadata/validation/validation.tsv", "audio/validation/validation"
    moved = tmp_path / "from YouTube"
    (copy / recordings).rename(moved)
    files = {f"{REPOSITORY}/data/real/{table}": (copy / table).read_bytes(), ARCHIVE: copy}
    with pytest.raises(SystemExit):
        fetched("desed", files, new)
    told = " ".join(capsys.readouterr().out.split())
    assert "desed.download_audioset_data" in told
    assert "still lacks audio/validation/*.*" in told
    (new / "desed" / recordings).parent.mkdir(exist_ok=True)
    moved.rename(new / "desed" / recordings)
    fetched("desed", files, new)
    assert all(found.passed for found in findings("desed", new).values())


def test_video_in_both_sets(tmp_path: Path) -> None:
    """Clips to learn from whose video is tested are left out."""
    folder = make(tmp_path)
    table = folder / "metadata/validation/validation.tsv"
    name = "Yeval_000003_30.000_40.000.wav"
    table.write_text(table.read_text() + f"{name}\t0.000\t1.000\tDog\n")
    data = load_task("desed", tmp_path).load()
    assert len(data["train"]) == 24
    assert set(data["train"]["group"]).isdisjoint(data["test"]["group"])


def test_video_of_a_clip() -> None:
    from tasks.audio.desed import _video

    assert _video("Y00pbt6aJV8Y_350.000_360.000.wav") == "00pbt6aJV8Y"
    assert _video("1Ro0FgMWTUE_120_130.wav") == "1Ro0FgMWTUE"
    assert _video("Y-6p32k2WUCs_0.000_10.000.wav") == "-6p32k2WUCs"
    assert _video("Yabcdefghij_0_10.wav") == "Yabcdefghij"  # a video whose name begins with Y
    assert _video("YYabcdefghij_0_10.flac") == "Yabcdefghij"
    assert _video("17.wav") == "17.wav"


def replace(folder: Path, old: str, new: str) -> None:
    table = folder / "metadata/eval/public.tsv"
    table.write_text(table.read_text().replace(old, new))


NAME = "eval_000003_30.000_40.000.wav"


def missing(folder: Path) -> None:
    (folder / "audio/eval/public" / NAME).unlink()


def truncated(folder: Path) -> None:
    path = folder / "audio/eval/public" / NAME
    path.write_bytes(path.read_bytes()[:9000])


def no_column(folder: Path) -> None:
    replace(folder, "event_label", "label")


def unknown_label(folder: Path) -> None:
    replace(folder, "Cat", "Cow")


def backwards(folder: Path) -> None:
    table = folder / "metadata/eval/public.tsv"
    table.write_text(table.read_text() + f"{NAME}\t3.000\t2.000\tDog\n")


def not_a_number(folder: Path) -> None:
    table = folder / "metadata/eval/public.tsv"
    table.write_text(table.read_text() + f"{NAME}\tnan\t2.000\tDog\n")


def no_rows(folder: Path) -> None:
    (folder / "metadata/eval/public.tsv").write_text(HEADER)


def no_table(folder: Path) -> None:
    (folder / "metadata/eval/public.tsv").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing, [NAME, "missing", "again"]),
        (truncated, [NAME, "again"]),
        (no_column, ["public.tsv", "event_label", "again"]),
        (unknown_label, ["public.tsv", "Cow", "again"]),
        (backwards, ["public.tsv", NAME, "again"]),
        (not_a_number, ["public.tsv", "nan", "again"]),
        (no_rows, ["public.tsv", "again"]),
        (no_table, ["public.tsv", "data fetch"]),
    ],
)
def test_damage(
    tmp_path: Path,
    refused: Callable[..., str],
    damage: Callable[[Path], None],
    words: list[str],
) -> None:
    damage(make(tmp_path))
    text = refused("desed", tmp_path)
    assert all(word in text for word in words), text
