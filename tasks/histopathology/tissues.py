"""Ground substance and cells of eight tissues, as concentrations of haematoxylin and eosin.

The classes follow those of colorectal tiles of Kather et al. (PLoS Medicine 2019): adipose,
lymphocytes, smooth muscle, normal mucosa, stroma, debris and tumour, the last one in two grades.
Grade follows Elston and Ellis (Histopathology 1991): low grade still forms glands, of crowded,
stratified nuclei; high grade grows in sheets, with pleomorphic nuclei and mitoses.
Amounts overlap between tissues on purpose: the mean colour of a tile says little, its architecture
and its nuclei say which tissue it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.histopathology.glands import glands, ring_nuclei
from tasks.histopathology.nuclei import BODIES, KINDS, MPP, STAMP, TURNS, VARIANTS, Bank
from tasks.histopathology.textures import DIRECTIONS, Textures

Floats = NDArray[Any]
Rng = np.random.Generator
NUCLEAR = np.array([body.nucleus for body in BODIES.values()])


@dataclass(frozen=True)
class Pieces:
    """What tissues are made of, and the tile's side in pixels."""

    textures: Textures
    bank: Bank
    size: int


@dataclass
class Field:
    """Concentrations (H, W) and the bodies that lie in them."""

    haematoxylin: Floats
    eosin: Floats
    bodies: list[Floats]  # (n, 4) arrays: kind index, direction in radians, y, x in pixels

    def add(self, kind: str, place: Floats, angle: Floats | float) -> None:
        """Lay bodies of one kind at (n, 2) places (y, x)."""
        rows = np.empty((len(place), 4), np.float32)
        rows[:, 0], rows[:, 1], rows[:, 2:] = KINDS.index(kind), angle, place
        self.bodies.append(rows)


def lattice(rng: Rng, size: int, spacing: float, jitter: float, keep: float = 1.0) -> Floats:
    """(n, 2) places of a jittered hexagonal lattice over a tile; `spacing` in pixels."""
    count = int(size * 1.5 / spacing) + 3
    i, j = np.mgrid[-count : count + 1, -count : count + 1].reshape(2, -1)
    turn = rng.uniform(0, np.pi)
    y, x = (i + j / 2) * spacing, j * spacing * np.sqrt(0.75)
    place = np.stack([y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)], 1)
    place += rng.normal(0, jitter * spacing, place.shape) + size / 2 + rng.uniform(0, spacing, 2)
    margin = max(spacing, 8)
    inside = ((place > -margin) & (place < size + margin)).all(1)
    inside &= rng.uniform(size=len(place)) < keep
    return place[inside].astype(np.float32)


def scattered(rng: Rng, size: int, count: int) -> Floats:
    """(count, 2) independent places."""
    return rng.uniform(-4, size + 4, (count, 2)).astype(np.float32)


def _turns(rng: Rng, count: int) -> Floats:
    return rng.uniform(0, np.pi, count).astype(np.float32)


def _fibres(rng: Rng, parts: Pieces, kind: str) -> tuple[Floats, float]:
    """A window of fibres and their direction in radians."""
    direction = int(rng.integers(DIRECTIONS))
    fields = parts.textures.collagen if kind == "collagen" else parts.textures.muscle
    return parts.textures.cut(fields[direction], rng, parts.size), direction * np.pi / DIRECTIONS


def _ground(rng: Rng, parts: Pieces, low: float, high: float) -> tuple[Floats, Floats]:
    """Uneven haematoxylin haze and eosin of a mean drawn from [low, high]."""
    cut, t = parts.textures.cut, parts.textures
    haze = np.maximum(rng.uniform(0.04, 0.2) + 0.05 * cut(t.coarse, rng, parts.size), 0)
    pink = rng.uniform(low, high) * (1 + 0.15 * cut(t.coarse, rng, parts.size))
    return haze, pink + 0.06 * cut(t.middle, rng, parts.size)


def adipose(rng: Rng, parts: Pieces) -> Field:
    """Empty cells of 30 to 50 micrometres with thin walls and a few flat nuclei in them."""
    size = parts.size
    seeds = lattice(rng, size, rng.uniform(28, 50) / MPP, 0.2)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    y += parts.textures.cut(parts.textures.coarse, rng, size)
    first, second = np.full((2, size, size), np.inf, np.float32)
    for cy, cx in seeds:
        far = np.sqrt((y - cy) ** 2 + (x - cx) ** 2)
        second = np.minimum(second, np.maximum(first, far))
        first = np.minimum(first, far)
    gap = second - first
    wall = np.exp(-((gap / rng.uniform(1.5, 3.5)) ** 2))
    haze, pink = _ground(rng, parts, 0.3, 0.9)
    field = Field(haze * wall, np.maximum(pink, 0) * wall + 0.02, [])
    on_wall = np.argwhere(gap < 1.5)
    if len(on_wall):
        spots = on_wall[rng.integers(len(on_wall), size=int(rng.integers(1, 6)))]
        far = np.linalg.norm(spots[:, None] - seeds, axis=2)
        pair = seeds[np.argsort(far, 1)[:, :2]]
        across = pair[:, 1] - pair[:, 0]
        along = np.arctan2(across[:, 0], across[:, 1]) + np.pi / 2
        field.add("fibroblast", spots.astype(np.float32), along.astype(np.float32))
    return field


def stroma(rng: Rng, parts: Pieces) -> Field:
    """Wavy collagen with clefts, spindle-shaped fibroblasts, now and then a lymphocyte."""
    haze, pink = _ground(rng, parts, 0.35, 0.95)
    fibres, angle = _fibres(rng, parts, "collagen")
    strands = 1 + rng.uniform(0.15, 0.35) * fibres
    cleft = np.clip((fibres + rng.uniform(1.2, 2.2)) * 1.5, 0.3, 1)
    field = Field(haze, pink * strands * cleft, [])
    place = lattice(rng, parts.size, rng.uniform(15, 30) / MPP, 0.3)
    field.add("fibroblast", place, rng.normal(angle, 0.35, len(place)))
    field.add("lymphocyte", scattered(rng, parts.size, int(rng.integers(0, 6))), 0.0)
    return field


def muscle(rng: Rng, parts: Pieces) -> Field:
    """Nearly straight bundles of cells with long blunt nuclei along them."""
    haze, pink = _ground(rng, parts, 0.35, 0.95)
    fibres, angle = _fibres(rng, parts, "muscle")
    cleft = np.clip((fibres + rng.uniform(1.4, 2.4)) * 2, 0.3, 1)
    field = Field(haze, pink * (1 + rng.uniform(0.08, 0.25) * fibres) * cleft, [])
    place = lattice(rng, parts.size, rng.uniform(14, 28) / MPP, 0.3)
    field.add("muscle", place, rng.normal(angle, 0.12, len(place)))
    field.add("lymphocyte", scattered(rng, parts.size, int(rng.integers(0, 3))), 0.0)
    return field


def lymphocytes(rng: Rng, parts: Pieces) -> Field:
    """Small round nuclei packed closely, with little between them."""
    haze, pink = _ground(rng, parts, 0.15, 0.6)
    field = Field(haze + 0.05, pink, [])
    place = lattice(rng, parts.size, rng.uniform(7.5, 11) / MPP, 0.2, rng.uniform(0.65, 1))
    field.add("lymphocyte", place, _turns(rng, len(place)))
    large = scattered(rng, parts.size, int(rng.integers(0, 6)))
    field.add("epithelial", large, _turns(rng, len(large)))
    return field


def necrosis(rng: Rng, parts: Pieces) -> Field:
    """Granular debris: fragments of nuclei, ghosts of cells, a few inflammatory cells."""
    haze, pink = _ground(rng, parts, 0.3, 0.9)
    t = parts.textures
    grain = t.cut(t.fine, rng, parts.size) + 0.7 * t.cut(t.middle, rng, parts.size)
    field = Field(haze * (1 + 0.4 * grain), pink * (1 + rng.uniform(0.15, 0.35) * grain), [])
    for kind, low, high in (("ghost", 4, 22), ("fragment", 12, 80), ("lymphocyte", 2, 40)):
        place = scattered(rng, parts.size, int(rng.integers(low, high)))
        field.add(kind, place, _turns(rng, len(place)))
    return field


def normal_gland(rng: Rng, parts: Pieces) -> Field:
    """Regular round glands: one row of basal nuclei, goblet vacuoles, an open lumen."""
    return _glandular(rng, parts, "epithelial")


def low_grade(rng: Rng, parts: Pieces) -> Field:
    """Crowded irregular glands of stratified, larger and darker nuclei, a few mitoses."""
    return _glandular(rng, parts, "low-grade")


def _glandular(rng: Rng, parts: Pieces, kind: str) -> Field:
    normal, size = kind == "epithelial", parts.size
    field = stroma(rng, parts)
    found = glands(rng, size, normal)
    inside, lumen = found.masks()
    _, pink = _ground(rng, parts, 0.3, 0.8)
    blue = rng.uniform(0.08, 0.3)
    field.haematoxylin = field.haematoxylin * (1 - inside) + blue * inside
    field.eosin = field.eosin * (1 - inside) + pink * inside
    secretion = rng.uniform(0, 0.15)
    field.haematoxylin = field.haematoxylin * (1 - lumen) + secretion * 0.5 * lumen
    field.eosin = field.eosin * (1 - lumen) + secretion * lumen
    outside = [rows[~found.covers(rows[:, 2:])] for rows in field.bodies]
    field.bodies = outside
    if normal and rng.uniform() < 0.6:
        place, angle = ring_nuclei(rng, found, rng.uniform(7, 12) / MPP, 11 / MPP, 0.1)
        field.add("vacuole", place, angle)
    spacing = rng.uniform(5.5, 7.5) if normal else rng.uniform(6.5, 9.5)
    for row in range(1 if normal else int(rng.integers(2, 4))):
        depth, loose = (4.2 + 6.5 * row) / MPP, 0.08 if normal else 0.25
        place, angle = ring_nuclei(rng, found, spacing / MPP, depth, loose)
        field.add(kind, place, angle)
    if rng.uniform() < (0.1 if normal else 0.4):
        place, angle = ring_nuclei(rng, found, 40 / MPP, 12 / MPP, 0.2)
        field.add("mitosis", place[:2], angle[:2])
    return field


def high_grade(rng: Rng, parts: Pieces) -> Field:
    """Sheets of cells with pleomorphic vesicular nuclei, nucleoli and mitoses."""
    haze, pink = _ground(rng, parts, 0.25, 0.8)
    field = Field(haze + rng.uniform(0, 0.12), pink, [])
    if rng.uniform() < 0.5:  # strands of stroma between the nests
        fibres, _ = _fibres(rng, parts, "collagen")
        field.eosin = field.eosin * (1 + 0.25 * np.clip(fibres, -1, 2))
    place = lattice(rng, parts.size, rng.uniform(9.5, 15) / MPP, 0.22, rng.uniform(0.75, 1))
    kinds = np.where(
        rng.uniform(size=len(place)) < rng.uniform(0.4, 0.9), "high-grade", "low-grade"
    )
    kinds[rng.uniform(size=len(place)) < 0.04] = "mitosis"
    for kind in np.unique(kinds):
        field.add(str(kind), place[kinds == kind], _turns(rng, int((kinds == kind).sum())))
    for kind, most in (("lymphocyte", 7), ("fragment", 7)):
        few = scattered(rng, parts.size, int(rng.integers(0, most)))
        field.add(kind, few, 0.0)
    return field


TISSUES: dict[str, Callable[[Rng, Pieces], Field]] = {
    "adipose": adipose,
    "stroma": stroma,
    "muscle": muscle,
    "lymphocytes": lymphocytes,
    "normal-gland": normal_gland,
    "tumour-low-grade": low_grade,
    "tumour-high-grade": high_grade,
    "necrosis": necrosis,
}
NEIGHBOURS = {
    "tumour-low-grade": ("stroma", "lymphocytes", "necrosis"),
    "tumour-high-grade": ("stroma", "lymphocytes", "necrosis"),
    "necrosis": ("stroma", "lymphocytes"),
}
BENIGN = ("stroma", "lymphocytes", "adipose", "muscle")


def tile(rng: Rng, parts: Pieces, tissue: str, calibre: float) -> tuple[Floats, NDArray[np.bool_]]:
    """One tile: (2, H, W) concentrations of haematoxylin and eosin, (H, W) mask of nuclei.

    In three of five tiles a neighbouring tissue takes up to 45% of the area. `calibre` (0 to 1)
    is the slide's preference for small or large variants of every nucleus.
    """
    field = TISSUES[tissue](rng, parts)
    if rng.uniform() < 0.6:
        others = [name for name in NEIGHBOURS.get(tissue, BENIGN) if name != tissue]
        field = _join(rng, parts, field, TISSUES[str(rng.choice(others))](rng, parts))
    if rng.uniform() < 0.2:
        place = scattered(rng, parts.size, int(rng.integers(2, 12)))
        field.add("erythrocyte", place, 0.0)
    thickness = np.float32(np.exp(rng.normal(0, 0.12)))
    stains, nuclei = _lay(rng, parts, field, calibre)
    return np.maximum(stains, 0) * thickness, nuclei


def _join(rng: Rng, parts: Pieces, main: Field, other: Field) -> Field:
    """Give the other tissue 10 to 45% of the area, along a smooth border."""
    size = parts.size
    y, x = np.mgrid[:size, :size].astype(np.float32) / size - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    ramp = x * float(np.cos(turn)) + y * float(np.sin(turn))
    ramp = ramp + 0.08 * parts.textures.cut(parts.textures.coarse, rng, size)
    edge = np.quantile(ramp[::4, ::4], 1 - rng.uniform(0.1, 0.45))
    share = np.clip((ramp - edge) * size / 3 + 0.5, 0, 1)
    bodies = []
    for field, wanted in ((main, False), (other, True)):
        for rows in field.bodies:
            spot = np.clip(rows[:, 2:], 0, size - 1).astype(int)
            bodies.append(rows[(share[spot[:, 0], spot[:, 1]] > 0.5) == wanted])
    return Field(
        main.haematoxylin * (1 - share) + other.haematoxylin * share,
        main.eosin * (1 - share) + other.eosin * share,
        bodies,
    )


def _lay(rng: Rng, parts: Pieces, field: Field, calibre: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Paste the bodies over the ground: (2, H, W) concentrations and the mask of nuclei."""
    size = parts.size
    canvas = np.zeros((2, size + 2 * STAMP, size + 2 * STAMP), np.float32)
    canvas[0, STAMP:-STAMP, STAMP:-STAMP] = field.haematoxylin
    canvas[1, STAMP:-STAMP, STAMP:-STAMP] = field.eosin
    nuclei = np.zeros(canvas.shape[1:], bool)
    rows = np.concatenate(field.bodies) if field.bodies else np.zeros((0, 4), np.float32)
    rows = rows[np.argsort(NUCLEAR[rows[:, 0].astype(int)], kind="stable")]  # nuclei on top
    kinds = rows[:, 0].astype(int)
    turns = np.rint(rows[:, 1] * TURNS / np.pi).astype(int) % TURNS
    variants = rng.integers(0, VARIANTS - 4, len(rows)) + round(4 * calibre)
    stamps = np.stack([kinds, turns, variants], 1).tolist()
    middle = np.rint(rows[:, 2:]).astype(int) + STAMP
    visible = ((middle > STAMP // 2) & (middle < size + 3 * STAMP // 2)).all(1)
    for i in np.flatnonzero(visible):
        kind, turn, variant = stamps[i]
        reach, (y, x) = parts.bank.reach[kind], middle[i]
        inner = slice(STAMP // 2 - reach, STAMP // 2 + reach)
        down, right = slice(y - reach, y + reach), slice(x - reach, x + reach)
        rest = parts.bank.rest[kind, turn, variant, inner, inner]
        window = canvas[:, down, right]
        window *= rest
        window += parts.bank.paint[kind, turn, variant, :, inner, inner]
        if NUCLEAR[kind]:
            nuclei[down, right] |= rest < 0.5
    inner = slice(STAMP, -STAMP)
    return canvas[:, inner, inner], nuclei[inner, inner]
