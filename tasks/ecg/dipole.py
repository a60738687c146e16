"""Sum-of-Gaussians cardiac dipole: the beat model behind the simulated ECGs.

A beat is a set of Gaussian kernels in three orthogonal (Frank) axes: x to the left, y to the feet,
z to the back. It is the closed form of the dynamical model of McSharry et al. (2003, IEEE Trans.
Biomed. Eng. 50:289, "ECGSYN"; neglecting the slow pull of z towards the baseline) generalised to a
dipole by Sameni et al. (2007, EURASIP J. Adv. Signal Process., article 43407), whose published
kernels are the mean beat here. The dipole is projected on the 12 leads by Dower's matrix (Dower et
al. 1980, Clin. Cardiol. 3:87). Angles of the models become seconds at 60 beats per minute; the
waves after the QRS complex stretch with the square root of the RR interval, as in ECGSYN.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

P, QRS, T, ST = 0, 1, 2, 3  # waves; ST is the segment between QRS and T, no wave of its own
WAVES = ("p", "qrs", "t")

# rows: I, II, III, aVR, aVL, aVF, V1 ... V6; columns: x, y, z
_INDEPENDENT = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}


def _dower() -> Array:
    one, two = np.array(_INDEPENDENT["I"]), np.array(_INDEPENDENT["II"])
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    return np.array(limbs + [_INDEPENDENT[f"V{i}"] for i in range(1, 7)], np.float32)


DOWER = _dower()  # (12, 3)

# angle (rad, R peak at 0), amplitude (mV), width (rad) of each axis, Sameni et al. 2007; the
# very broad kernels around pi and before the QRS complex (baseline shape) are left out
_SAMENI: dict[int, tuple[tuple[float, float, float], ...]] = {
    0: (
        (-1.09, 0.03, 0.0906),
        (-0.83, 0.08, 0.1057),
        (-0.19, -0.13, 0.0453),
        (-0.07, 0.85, 0.0378),
        (0.0, 1.11, 0.0332),
        (0.06, 0.75, 0.0302),
        (0.22, 0.06, 0.0378),
        (1.2, 0.1, 0.602),
        (1.42, 0.17, 0.302),
        (1.68, 0.39, 0.1812),
    ),
    1: (
        (-1.1, 0.035, 0.07),
        (-0.9, 0.015, 0.07),
        (-0.76, -0.019, 0.04),
        (-0.11, 0.32, 0.055),
        (-0.01, 0.51, 0.037),
        (0.065, -0.32, 0.0604),
        (0.8, 0.04, 0.45),
        (1.58, 0.08, 0.3),
    ),
    2: (
        (-1.1, -0.03, 0.03),
        (-0.93, -0.14, 0.12),
        (-0.7, -0.035, 0.04),
        (-0.15, -0.4, 0.045),
        (0.095, 0.46, 0.05),
        (1.05, -0.12, 0.8),
        (1.25, -0.2, 0.4),
        (1.55, -0.35, 0.2),
    ),
}


@dataclass(frozen=True)
class Beat:
    """Kernels of one form of beat: wave (K,), centre and width (K,) in s, vector (K, 3) in mV."""

    wave: Array
    centre: Array
    width: Array
    vector: Array

    def of(self, *waves: int) -> Array:
        """Mask (K,) of the kernels of some waves."""
        return np.asarray((self.wave[:, None] == np.array(waves)).any(1))

    def joined(self, wave: int, kernels: list[tuple[float, float, tuple[float, ...]]]) -> Beat:
        """With further kernels (centre s, width s, vector mV) of one wave."""
        return Beat(
            np.concatenate([self.wave, np.full(len(kernels), wave)]),
            np.concatenate([self.centre, [k[0] for k in kernels]]),
            np.concatenate([self.width, [k[1] for k in kernels]]),
            np.concatenate([self.vector, np.array([k[2] for k in kernels]).reshape(-1, 3)]),
        )

    def without(self, *waves: int) -> Beat:
        """With the amplitude of some waves set to zero."""
        return replace(self, vector=np.where(self.of(*waves)[:, None], 0.0, self.vector))


def mean_beat() -> Beat:
    """The published normal beat."""
    wave, centre, width, vector = [], [], [], []
    for axis, kernels in _SAMENI.items():
        for angle, amplitude, spread in kernels:
            late = ST if spread >= 0.45 else T
            wave.append(P if angle < -0.6 else QRS if angle < 0.5 else late)
            centre.append(angle / (2 * np.pi))
            width.append(spread / (2 * np.pi))
            vector.append(np.eye(3)[axis] * amplitude)
    return Beat(np.array(wave), np.array(centre), np.array(width), np.array(vector))


def rotation(degrees: Array) -> Array:
    """(3,) angles about x, y, z -> (3, 3) rotation matrix Rz Ry Rx."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


BEFORE, AFTER = 0.45, 0.85  # seconds around the R peak in which waves are looked for


def _bells(beat: Beat, offsets: Array, stretch: Array) -> Array:
    """Unit kernels (n, K, W) at offsets (n, W) s from R, for the QT stretch (n,) of each beat."""
    late = beat.of(T, ST)
    factor = np.where(late[None], stretch[:, None], 1.0)
    centre = (beat.centre * factor).astype(np.float32)
    width = (beat.width * factor).astype(np.float32)
    z = (offsets[:, None, :] - centre[:, :, None]) / width[:, :, None]
    return np.asarray(np.exp(-0.5 * z * z))


def add_beats(
    out: Array, rate: float, beat: Beat, peaks: Array, stretch: Array, vectors: Array
) -> None:
    """Add beats of one form to a dipole signal.

    Args:
        out: (3, T) float32, mV; changed in place.
        rate: samples per second.
        beat: the form; only its timing is used.
        peaks: (n,) seconds of the R peaks, possibly outside the record.
        stretch: (n,) factor on the times and widths after the QRS complex (sqrt of RR / 1 s).
        vectors: (n, K, 3) mV, the kernels' dipole vectors in every beat.
    """
    active = (vectors != 0).any((0, 2))
    for waves in ((P,), (QRS,), (T, ST)):
        chosen = beat.of(*waves) & active
        if len(peaks) and chosen.any():
            part = Beat(*(getattr(beat, f.name)[chosen] for f in fields(Beat)))
            _add_part(out, rate, part, peaks, stretch, vectors[:, chosen].astype(np.float32))


def _add_part(
    out: Array, rate: float, beat: Beat, peaks: Array, stretch: Array, vectors: Array
) -> None:
    """Add kernels that lie near each other, each beat within 4.5 widths around them only."""
    factor = max(float(stretch.max()), 1.0) if beat.of(T, ST).all() else 1.0
    low = float((beat.centre - 4.5 * factor * beat.width).min())
    high = float((beat.centre + 4.5 * beat.width).max()) * factor
    first = np.floor((peaks + low) * rate).astype(int)
    steps = np.arange(round((high - low) * rate) + 1)
    offsets = ((first[:, None] + steps) / rate - peaks[:, None]).astype(np.float32)
    shapes = vectors.swapaxes(1, 2) @ _bells(beat, offsets, stretch)
    for start, shape in zip(first, shapes, strict=True):
        a, b = max(start, 0), min(start + len(steps), out.shape[1])
        if a < b:
            out[:, a:b] += shape[:, a - start : b - start]


def extents(beat: Beat, stretch: Array) -> Array:
    """Onset and offset of P, QRS and T from the R peak: (n, 3, 2) in s, NaN for an absent wave.

    A wave lasts while the length of its own dipole vector exceeds a share of its maximum: 5% for
    QRS, 8% for P and 15% for T, whose flanks are shallow. T begins after QRS.
    """
    grid = np.arange(-BEFORE, AFTER, 0.002, dtype=np.float32)
    bells = _bells(beat, np.broadcast_to(grid, (len(stretch), len(grid))), stretch)
    spans = np.full((len(stretch), 3, 2), np.nan)
    for wave, share in ((P, 0.08), (QRS, 0.05), (T, 0.15)):
        mask = beat.of(wave)
        dipole = beat.vector[mask].T.astype(np.float32) @ bells[:, mask]
        length = np.linalg.norm(dipole, axis=1)  # (n, W)
        peak = length.max(1, keepdims=True)
        inside = length > share * np.maximum(peak, 1e-6)
        spans[:, wave, 0] = grid[inside.argmax(1)]
        spans[:, wave, 1] = grid[len(grid) - 1 - inside[:, ::-1].argmax(1)]
        spans[(peak < 0.005)[:, 0], wave] = np.nan
    spans[:, T, 0] = np.maximum(spans[:, T, 0], spans[:, QRS, 1])
    return spans
