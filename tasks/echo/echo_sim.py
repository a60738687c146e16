"""Simulated echocardiograms: clips with known ejection fraction, and single frames with masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.task import Task
from tasks.echo import anatomy, heart, ultrasound

LOW_EF = 50.0  # percent; below it systolic function is called reduced
FRAMES, CLIP_SIZE, FRAME_SIZE = 20, 64, 96
PATIENTS = {"train": range(150), "validation": range(150, 190), "test": range(190, 270)}
FRAME_PATIENTS = {"train": range(80), "validation": range(80, 105), "test": range(105, 150)}
Video = NDArray[np.uint8]


def patient(source: int, number: int) -> heart.Heart:
    """The heart of patient `number` of data source `source` (1: clips, 2: frames)."""
    return heart.draw_heart(np.random.default_rng([source, number]))


def render(
    who: heart.Heart,
    view: str,
    times: NDArray[np.float64],
    systole: NDArray[np.float32],
    size: int,
    rng: np.random.Generator,
    masked: bool = True,
) -> tuple[Video, NDArray[np.uint8]]:
    """A clip and the cavity's mask, both (T, size, size) uint8; `times` in s.

    Without `masked` the masks are left out: (0, size, size).
    """
    pose = anatomy.draw_pose(view, who, times, rng)
    half_angle = (0.60, 0.66, 0.72)[rng.integers(3)]
    sector = ultrasound.Sector(size, half_angle, rng.uniform(140, 180))
    imager = ultrasound.Imager(sector, ultrasound.draw_settings(rng), rng)
    video, masks = [], [np.zeros((0, size, size), np.uint8)]
    for scene in anatomy.scenes(view, who, pose, systole, sector.positions()):
        video.append(imager.b_mode(scene.echogenicity, scene.material))
        if masked:
            inside = ultrasound.scan_convert(scene.cavity.astype(np.uint8) * 255, sector)
            masks.append((inside > 127).astype(np.uint8))
    return np.concatenate(video), np.concatenate(masks)


def clip(
    number: int, view: str, masked: bool = True
) -> tuple[Video, NDArray[np.uint8], float, heart.Heart]:
    """One clip of patient `number`: video, masks, frames per second, and the patient's heart."""
    who = patient(1, number)
    rng = np.random.default_rng([1, number, anatomy.VIEWS.index(view)])
    fps = float(np.round(rng.uniform(14, 24), 2))
    times = np.arange(FRAMES) / fps
    systole = heart.systole_curve(who, times, rng)
    video, masks = render(who, view, times, systole, CLIP_SIZE, rng, masked)
    return video, masks, fps, who


def second_view(number: int) -> str:
    """Which view patient `number` has besides the four-chamber one."""
    others = anatomy.VIEWS[1:]
    return others[number % len(others)]


class _Simulated(Task):
    def files(self) -> list[Path]:
        return [Path(str(module.__file__)) for module in (anatomy, heart, ultrasound)]


class EchoSimClips(_Simulated):
    """Two clips per patient: apical four-chamber, and one of the other views in turn.

    Label columns: `ef` (percent) and `low_ef` on four-chamber clips, `view` on the second clips
    and on every fourth patient's four-chamber clip, so that the five views are equally frequent.
    """

    source = "echo-sim"

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        for number in PATIENTS[split]:
            other = second_view(number)
            for view in ("A4C", other):
                video, _, fps, who = clip(number, view, masked=False)
                apical = view == "A4C"
                fraction = who.ejection_fraction()
                shown = not apical or other == "A2C"
                yield {
                    "id": f"p{number:03d}-{view}",
                    "group": f"p{number:03d}",
                    "input": {"video": video, "fps": fps},
                    "ef": fraction if apical else None,
                    "low_ef": int(fraction < LOW_EF) if apical else None,
                    "view": anatomy.VIEWS.index(view) if shown else None,
                }


class EchoSimFrames(_Simulated):
    """An end-diastolic and an end-systolic frame per patient with the cavity's mask (`lv`)."""

    source = "echo-sim-frames"

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        for number in FRAME_PATIENTS[split]:
            who = patient(2, number)
            rng = np.random.default_rng([2, number, 0])
            view = ("A4C", "A2C")[number % 2]
            for phase, moment in (("ed", 0.0), ("es", 1.0)):
                video, masks = render(
                    who, view, np.zeros(1), np.full(1, moment, np.float32), FRAME_SIZE, rng
                )
                yield {
                    "id": f"p{number:03d}-{phase}",
                    "group": f"p{number:03d}",
                    "input": {"video": video, "fps": 20.0},
                    "lv": masks[0],
                }
