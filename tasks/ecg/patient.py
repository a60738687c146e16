"""Simulated patients: one draw of anatomy, conduction, ischaemia and rhythm, several records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.ecg.dipole import DOWER, QRS, ST, Beat, P, T, extents, mean_beat, rotation

Array = NDArray[Any]

RHYTHMS = ("sinus", "bradycardia", "tachycardia", "afib", "flutter", "pac", "pvc")
_RHYTHM_SHARE = np.array([0.21, 0.12, 0.12, 0.17, 0.12, 0.13, 0.13])
INJURY = {  # direction of the injury current by territory
    "anterior": (0.25, 0.0, -1.0),
    "inferior": (-0.15, 1.0, 0.1),
    "lateral": (1.0, 0.15, 0.15),
}
SUBENDOCARDIAL = (-1.0, -0.6, 0.25)  # away from the apex: depression in V4 to V6, I and II


@dataclass(frozen=True)
class Patient:
    """Everything that is the same in all records of one patient.

    `beat`, `pac`, `pvc` are the forms of beats without ST shift; `injury` the unit direction of the
    ST shift (largest projection on a lead = 1) and `shift` its typical size in mV, positive for
    elevation, negative for depression, 0 for none. `qrs` is the duration of the QRS complex and
    `j_point` its end after the R peak, both in s.
    """

    beat: Beat
    pac: Beat
    pvc: Beat
    injury: Array
    shift: float
    rhythm: str
    variability: float
    fibrillation: tuple[float, float]  # f-wave mV, spread of RR
    mains_hz: float
    qrs: float
    j_point: float


def _lognormal(rng: np.random.Generator, spread: float, size: Any = None) -> Any:
    return np.exp(spread * rng.normal(size=size))


def _turned(beat: Beat, matrix: Array, *waves: int) -> Beat:
    mask = beat.of(*waves)[:, None]
    return replace(beat, vector=np.where(mask, beat.vector @ matrix.T, beat.vector))


def _scaled(beat: Beat, gain: float, *waves: int) -> Beat:
    return replace(beat, vector=np.where(beat.of(*waves)[:, None], gain * beat.vector, beat.vector))


def _timed(beat: Beat, factor: float, shift: float, *waves: int) -> Beat:
    """Times and widths of some waves multiplied, then times shifted (s)."""
    mask = beat.of(*waves)
    return replace(
        beat,
        centre=np.where(mask, beat.centre * factor + shift, beat.centre),
        width=np.where(mask, beat.width * factor, beat.width),
    )


def _anatomy(rng: np.random.Generator) -> Beat:
    """A narrow normal beat: the mean beat with gains, axes, intervals and widths of one person."""
    beat = mean_beat()
    count = len(beat.wave)
    beat = replace(
        beat,
        vector=beat.vector * _lognormal(rng, 0.15, (count, 1)),
        width=beat.width * _lognormal(rng, 0.08, count),
    )
    for wave, gain, turn in ((P, 0.3, 12), (QRS, 0.25, 14), (T, 0.35, 14), (ST, 0.5, 14)):
        matrix = rotation(rng.normal(0, turn, 3) * [0.7, 1.0, 1.2])
        beat = _scaled(_turned(beat, matrix, wave), float(_lognormal(rng, gain)), wave)
    beat = _timed(beat, float(np.clip(rng.normal(1.2, 0.08), 1.0, 1.42)), 0.0, QRS)
    beat = _timed(beat, float(np.clip(rng.normal(1.06, 0.06), 0.9, 1.25)), 0.0, T, ST)
    return _timed(beat, 1.0, float(np.clip(rng.normal(-0.012, 0.02), -0.08, 0.025)), P)


def _blocked(rng: np.random.Generator, beat: Beat) -> Beat:
    """The beat with a bundle branch block (left or right) or unspecific delay of some severity.

    Activation is stretched and slurred, with late forces towards the ventricle reached last and
    a T wave turned against them.
    """
    kind = rng.choice(["left", "right", "unspecific"], p=[0.35, 0.35, 0.3])
    severity = float(rng.uniform(0.25, 1.2))
    size = severity * float(_lognormal(rng, 0.2))
    if kind == "left":
        septal = (beat.of(QRS) & (beat.centre < -0.02))[:, None]
        beat = replace(
            beat, vector=np.where(septal, (1 - 1.2 * severity) * beat.vector, beat.vector)
        )
        beat = _timed(beat, 1 + 0.5 * severity, 0.0, QRS)
        late = [(0.03, 0.016, (0.55, 0.05, 0.5)), (0.062, 0.018, (0.5, 0.05, 0.4))]
        repolarised, st = (-0.35, -0.05, -0.3), (-0.05, 0.0, -0.1)
    elif kind == "right":
        beat = _timed(beat, 1 + 0.15 * severity, 0.0, QRS)
        late = [(0.055, 0.012, (-0.45, 0.05, -0.5)), (0.082, 0.016, (-0.4, 0.0, -0.55))]
        repolarised, st = (0.05, 0.0, 0.3), (0.0, 0.0, 0.03)
    else:
        beat = _timed(beat, 1 + 0.45 * severity, 0.0, QRS)
        direction = rng.normal(0, 0.25, 3) + np.array([0.2, 0.0, 0.2])
        late = [(0.06, 0.018, tuple(direction))]
        repolarised, st = tuple(-0.4 * direction), (0.0, 0.0, 0.0)
    scaled = [(t, w, tuple(size * np.array(v))) for t, w, v in late]
    centre = float(beat.centre[beat.of(T)].mean())
    beat = _timed(_scaled(beat, 1 - 0.35 * min(severity, 1.0), T), 1.0, 0.02 * severity, T, ST)
    beat = beat.joined(QRS, scaled)
    beat = beat.joined(T, [(centre + 0.02, 0.035, tuple(size * np.array(repolarised)))])
    return beat.joined(ST, [(0.13, 0.04, tuple(size * np.array(st)))])


def _premature_ventricular(rng: np.random.Generator, beat: Beat) -> Beat:
    """A wide complex from one ventricular focus: no P wave, T wave against the QRS complex."""
    axis = rng.normal(0, 1, 3)
    axis /= np.linalg.norm(axis)
    side = rng.normal(0, 1, 3) * 0.5
    size = float(rng.uniform(0.8, 1.6))
    width = float(rng.uniform(0.8, 1.25))
    late = [
        (-0.035 * width, 0.014 * width, tuple(size * 0.5 * (axis + side))),
        (0.0, 0.018 * width, tuple(size * axis)),
        (0.04 * width, 0.02 * width, tuple(size * (0.6 * axis - side))),
    ]
    silent = beat.without(P, QRS, T, ST).joined(QRS, late)
    return silent.joined(
        T, [(0.25, 0.045, tuple(-0.4 * size * axis)), (0.18, 0.05, tuple(-0.2 * size * axis))]
    )


def draw_patient(rng: np.random.Generator) -> Patient:
    """One patient; conduction, ST shift and rhythm are independent of each other."""
    beat = _anatomy(rng)
    narrow = beat
    if rng.random() < 0.3:
        beat = _blocked(rng, beat)
    pac = _turned(beat, rotation(rng.normal(0, 50, 3)), P)  # another atrial focus
    pac = _timed(pac, 1.0, float(rng.uniform(-0.01, 0.03)), P)
    kind = rng.choice(["none", "elevation", "depression"], p=[0.5, 0.25, 0.25])
    size = 0.14 * float(_lognormal(rng, 0.55))
    injury = np.array(list(INJURY.values())[int(rng.integers(3))])
    if kind == "depression":
        injury = -np.array(SUBENDOCARDIAL)  # times a negative shift
    injury = injury @ rotation(rng.normal(0, 12, 3)).T
    shift = {"none": 0.0, "elevation": size, "depression": -size}[str(kind)]
    onset, j_point = extents(beat, np.ones(1))[0, QRS]
    return Patient(
        beat=beat,
        pac=pac,
        pvc=_premature_ventricular(rng, narrow),
        injury=injury / float((DOWER @ injury).max()),
        shift=shift,
        rhythm=str(rng.choice(RHYTHMS, p=_RHYTHM_SHARE)),
        variability=float(np.clip(0.035 * _lognormal(rng, 0.6), 0.01, 0.12)),
        fibrillation=(0.035 * float(_lognormal(rng, 0.5)), float(rng.uniform(0.07, 0.28))),
        mains_hz=float(rng.choice([50.0, 60.0])),
        qrs=float(j_point - onset),
        j_point=float(j_point),
    )


def shifted(beat: Beat, person: Patient, shift: float) -> Beat:
    """The beat with an ST shift of `shift` mV in the lead that sees it best.

    Two kernels make a plateau from the J point into the T wave.
    """
    vector = tuple(0.8 * shift * person.injury)
    middle = max(person.j_point, 0.045) + 0.045
    return beat.joined(ST, [(middle, 0.032, vector), (middle + 0.075, 0.045, vector)])
