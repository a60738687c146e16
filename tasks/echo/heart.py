"""A beating left ventricle: shape, cardiac cycle and volumes by the method of discs.

The cavity is a truncated ellipsoid: apex at s = 0, widest at s = `WAIST`, cut by the mitral plane
at s = 1 of the long axis. Its four walls (two in the four-chamber plane, two in the orthogonal one)
move inwards by wall-specific amounts, with a regional defect in some patients, and the mitral
plane descends. Volumes are those of the biplane method of discs,
V = pi/4 * sum(D1 * D2) * L / n, which is how ejection fraction is measured clinically
(Lang et al., J Am Soc Echocardiogr 2015;28:1-39, doi:10.1016/j.echo.2014.10.003).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 unless said
WAIST = 0.62  # of the long axis, from the apex
DISCS = 200  # ten times the clinical 20, so that the sum is the integral to four digits
MOST_INWARD = 0.62  # mean inward motion of the walls that is ever drawn


@dataclass(frozen=True)
class Wall:
    """How one wall moves: fraction of inward motion, and where and how much of it is missing."""

    shortening: float
    defect: float  # 0 (normal) to 1 (akinetic)
    defect_at: float  # place of the defect along the long axis, 0 apex to 1 base

    def contraction(self, s: Array | float) -> Array:
        """Inward motion at end-systole as a fraction of the end-diastolic radius, at height `s`."""
        bump = np.exp(-(((np.asarray(s, np.float32) - self.defect_at) / 0.28) ** 2))
        return np.asarray(self.shortening * (1 - self.defect * bump), np.float32)


@dataclass(frozen=True)
class Heart:
    """One simulated patient's left ventricle and rhythm; lengths in mm, times in s."""

    length: float  # long axis at end-diastole
    radius: float  # at the waist, end-diastole
    ovality: float  # width of the orthogonal plane / width of the four-chamber plane
    wall: float  # thickness at end-diastole
    descent: float  # of the mitral plane at end-systole, fraction of `length`
    walls: tuple[Wall, Wall, Wall, Wall]  # septal, lateral, inferior, anterior
    rr: float  # mean beat-to-beat time
    irregularity: float  # coefficient of variation of the beat-to-beat times
    atrial_kick: float  # share of filling by the atrium; 0 in atrial fibrillation

    def long_axis(self, systole: Array | float) -> Array:
        """Length at `systole` in [0, 1] (0: end-diastole, 1: end-systole)."""
        return np.asarray(self.length * (1 - self.descent * np.asarray(systole)), np.float32)

    def volume(self, systole: Array | float, discs: int = DISCS) -> NDArray[np.float64]:
        """Cavity volume in ml by the biplane method of discs."""
        p = np.asarray(systole, np.float64)[..., None]
        s = (np.arange(discs) + 0.5) / discs
        radius = self.radius * profile(s)
        left, right, below, above = (1 - wall.contraction(s) * p for wall in self.walls)
        across = radius * (left + right)
        along = self.ovality * radius * (below + above)
        height = self.long_axis(p[..., 0]).astype(np.float64) / discs
        return np.asarray(np.pi / 4 * (across * along).sum(-1) * height / 1000)

    def ejection_fraction(self) -> float:
        """(EDV - ESV) / EDV in percent."""
        end_diastolic, end_systolic = self.volume(np.array([0.0, 1.0]))
        return float(100 * (end_diastolic - end_systolic) / end_diastolic)


def profile(s: NDArray[np.float64] | Array) -> NDArray[np.float64]:
    """Half-width of the cavity at height `s` over its half-width at the waist."""
    return np.sqrt(np.maximum(1 - ((s - WAIST) / WAIST) ** 2, 0.0))


def draw_heart(rng: np.random.Generator) -> Heart:
    """Draw a patient.

    Ejection fraction, size, wall thickness and rhythm are independent; the *mean* of the
    end-diastolic and end-systolic radius is what has a fixed distribution, so that a large or a
    small cavity in one frame says nothing of the function.
    """
    goal = float(np.clip(rng.normal(51, 14), 15, 78))
    longitudinal = rng.uniform(0.25, 0.85)  # descent over radial shortening: how the heart ejects
    regional = rng.random() < 0.35
    walls = []
    for _ in range(4):
        hurt = regional and rng.random() < 0.5
        defect = rng.uniform(0.4, 1.0) if hurt else 0.0
        walls.append(Wall(rng.uniform(0.75, 1.25), defect, rng.uniform(0.0, 0.9)))
    fibrillation = rng.random() < 0.15
    heart = Heart(
        length=1.0,
        radius=1.0,
        ovality=rng.uniform(0.85, 1.1),
        wall=rng.uniform(7.5, 12.0),
        descent=longitudinal,
        walls=(walls[0], walls[1], walls[2], walls[3]),
        rr=60 / rng.uniform(48, 105),
        irregularity=rng.uniform(0.12, 0.28) if fibrillation else rng.uniform(0.01, 0.05),
        atrial_kick=0.0 if fibrillation else rng.uniform(0.1, 0.35),
    )
    trials = np.linspace(0.0, MOST_INWARD, 8)
    fractions = [_scaled(heart, float(k)).ejection_fraction() for k in trials]
    heart = _scaled(heart, float(np.interp(goal, fractions, trials)))
    inward = float(np.mean([wall.contraction(WAIST) for wall in heart.walls]))
    return replace(
        heart,
        length=rng.uniform(68, 92) / (1 - heart.descent / 2),
        radius=rng.uniform(16.5, 25.0) / (1 - inward / 2),
    )


def _scaled(heart: Heart, inward: float) -> Heart:
    """The heart with all its motions multiplied, within what muscle can do."""
    septal, lateral, inferior, anterior = (
        replace(wall, shortening=min(wall.shortening * inward, 0.8)) for wall in heart.walls
    )
    walls = (septal, lateral, inferior, anterior)
    return replace(heart, walls=walls, descent=min(heart.descent * inward, 0.35))


def systole_curve(heart: Heart, times: NDArray[np.float64], rng: np.random.Generator) -> Array:
    """Degree of contraction at `times`: 0 at end-diastole, 1 at end-systole; starts anywhere.

    Ejection lasts about 0.33 s * sqrt(RR) (Bazett's relation); then isovolumic relaxation, rapid
    filling, diastasis, and the atrial contraction, which atrial fibrillation lacks.
    """
    count = int(np.ceil(times[-1] / heart.rr)) + 8
    beats = heart.rr * np.clip(rng.normal(1, heart.irregularity, count), 0.55, 1.6)
    starts = np.cumsum(beats) - beats[0]
    times = times + rng.uniform(0, beats[0])
    which = np.searchsorted(starts, times, side="right") - 1
    since, rr = times - starts[which], beats[which]
    ejection = np.minimum(0.33 * np.sqrt(rr), 0.5 * rr)
    hold, filling, atrial = 0.06, 0.20, 0.12
    shrink = np.minimum((rr - ejection) / (hold + filling + atrial), 1.0)
    relaxed = ejection + hold * shrink
    filled = relaxed + filling * shrink
    kick = rr - atrial * shrink
    value = np.select(
        [since < ejection, since < relaxed, since < filled, since < kick],
        [
            _ease(since / ejection),
            np.ones_like(since),
            1 - (1 - heart.atrial_kick) * _ease((since - relaxed) / (filled - relaxed)),
            np.full_like(since, heart.atrial_kick),
        ],
        heart.atrial_kick * (1 - _ease((since - kick) / (rr - kick))),
    )
    return np.asarray(value, np.float32)


def mitral_opening(systole: Array) -> Array:
    """Opening of the mitral valve in [0, 1]: open while the ventricle fills."""
    change = np.gradient(systole) if len(systole) > 1 else np.zeros(1)
    filling = (change < -0.02) | ((systole > 0.02) & (systole < 0.5) & (change < 0.02))
    return np.where(filling, 1.0, 0.15).astype(np.float32)


def _ease(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0, 1))
