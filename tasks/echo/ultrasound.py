"""From moving scatterers to a B-mode clip.

The image model is that of convolution-based simulators (COLE: Gao et al., IEEE Trans Ultrason
Ferroelectr Freq Control 2009;56:404-409, doi:10.1109/TUFFC.2009.1049), in baseband and in polar
coordinates: complex scatterer amplitudes, carried along with the tissue, are weighted by the
echogenicity of what they belong to, attenuated, added to receiver noise and convolved with a
separable Gaussian point-spread function; the envelope is log-compressed and scan-converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32 unless said
BANK = 512  # mm; the scatterer field repeats after this
PSF_RANGE, PSF_ANGLE = 0.8, 1.1  # standard deviations in samples of the polar grid


@dataclass(frozen=True)
class Sector:
    """The polar grid of an image with `size` x `size` pixels; the probe is at the top centre."""

    size: int
    half_angle: float  # radians
    depth: float  # mm

    @property
    def shape(self) -> tuple[int, int]:
        """(samples in range, scan lines)."""
        return self.size * 5 // 4, self.size

    def positions(self) -> tuple[Array, Array, Array, Array]:
        """Range (nr, 1) in mm, angle (1, na), and lateral / depth coordinates (nr, na) in mm."""
        rows, lines = self.shape
        radius = np.linspace(0.03, 1, rows, dtype=np.float32)[:, None] * np.float32(self.depth)
        angle = np.linspace(-self.half_angle, self.half_angle, lines, dtype=np.float32)[None]
        return radius, angle, radius * np.sin(angle), radius * np.cos(angle)


@dataclass(frozen=True)
class Settings:
    """What the operator, the machine and the chest wall make of the picture."""

    gain: float  # dB
    dynamic_range: float  # dB
    gamma: float
    attenuation: float  # dB left at full depth after time-gain compensation
    noise: float  # amplitude of the receiver noise before that compensation
    haze: float  # amplitude of near-field reverberation
    shadows: tuple[tuple[float, float, float, float], ...]  # angle, width, first depth, dB


def draw_settings(rng: np.random.Generator) -> Settings:
    """Draw the settings of one clip."""
    shadows = tuple(
        (
            rng.uniform(-0.7, 0.7),
            rng.uniform(0.04, 0.16),
            rng.uniform(0.05, 0.5),
            rng.uniform(8, 28),
        )
        for _ in range(rng.choice(4, p=(0.3, 0.35, 0.25, 0.1)))
    )
    return Settings(
        gain=rng.normal(0, 3),
        dynamic_range=rng.uniform(42, 62),
        gamma=rng.uniform(0.8, 1.3),
        attenuation=rng.uniform(2, 14),
        noise=10 ** rng.uniform(-2.6, -1.5),
        haze=rng.uniform(0.2, 1.0) if rng.random() < 0.5 else 0.0,
        shadows=shadows,
    )


@cache
def scatterers(seed: int = 20_240) -> Array:
    """A periodic field (BANK, BANK, 2) of complex scatterer amplitudes, one sample per mm.

    Circular complex Gaussian, slightly smoothed so that motion by less than a sample is followed,
    times a slowly varying echogenicity; unit mean power.
    """
    import cv2

    rng = np.random.default_rng(seed)
    field = rng.standard_normal((BANK + 64, BANK + 64, 3), np.float32)
    field[-64:], field[:, -64:] = field[:64], field[:, :64]  # seamless after smoothing
    fine = cv2.GaussianBlur(field[..., :2], (0, 0), 0.9)
    slow = cv2.GaussianBlur(field[..., 2], (0, 0), 7.0)
    fine *= np.exp(0.5 * slow / slow.std())[..., None]
    fine = fine[32 : 32 + BANK, 32 : 32 + BANK]
    return np.ascontiguousarray(fine / np.sqrt((fine**2).sum(-1).mean()))


@cache
def _conversion(size: int, half_angle: float) -> tuple[Array, Array]:
    """Fixed-point maps from pixels to the polar grid; pixels outside the sector: far away."""
    import cv2

    rows, lines = Sector(size, half_angle, 1.0).shape
    row, column = np.mgrid[:size, :size].astype(np.float32)
    z = (row + 0.5) / size
    x = (column + 0.5) / size * 1.24 - 0.62
    radius, angle = np.hypot(x, z), np.arctan2(x, z)
    inside = (radius < 1) & (np.abs(angle) < half_angle)
    i = (radius - 0.03) / 0.97 * (rows - 1)
    j = (angle + half_angle) / (2 * half_angle) * (lines - 1)
    columns = np.where(inside, j, -9).astype(np.float32)
    whole, part = cv2.convertMaps(columns, np.where(inside, i, -9).astype(np.float32), cv2.CV_16SC2)
    return whole, part


def scan_convert(polar: NDArray[np.uint8], sector: Sector) -> NDArray[np.uint8]:
    """(T, nr, na) -> (T, size, size), bilinear; 0 outside the sector."""
    import cv2

    maps = _conversion(sector.size, sector.half_angle)
    return np.stack([cv2.remap(frame, *maps, cv2.INTER_LINEAR) for frame in polar])


class Imager:
    """The imaging of one clip: what stays the same from frame to frame is drawn once."""

    def __init__(self, sector: Sector, settings: Settings, rng: np.random.Generator) -> None:
        import cv2

        self.sector, self.settings, self.rng = sector, settings, rng
        radius, angle, x, z = sector.positions()
        self.shift = rng.uniform(0, BANK, 2).astype(np.float32)
        self.transmission = _transmission(radius / sector.depth, angle, settings)[..., None]
        rows, lines = sector.shape
        block = rng.standard_normal((2 * rows, 2 * lines, 2), np.float32)
        self.noise = block * np.float32(settings.noise)
        # the chest wall's reverberation stands still while the heart beats
        wall = cv2.remap(scatterers(), x + 60, z + 60, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        self.haze = wall * (settings.haze * np.exp(-radius / 22))[..., None]
        self.haze *= self.transmission
        self.shades = (255 * (np.arange(256) / 255) ** settings.gamma).round().astype(np.uint8)

    def b_mode(self, echogenicity: Array, material: tuple[Array, Array]) -> NDArray[np.uint8]:
        """Consecutive frames.

        Args:
            echogenicity: (T, nr, na) amplitude of the scatterers at every polar sample.
            material: two (T, nr, na) arrays, mm: the point of the scatterer field that lies there.

        Returns:
            (T, size, size) uint8.
        """
        import cv2

        count, rows, lines = echogenicity.shape
        u, v = (m + d for m, d in zip(material, self.shift, strict=True))
        across = cv2.getGaussianKernel(7, PSF_ANGLE, cv2.CV_32F)
        along = cv2.getGaussianKernel(7, PSF_RANGE, cv2.CV_32F)
        decibels = 20 / np.log(10) / self.settings.dynamic_range * 255
        offset = 255 * (1 + (self.settings.gain + 4) / self.settings.dynamic_range)
        frames = np.empty((count, rows, lines), np.uint8)
        for i in range(count):
            field: Array = cv2.remap(
                scatterers(), u[i], v[i], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
            )
            field *= echogenicity[i, :, :, None]
            field *= self.transmission
            field += self.haze
            row, line = self.rng.integers(0, rows), self.rng.integers(0, lines)
            field += self.noise[row : row + rows, line : line + lines]
            iq = cv2.sepFilter2D(field, -1, across, along)
            real, imaginary = iq[..., 0], iq[..., 1]
            level = np.log(real * real + imaginary * imaginary + np.float32(1e-10))
            level *= np.float32(decibels / 2)
            level += np.float32(offset)
            frames[i] = self.shades[np.clip(level, 0, 255).astype(np.uint8)]
        return scan_convert(frames, self.sector)


def _transmission(depth: Array, angle: Array, settings: Settings) -> Array:
    """(nr, na) amplitude after attenuation and shadows; `depth` in [0, 1]."""
    loss = settings.attenuation * depth * np.ones_like(angle)
    for at, width, first, decibel in settings.shadows:
        onset = 1 / (1 + np.exp(-(depth - first) / 0.03))
        loss = loss + decibel * onset * np.exp(-(((angle - at) / width) ** 2))
    return np.asarray(10 ** (-loss / 20), np.float32)
