"""Glands of simulated tissue: closed contours with an epithelium around a lumen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.histopathology.nuclei import MPP

Floats = NDArray[Any]
MODES = np.arange(2, 6)


@dataclass(frozen=True)
class Glands:
    """Contours r(phi) = radius * (1 + Re sum_m waves_m exp(i m phi)) around centres, in pixels."""

    centres: Floats  # (G, 2) y, x
    radius: Floats  # (G,)
    waves: NDArray[np.complex64]  # (G, 4), modes 2 to 5
    epithelium: Floats  # (G,) height of the cells
    size: int  # of the tile

    def contour(self, index: int, phi: Floats) -> Floats:
        """Distance of the contour from the centre at angles `phi`."""
        turns = np.exp(1j * phi[:, None] * MODES)
        result: Floats = self.radius[index] * (1 + (turns @ self.waves[index]).real)
        return result

    def depth(self, place: Floats) -> Floats:
        """(n, 2) places -> (G, n) pixels inside each contour along the ray (negative: outside)."""
        delta = place[None] - self.centres[:, None]
        z = (delta[..., 1] + 1j * delta[..., 0]).astype(np.complex64)
        far = np.abs(z) + np.float32(1e-6)
        z /= far
        power, reach = z, np.ones_like(far)
        for waves in self.waves.T:
            power = power * z
            reach += (power * waves[:, None]).real
        return reach * self.radius[:, None] - far

    def masks(self) -> tuple[Floats, Floats]:
        """(H, W) soft masks of the glands' inside and of their lumina."""
        y, x = np.mgrid[: self.size + 1 : 2, : self.size + 1 : 2].astype(np.float32)
        depth = self.depth(np.stack([y.ravel(), x.ravel()], 1))
        inside = depth.max(0).reshape(y.shape)
        lumen = (depth - self.epithelium[:, None]).max(0).reshape(y.shape)
        return (
            np.clip(_double(inside) / 1.5 + 0.5, 0, 1),
            np.clip(_double(lumen) / 1.5 + 0.5, 0, 1),
        )

    def covers(self, place: Floats) -> NDArray[np.bool_]:
        """Which of (n, 2) places lie in a gland or touch one."""
        touched: NDArray[np.bool_] = np.any(self.depth(place) > -2, axis=0)
        return touched


def _double(field: Floats) -> Floats:
    """(H / 2 + 1, W / 2 + 1) on every other pixel -> (H, W), linear in between."""
    for _ in range(2):
        fine = np.empty((2 * (len(field) - 1), field.shape[1]), np.float32)
        fine[::2] = field[:-1]
        fine[1::2] = (field[:-1] + field[1:]) / 2
        field = fine.T
    return field


def glands(rng: np.random.Generator, size: int, normal: bool) -> Glands:
    """Draw the glands that reach into a tile; tumour glands are crowded and misshapen."""
    radius = rng.uniform(24, 36) / MPP
    spacing = 2 * radius * (rng.uniform(1.05, 1.3) if normal else rng.uniform(0.9, 1.1))
    corner = rng.uniform(-0.5, 0.5, 2) * spacing
    row, column = np.mgrid[-1:3, -1:3].reshape(2, -1)
    grid = np.stack([0.87 * row, column + 0.5 * (row % 2)], 1)
    centres = corner + grid * spacing + rng.normal(0, 0.06 * spacing, grid.shape)
    reach = 1.3 * radius
    near = ((centres > -reach) & (centres < size + reach)).all(1)
    centres = centres[near]
    count = len(centres)
    wild = 0.035 if normal else 0.085
    waves = wild * (rng.normal(size=(count, 4)) + 1j * rng.normal(size=(count, 4)))
    height = rng.uniform(0.45, 0.65, count) if normal else rng.uniform(0.5, 0.85, count)
    sizes = radius * rng.uniform(0.85, 1.1, count)
    return Glands(
        centres.astype(np.float32),
        sizes.astype(np.float32),
        waves.astype(np.complex64),
        (height * sizes).astype(np.float32),
        size,
    )


def ring_nuclei(
    rng: np.random.Generator, found: Glands, spacing: float, depth: float, loose: float
) -> tuple[Floats, Floats]:
    """Places (n, 2) and directions (n,) of bodies `depth` pixels inside the contours.

    They stand `spacing` pixels apart, upright on the contour, with `loose` (radians, and spacings)
    as the spread; those that fall into a lumen or outside the tile are left out.
    """
    places, angles = [np.zeros((0, 2))], [np.zeros(0)]
    for index, centre in enumerate(found.centres):
        inner = max(float(found.radius[index]) - depth, 2.0)
        count = max(int(2 * np.pi * inner / spacing), 1)
        phi = (np.arange(count) + rng.uniform()) * 2 * np.pi / count
        phi = phi + rng.normal(0, 0.15 + loose, count) * spacing / inner
        edge = found.contour(index, phi)
        far = edge - depth + rng.normal(0, loose * spacing, count)
        valid = (far > 0) & (far > edge - found.epithelium[index])
        place = centre + far[:, None] * np.stack([np.sin(phi), np.cos(phi)], 1)
        places.append(place[valid])
        angles.append((phi + rng.normal(0, loose, count))[valid])
    place, angle = np.concatenate(places), np.concatenate(angles)
    visible = ((place > -10) & (place < found.size + 10)).all(1)
    return place[visible].astype(np.float32), angle[visible].astype(np.float32)
