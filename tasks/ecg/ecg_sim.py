"""Simulated 12-lead ECGs: rhythm, findings and the delineation of P, QRS and T.

`record` draws one record of a patient; the model is in `dipole`, `rhythm`, `patient` and `noise`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmark.inputs import STANDARD_LEADS
from benchmark.task import Task
from tasks.ecg import dipole, noise, patient, rhythm
from tasks.ecg.dipole import DOWER, QRS, Array, P, T
from tasks.ecg.patient import RHYTHMS, Patient

FINDINGS = (
    "afib",
    "pvc",
    "wide-qrs",
    "st-elevation",
    "st-depression",
    "bradycardia",
    "tachycardia",
)
SAMPLE_RATE = 500
WIDE_QRS_SECONDS = 0.12
ST_SHIFT_MV = 0.1
SLOW, FAST = 60, 100  # beats per minute


def draw_rhythm(
    rng: np.random.Generator, person: Patient, name: str, seconds: float
) -> rhythm.Rhythm:
    """A rhythm of the wanted kind; a sinus rate near a limit may fall on its other side."""
    varied = person.variability * float(np.exp(0.3 * rng.normal()))
    if name == "afib":
        size, spread = person.fibrillation
        rate = float(np.clip(92 * np.exp(0.28 * rng.normal()), 46, 165))
        return rhythm.fibrillation(rng, rate, spread, size, seconds, SAMPLE_RATE)
    if name == "flutter":
        ratio = int(rng.choice([2, 3, 4, 0], p=[0.4, 0.15, 0.25, 0.2]))
        size = 0.07 * float(np.exp(0.45 * rng.normal()))
        atrial = float(rng.uniform(230, 330))
        return rhythm.flutter(rng, atrial, ratio, size, seconds, SAMPLE_RATE)
    if name in ("pac", "pvc"):
        kind = rhythm.PAC if name == "pac" else rhythm.PVC
        rate = float(np.clip(rng.normal(78, 16), 48, 120))
        return rhythm.ectopic(rng, rate, varied, seconds, kind, 0.2)
    rate = {
        "sinus": float(np.clip(rng.normal(78, 11), 57, 104)),
        "bradycardia": float(rng.uniform(38, 62)),
        "tachycardia": float(rng.uniform(97, 150)),
    }[name]
    return rhythm.sinus(rng, rate, varied, seconds)


def _with_pvcs(rng: np.random.Generator, beats: rhythm.Rhythm, seconds: float) -> rhythm.Rhythm:
    """One or two beats of another rhythm replaced by early ventricular ones."""
    inside = np.flatnonzero((beats.peaks > 0.8) & (beats.peaks < seconds - 0.5))
    intervals, kinds = beats.before.copy(), beats.kind.copy()
    for i in rng.choice(inside, int(rng.integers(1, 3))):
        early = max(float(intervals[i]) * rng.uniform(0.6, 0.85), 0.3)
        intervals[i + 1] += intervals[i] - early
        intervals[i] = early
        kinds[i] = rhythm.PVC
    peaks = beats.peaks[0] - beats.before[0] + np.cumsum(intervals)
    return rhythm.Rhythm(peaks, kinds, intervals, beats.atrial)


def record(
    person: Patient, rng: np.random.Generator, seconds: float = 10.0, waves: bool = False
) -> dict[str, Any]:
    """One record: `signal` (12, T) float16 mV, `rhythm` index, `findings` (7,) and, where asked
    for, `waves` (n, 3)."""
    name = person.rhythm if rng.random() < 0.7 else str(rng.choice(RHYTHMS))
    beats = draw_rhythm(rng, person, name, seconds)
    if name == "afib" and rng.random() < 0.2:
        beats = _with_pvcs(rng, beats, seconds)
    rate = beats.rate(seconds)
    if name in ("sinus", "bradycardia", "tachycardia"):
        name = "bradycardia" if rate < SLOW else "tachycardia" if rate > FAST else "sinus"
    shift = person.shift * float(np.exp(0.35 * rng.normal()))
    turn = dipole.rotation(rng.normal(0, 4, 3))  # the electrodes are never placed twice the same
    forms = {
        rhythm.NORMAL: patient.shifted(person.beat, person, shift),
        rhythm.PAC: patient.shifted(person.pac, person, shift),
        rhythm.PVC: person.pvc,
    }
    if beats.atrial is not None:
        forms = {kind: form.without(P) for kind, form in forms.items()}
    clean = _dipole(beats, forms, turn, rng, seconds)
    levels = noise.NoiseLevels.draw(rng, person.mains_hz)
    disturbance = noise.lead_noise(rng, levels, clean.shape[1], SAMPLE_RATE)
    inside = (beats.peaks > 0) & (beats.peaks < seconds)
    findings = {
        "afib": name == "afib",
        "pvc": bool((beats.kind[inside] == rhythm.PVC).any()),
        "wide-qrs": person.qrs >= WIDE_QRS_SECONDS,
        "st-elevation": shift >= ST_SHIFT_MV,
        "st-depression": shift <= -ST_SHIFT_MV,
        "bradycardia": rate < SLOW,
        "tachycardia": rate > FAST,
    }
    return {
        "signal": (DOWER @ clean + disturbance).astype(np.float16),
        "rhythm": RHYTHMS.index(name),
        "findings": np.array([findings[key] for key in FINDINGS], np.int64),
        "waves": _waves(beats, forms, seconds) if waves else None,
    }


def _dipole(
    beats: rhythm.Rhythm,
    forms: dict[int, dipole.Beat],
    turn: Array,
    rng: np.random.Generator,
    seconds: float,
) -> Array:
    """(3, T) float32 noise-free dipole in mV, breathing and varying a little from beat to beat."""
    length = round(seconds * SAMPLE_RATE)
    clean = np.zeros((3, length), np.float32)
    breath = 2 * np.pi * (rng.uniform(0.18, 0.35) * beats.peaks + rng.random())
    swing = np.sin(breath)
    gains = 1 + rng.uniform(0.0, 0.08) * swing + 0.02 * rng.normal(size=len(swing))
    tilt = np.deg2rad(rng.normal(0, 3, 3)) * swing[:, None]
    stretch = _stretch(beats)
    for kind, form in forms.items():
        chosen = beats.kind == kind
        vectors = np.broadcast_to(form.vector @ turn.T, (int(chosen.sum()), *form.vector.shape))
        vectors = vectors + np.cross(tilt[chosen][:, None, :], vectors)
        vectors = vectors * gains[chosen][:, None, None]
        dipole.add_beats(clean, SAMPLE_RATE, form, beats.peaks[chosen], stretch[chosen], vectors)
    if beats.atrial is not None:
        clean += (turn @ beats.atrial).astype(np.float32)
    return clean


def _stretch(beats: rhythm.Rhythm) -> Array:
    """QT factor of every beat: root of the RR interval, which follows changes with a delay."""
    usual = float(np.median(beats.before))
    return np.asarray(np.sqrt(np.clip(0.35 * beats.before + 0.65 * usual, 0.3, 1.6)))


def _waves(beats: rhythm.Rhythm, forms: dict[int, dipole.Beat], seconds: float) -> Array:
    """(n, 3) onset s, offset s, class of the waves in the record, cut at its ends."""
    stretch = _stretch(beats)
    spans = np.full((len(beats.peaks), 3, 2), np.nan)
    for kind, form in forms.items():
        chosen = beats.kind == kind
        if chosen.any():
            spans[chosen] = (
                dipole.extents(form, stretch[chosen]) + beats.peaks[chosen][:, None, None]
            )
    # a beat's depolarisation ends what is left of the one before
    for earlier, later in pairwise(spans):
        begins = later[QRS, 0] if np.isnan(later[P, 0]) else later[P, 0]
        earlier[T, 1] = min(earlier[T, 1], begins)
    rows = [
        (max(on, 0.0), min(off, seconds), wave)
        for beat in spans
        for wave, (on, off) in enumerate(beat)
        if off > 0 and on < seconds and off - max(on, 0.0) > 0.01 and min(off, seconds) - on > 0.01
    ]
    return np.array(sorted(rows), np.float64).reshape(-1, 3)


class EcgSim(Task):
    """300 patients with 3 or 4 records of 10 s; target columns `rhythm` and `findings`."""

    source: ClassVar[str] = "ecg-sim"
    patients: ClassVar[int] = 300
    seconds: ClassVar[float] = 10.0
    seed: ClassVar[int] = 2003
    columns: ClassVar[tuple[str, ...]] = ("rhythm", "findings")
    shares: ClassVar[dict[str, tuple[float, float]]] = {
        "train": (0.0, 0.6),
        "validation": (0.6, 0.8),
        "test": (0.8, 1.0),
    }

    def files(self) -> list[Path]:
        return [Path(str(module.__file__)) for module in (dipole, noise, patient, rhythm)]

    def records(self, index: int) -> int:
        """How many records patient `index` has."""
        return 3 + index % 2

    def examples(self, split: str) -> Iterator[Mapping[str, Any]]:
        low, high = self.shares[split]
        for index in range(round(low * self.patients), round(high * self.patients)):
            person = patient.draw_patient(np.random.default_rng([self.seed, index]))
            for number in range(self.records(index)):
                rng = np.random.default_rng([self.seed, index, 1 + number])
                made = record(person, rng, self.seconds, waves="waves" in self.columns)
                yield {
                    "id": f"{index:04d}-{number}",
                    "group": f"patient-{index:04d}",
                    "input": {
                        "signal": made["signal"],
                        "sample_rate": SAMPLE_RATE,
                        "leads": list(STANDARD_LEADS),
                    },
                    **{column: made[column] for column in self.columns},
                }


class EcgSimWaves(EcgSim):
    """64 other patients with 3 records of 4 s; target column `waves`."""

    source: ClassVar[str] = "ecg-sim-waves"
    patients: ClassVar[int] = 64
    seconds: ClassVar[float] = 4.0
    seed: ClassVar[int] = 2007
    columns: ClassVar[tuple[str, ...]] = ("waves",)

    def records(self, index: int) -> int:
        """How many records patient `index` has."""
        return 3
