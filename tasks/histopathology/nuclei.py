"""A bank of nuclei (and of a few other small bodies) to be laid into simulated tissue.

A nucleus is an ellipse with a contour disturbed by Fourier modes 2 to 5 (pleomorphism), a chromatin
rim, clumped or cleared chromatin and nucleoli; the parameters per cell type follow the
textbook sizes of nuclei in tissue sections. They are drawn once per bank at 16 directions, and
pasted by direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.histopathology.textures import SIZE, Textures

Floats = NDArray[Any]

MPP = 0.75  # micrometres per pixel, near 13x
STAMP = 32  # pixels, side of a stamp
TURNS = 16  # directions over half a turn
VARIANTS = 12  # per direction, ordered by size


@dataclass(frozen=True)
class Body:
    """Ranges from which the bodies of one kind are drawn."""

    radius: tuple[float, float]  # half of the long axis, micrometres
    aspect: tuple[float, float]  # short over long axis
    tone: tuple[float, float]  # haematoxylin concentration
    irregular: float = 0.03  # standard deviation of the contour's Fourier modes
    rim: float = 0.15  # extra chromatin at the membrane
    clump: float = 0.25  # chromatin texture
    vesicular: float = 0.0  # how far the centre is cleared
    nucleoli: int = 0  # at most
    bend: float = 0.0  # sagitta over length
    eosin: float = 0.3  # eosin concentration of the body
    nucleus: bool = True  # counts as nucleus in the masks


BODIES = {
    "lymphocyte": Body((2.7, 3.7), (0.82, 1.0), (0.85, 1.35), rim=0.1, clump=0.3),
    "fibroblast": Body((4.5, 8.5), (0.2, 0.4), (0.6, 1.2), bend=0.12),
    "muscle": Body((5.5, 9.5), (0.17, 0.32), (0.6, 1.1), irregular=0.01, bend=0.03),
    "epithelial": Body((3.4, 4.6), (0.6, 0.85), (0.6, 1.1), vesicular=0.15, nucleoli=1),
    "low-grade": Body((3.7, 5.9), (0.48, 0.8), (0.6, 1.2), 0.035, 0.2, 0.2, 0.2, 1),
    "high-grade": Body((3.6, 8.8), (0.55, 0.95), (0.5, 1.3), 0.06, 0.3, 0.22, 0.35, 3),
    "mitosis": Body((3.0, 5.2), (0.25, 0.6), (1.6, 2.1), 0.18, 0.0, 0.25),
    "fragment": Body((0.7, 2.6), (0.6, 1.0), (0.7, 1.5), 0.12, 0.0, 0.1, nucleus=False),
    "ghost": Body((3.0, 5.0), (0.6, 0.95), (0.2, 0.5), 0.06, eosin=0.6, nucleus=False),
    "vacuole": Body((3.0, 5.2), (0.6, 0.95), (0.05, 0.25), eosin=0.05, rim=0, nucleus=False),
    "erythrocyte": Body((2.8, 3.6), (0.8, 1.0), (0.0, 0.1), eosin=1.3, rim=0, nucleus=False),
}
KINDS = tuple(BODIES)


@dataclass(frozen=True)
class Bank:
    """Stamps by kind, direction and size; a canvas becomes canvas * rest + paint."""

    rest: Floats  # (kinds, TURNS, VARIANTS, STAMP, STAMP) what is left of the ground, 0 to 1
    paint: Floats  # (kinds, TURNS, VARIANTS, 2, STAMP, STAMP) haematoxylin and eosin laid over it
    reach: tuple[int, ...]  # pixels from the middle that hold every stamp of a kind


def build_bank(rng: np.random.Generator, textures: Textures) -> Bank:
    """Draw every kind of body at every direction."""
    shape = (len(KINDS), TURNS, VARIANTS)
    rest = np.empty((*shape, STAMP, STAMP), np.float32)
    paint = np.empty((*shape, 2, STAMP, STAMP), np.float32)
    for kind, body in enumerate(BODIES.values()):
        cover, chromatin = _draw(body, rng, textures)
        rest[kind] = 1 - cover
        paint[kind, :, :, 0] = chromatin * cover
        paint[kind, :, :, 1] = body.eosin * cover
    y, x = np.mgrid[:STAMP, :STAMP] - (STAMP - 1) / 2
    far = np.maximum(np.abs(y), np.abs(x)) + 0.5
    reach = [int(np.max(far[np.any(kind < 1, axis=(0, 1))])) for kind in rest]
    return Bank(rest, paint, tuple(reach))


def _draw(body: Body, rng: np.random.Generator, textures: Textures) -> tuple[Floats, Floats]:
    """(TURNS, VARIANTS, STAMP, STAMP) coverage and chromatin of one kind."""
    shape = (TURNS, VARIANTS, 1, 1)

    def uniform(low: float, high: float) -> Floats:
        return rng.uniform(low, high, shape).astype(np.float32)

    long = np.sort(uniform(*body.radius), axis=1) / MPP
    short = long * uniform(*body.aspect)
    angle = (np.arange(TURNS, dtype=np.float32) * np.pi / TURNS).reshape(-1, 1, 1, 1)
    y, x = np.mgrid[:STAMP, :STAMP].astype(np.float32) - np.float32((STAMP - 1) / 2)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = y * np.cos(angle) - x * np.sin(angle)
    bend = body.bend * rng.standard_normal(shape, np.float32)
    v = v + bend * (u**2 / long - long / 3)
    radius = np.sqrt((u / long) ** 2 + (v / short) ** 2) + np.float32(1e-6)
    theta = np.arctan2(v / short, u / long)
    for mode in range(2, 6):
        size = body.irregular * rng.standard_normal(shape, np.float32)
        radius = radius / (1 + size * np.cos(mode * theta + uniform(0, 2 * np.pi)))
    depth = (1 - radius) * np.sqrt(long * short)  # pixels inside the contour, about
    chromatin = 1 + body.rim * np.exp(-((depth / 1.2) ** 2))
    chromatin -= body.vesicular * uniform(0, 1) * np.clip(1 - radius**2, 0, 1)
    chromatin += body.clump * _patches(textures.fine, rng)
    for _ in range(body.nucleoli):
        chromatin += _nucleolus(u / long, v / short, np.sqrt(long * short), rng)
    cover = np.clip(depth + 0.5, 0, 1)
    return cover.astype(np.float32), np.maximum(chromatin * uniform(*body.tone), 0)


def _patches(texture: Floats, rng: np.random.Generator) -> Floats:
    """(TURNS, VARIANTS, STAMP, STAMP) random windows of a texture."""
    y, x = rng.integers(0, SIZE, (2, TURNS, VARIANTS, 1, 1))
    step = np.arange(STAMP)
    return texture[(y + step[:, None]) % SIZE, (x + step) % SIZE]


def _nucleolus(u: Floats, v: Floats, scale: Floats, rng: np.random.Generator) -> Floats:
    """Extra density of one nucleolus of about 1 micrometre; absent from half of the nuclei."""
    shape = (TURNS, VARIANTS, 1, 1)
    cu, cv = rng.uniform(-0.5, 0.5, (2, *shape)).astype(np.float32)
    size = rng.uniform(0.8, 1.6, shape).astype(np.float32) / MPP / scale
    present = rng.uniform(0, 1, shape).astype(np.float32) < 0.5
    spot: Floats = present * 0.9 * np.exp(-((u - cu) ** 2 + (v - cv) ** 2) / size**2)
    return spot
