"""Periodic random textures from which the tissues' ground substance is cut.

Every texture is a Gaussian random field: white noise shaped in the Fourier domain, zero mean and
unit variance. Fibres are fields with an elongated spectrum, bent by a smooth displacement field
(wavy collagen) or nearly straight (smooth muscle).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import map_coordinates

Floats = NDArray[Any]

SIZE = 256  # pixels, side of a texture
DIRECTIONS = 8  # fibre directions over half a turn


@dataclass(frozen=True)
class Textures:
    """Standardised (SIZE, SIZE) fields; fibre fields have one per direction in front."""

    coarse: Floats  # correlation length about 20 pixels
    middle: Floats  # about 5
    fine: Floats  # about 1.5
    collagen: Floats  # (DIRECTIONS, SIZE, SIZE)
    muscle: Floats  # (DIRECTIONS, SIZE, SIZE)

    def cut(self, field: Floats, rng: np.random.Generator, size: int) -> Floats:
        """A random `size` x `size` window, with periodic boundaries not crossed."""
        y, x = rng.integers(0, SIZE - size + 1, 2)
        return field[y : y + size, x : x + size]


def _frequencies() -> tuple[Floats, Floats]:
    ky = np.fft.fftfreq(SIZE)[:, None].astype(np.float32)
    kx = np.fft.rfftfreq(SIZE)[None].astype(np.float32)
    return ky, kx


def _field(rng: np.random.Generator, amplitude: Floats) -> Floats:
    noise = rng.standard_normal((SIZE, SIZE), np.float32)
    field = irfft2(rfft2(noise) * amplitude, s=(SIZE, SIZE))
    result: Floats = ((field - field.mean()) / field.std()).astype(np.float32)
    return result


def smooth_field(rng: np.random.Generator, length: float) -> Floats:
    """Isotropic field with a Gaussian correlation of `length` pixels."""
    ky, kx = _frequencies()
    return _field(rng, np.exp(-((np.pi * length) ** 2) * (ky**2 + kx**2)))


def fibre_field(
    rng: np.random.Generator, angle: float, period: float, length: float, wave: float
) -> Floats:
    """Fibres along `angle` (radians, from the x axis towards y), bent by `wave` pixels.

    `period` is the typical distance between fibres and `length` their extent, in pixels.
    """
    ky, kx = _frequencies()
    along = kx * np.cos(angle) + ky * np.sin(angle)
    across = ky * np.cos(angle) - kx * np.sin(angle)
    band = np.exp(-(((np.abs(across) - 1 / period) * period * 1.6) ** 2))
    field = _field(rng, band * np.exp(-((along * length) ** 2)))
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    shift = wave * smooth_field(rng, 16)
    place = np.stack([y + shift * np.cos(angle), x - shift * np.sin(angle)])
    bent = map_coordinates(field, place, order=1, mode="grid-wrap")
    result: Floats = (bent / bent.std()).astype(np.float32)
    return result


def build_textures(rng: np.random.Generator) -> Textures:
    """Draw one set of textures."""
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    return Textures(
        coarse=smooth_field(rng, 20),
        middle=smooth_field(rng, 5),
        fine=smooth_field(rng, 1.5),
        collagen=np.stack([fibre_field(rng, a, 7, 45, rng.uniform(1.5, 6)) for a in angles]),
        muscle=np.stack([fibre_field(rng, a, 8.5, 80, rng.uniform(0.5, 4)) for a in angles]),
    )
