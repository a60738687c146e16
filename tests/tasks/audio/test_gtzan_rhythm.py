"""GTZAN-Rhythm: clicks with their times as JAMS and as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmark.catalog import load_task
from benchmark.prepare import read_row

RATE = 22_050
LISTS = {"train": range(8), "valid": range(8, 11), "test": range(11, 14)}
TASK = "gtzan-rhythm-beats"


def clicks(path: Path, times: list[float], seconds: float, seed: int) -> None:
    """Short noise bursts in quiet noise."""
    generator = np.random.default_rng(seed)
    wave = generator.normal(0, 0.003, int(seconds * RATE))
    for time in times:
        start = int(time * RATE)
        burst = wave[start : start + 800]
        burst += generator.normal(0, 0.3, len(burst))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE, subtype="PCM_16")


def jams(times: list[float]) -> str:
    """As in the published files: beats, downbeats and more in one document."""

    def annotation(kind: str, namespace: str, found: list[float]) -> dict[str, Any]:
        data = [{"time": t, "duration": 0.0, "value": 1, "confidence": None} for t in found]
        return {"namespace": namespace, "sandbox": {"annotation_type": kind}, "data": data}

    return json.dumps(
        {
            "annotations": [
                annotation("tempo mean", "tempo", [0.0]),
                annotation("downbeat", "beat", times[::4]),
                annotation("beat", "beat", times),
            ],
            "file_metadata": {"duration": 30.0},
            "sandbox": {},
        }
    )


def make(root: Path, text: bool = False, seconds: float = 9.0) -> Path:
    folder = root / "gtzan"
    generator = np.random.default_rng(1)
    for index in range(14):
        period = generator.uniform(0.4, 0.9)
        times = [round(float(t), 3) for t in np.arange(0.2, seconds - 0.2, period)]
        name = f"rock.{index:05d}"
        clicks(folder / "genres/rock" / f"{name}.wav", times, seconds, index)
        late = [*times, seconds + 1]  # annotated past the end
        if text:
            path = folder / "gtzan_tempo_beat-main/beats" / f"gtzan_rock_{index:05d}.beats"
            content = "".join(f"{t}\t{i % 4 + 1}\n" for i, t in enumerate(late))
        else:
            path = folder / "GTZAN-Rhythm_v2_ismir2015_lbd/jams" / f"{name}.wav.jams"
            content = jams(late)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name, indices in LISTS.items():
        lines = [f"rock/rock.{index:05d}.wav\n" for index in indices]
        (folder / f"{name}_filtered.txt").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("text", [False, True])
def test_both_kinds_of_annotation(tmp_path: Path, text: bool) -> None:
    make(tmp_path, text)
    data = load_task(TASK, tmp_path).load()
    assert [len(rows) for rows in data.values()] == [8, 3, 3]
    beats = read_row(data["train"], 0)["target"]
    assert beats.shape[1] == 3
    assert (beats[:, 0] < 9).all()
    assert len(beats) > 8
    assert np.allclose(np.diff(beats[:, 0]), np.diff(beats[:, 0])[0], atol=0.002)


def test_score(tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]) -> None:
    make(tmp_path)
    assert all(found.passed for found in findings(TASK, tmp_path).values())
    assert score(TASK, tmp_path, "mfcc").metrics["beat_f1"].value > 0.7


def test_old_jams(tmp_path: Path) -> None:
    """JAMS 0.2 writes observations as a dict of lists."""
    folder = make(tmp_path)
    path = folder / "GTZAN-Rhythm_v2_ismir2015_lbd/jams/rock.00000.wav.jams"
    document = json.loads(path.read_text())
    for annotation in document["annotations"]:
        annotation["data"] = {"time": [item["time"] for item in annotation["data"]]}
    before = read_row(load_task(TASK, tmp_path).load()["train"], 0)["target"]
    path.write_text(json.dumps(document))
    assert np.array_equal(read_row(load_task(TASK, tmp_path).load()["train"], 0)["target"], before)


def annotation(folder: Path) -> Path:
    return folder / "GTZAN-Rhythm_v2_ismir2015_lbd/jams/rock.00012.wav.jams"


def missing_annotation(folder: Path) -> None:
    annotation(folder).unlink()


def truncated_annotation(folder: Path) -> None:
    annotation(folder).write_text(annotation(folder).read_text()[:200])


def no_beats(folder: Path) -> None:
    annotation(folder).write_text(jams([]))


def not_a_time(folder: Path) -> None:
    annotation(folder).write_text(jams([0.5, float("nan")]))


def missing_sound(folder: Path) -> None:
    (folder / "genres/rock/rock.00012.wav").unlink()


def no_annotations(folder: Path) -> None:
    for path in annotation(folder).parent.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (missing_annotation, ["rock.00012.wav.jams", "missing", "again"]),
        (truncated_annotation, ["rock.00012.wav.jams", "cannot be read", "again"]),
        (no_beats, ["rock.00012.wav.jams", "no beats", "again"]),
        (not_a_time, ["rock.00012.wav.jams", "again"]),
        (missing_sound, ["rock.00012.wav", "missing", "again"]),
        (no_annotations, ["jams", "data fetch"]),
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
