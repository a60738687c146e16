"""What the ultrasound beam meets: tissue, blood and valves of a beating heart in standard views.

Every view is drawn in the left ventricle's own coordinates (u across, v from the apex to the base,
mm) on the polar grid of the sector: its echogenicity, the material point at every sample (tissue is
incompressible around the cavity and its displacement dies away outside the heart) and the cavity.
Windows and structures follow the views of the transthoracic examination (Mitchell et al., J Am Soc
Echocardiogr 2019;32:1-64, doi:10.1016/j.echo.2018.06.004), in outline only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.echo.heart import WAIST, Heart, Wall, mitral_opening

Array = NDArray[Any]  # float32 unless said
Size = Array | float
VIEWS = ("A4C", "A2C", "A3C", "PLAX", "PSAX")
BLOOD, REACH = 0.03, 14.0  # amplitude; mm over which heart motion dies away
CHUNK = 5  # frames at once: temporaries stay in the processor's cache


@dataclass(frozen=True)
class Pose:
    """Where the heart lies in the sector, per frame: (T, 1, 1) arrays, mm and radians."""

    x: Array
    z: Array
    tilt: Array
    foreshortening: float  # seen length / true length of the long axis
    mirrored: bool  # display convention
    surroundings: float  # amplitude of the tissue around the heart


@dataclass(frozen=True)
class Scene:
    """(T, nr, na) arrays: amplitude, material coordinates in mm, the left ventricle's cavity."""

    echogenicity: Array
    material: tuple[Array, Array]
    cavity: NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """The ventricle's coordinates of every sample, and what several structures need to know."""

    u: Array
    v: Array
    along_u: Array  # the beam's direction in those coordinates
    along_v: Array
    systole: Array  # (T, 1, 1)
    opening: Array  # (T, 1, 1) of the mitral valve
    heart: Heart
    surroundings: float


def draw_pose(
    view: str, heart: Heart, times: NDArray[np.float64], rng: np.random.Generator
) -> Pose:
    """A probe position that drifts slowly and sways with breathing; `times` (T,) in s."""
    breath = rng.uniform(0.15, 0.45)  # Hz
    sway = np.sin(2 * np.pi * (breath * times + rng.random()))
    drift = rng.normal(0, (2.5, 2.5, 0.035), 3)  # mm/s, mm/s, rad/s
    swing = rng.normal(0, (1.5, 2.0, 0.02), 3)
    moved = times[:, None] * drift + sway[:, None] * swing
    tilt = rng.normal(0, 0.17)
    if view == "PSAX":
        x, z, tilt = rng.normal(0, 6), rng.uniform(58, 78), rng.normal(0, 0.35)
    elif view == "PLAX":
        tilt += rng.uniform(1.05, 1.4)
        x = -0.6 * heart.length * np.sin(tilt) + rng.normal(-4, 6)
        z = -0.6 * heart.length * np.cos(tilt) + rng.uniform(66, 84)
    else:
        x, z = rng.normal(0, 8), rng.uniform(14, 38)
    foreshortening = 1 - abs(rng.normal(0, 0.09)) if view.startswith("A") else rng.uniform(0.9, 1)
    x, z, tilt = (moved + np.array([x, z, tilt])).T.astype(np.float32)[..., None, None]
    surroundings = 10 ** rng.uniform(-1.4, -0.6)
    return Pose(x, z, tilt, max(foreshortening, 0.72), rng.random() < 0.2, surroundings)


def scenes(
    view: str, heart: Heart, pose: Pose, systole: Array, polar: tuple[Array, Array, Array, Array]
) -> Iterator[Scene]:
    """A clip's scenes, a few frames at a time.

    Args:
        systole: (T,) degree of contraction.
        polar: as `Sector.positions` gives it.
    """
    opening = mitral_opening(systole)[:, None, None]
    for start in range(0, len(systole), CHUNK):
        span = slice(start, start + CHUNK)
        now = replace(pose, x=pose.x[span], z=pose.z[span], tilt=pose.tilt[span])
        yield _scene(view, heart, now, systole[span, None, None], opening[span], polar)


def _scene(
    view: str,
    heart: Heart,
    pose: Pose,
    systole: Array,
    opening: Array,
    polar: tuple[Array, Array, Array, Array],
) -> Scene:
    _, angle, x, z = polar
    if pose.mirrored:
        angle, x = -angle, -x
    cos, sin = np.cos(pose.tilt), np.sin(pose.tilt)
    dx, dz = x - pose.x, z - pose.z
    frame = Frame(
        u=cos * dx - sin * dz,
        v=sin * dx + cos * dz,
        along_u=np.sin(angle - pose.tilt),
        along_v=np.cos(angle - pose.tilt),
        systole=systole,
        opening=opening,
        heart=heart,
        surroundings=pose.surroundings,
    )
    if view == "PSAX":
        return _short_axis(frame)
    return _long_axis(view, frame, pose.foreshortening)


def _myocardium(frame: Frame, depth: Array, thickness: Array, nu: Array, nv: Array) -> Array:
    """Amplitude of the wall: weak where the beam runs along it, bright at its two borders.

    `depth` is the distance from the endocardium, (nu, nv) the unit normal.
    """
    facing = np.abs(nu * frame.along_u + nv * frame.along_v)
    amplitude = 0.22 + 0.40 * facing
    inner = np.maximum(1 - ((depth - 0.8) / 2) ** 2, 0)
    outer = np.maximum(1 - ((depth - thickness) / 2.4) ** 2, 0)
    return np.asarray(amplitude + (inner + 1.5 * outer) * (0.15 + 1.1 * facing**2), np.float32)


def _thickness(heart: Heart, radius: Array, shortened: Array) -> Array:
    """Wall thickness that keeps the muscle's volume; `shortened` is length / length at ED."""
    muscle = 2 * heart.radius * heart.wall + heart.wall**2
    return np.asarray(np.sqrt(radius**2 + muscle / shortened) - radius, np.float32)


def _material(frame: Frame, e: Array, radius: Array, beyond: Array, shortened: Array) -> Array:
    """Factor from present to end-diastolic distance from the axis, 1 far outside the heart."""
    present = e * radius
    was = np.sqrt(np.maximum(frame.heart.radius**2 + (present**2 - radius**2) * shortened, 1.0))
    factor = np.where(e > 1, was / np.maximum(present, 1.0), frame.heart.radius / radius)
    return np.asarray(1 + (factor - 1) * np.exp(-np.maximum(beyond, 0) / REACH), np.float32)


def _put_chamber(image: Array, free: NDArray[np.bool_], d: Array, wall: float) -> None:
    """Put a thin-walled blood pool where d < 1 (squared normalised radius) and `free`."""
    np.copyto(image, 0.45, where=free & (d < (1 + wall) ** 2))
    np.copyto(image, BLOOD, where=free & (d < 1))


def _oval(u: Array, v: Array, cu: Size, cv: Size, a: Size, b: Size) -> Array:
    """Squared radius in units of the semi-axes `a` and `b` around (cu, cv)."""
    du, dv = (u - cu) * (1 / a), (v - cv) * (1 / b)
    du *= du
    dv *= dv
    return du + dv


def _plane(view: str, heart: Heart) -> tuple[float, Wall, Wall]:
    """Radius and the walls at u < 0 and u > 0 of a long-axis view."""
    septal, lateral, inferior, anterior = heart.walls
    if view == "A4C":
        return heart.radius, septal, lateral
    if view == "A2C":
        return heart.radius * heart.ovality, inferior, anterior
    return heart.radius * (1 + heart.ovality) / 2, inferior, septal


@lru_cache(8)
def _contractions(left: Wall, right: Wall) -> Array:
    """(128,) inward motion of the two walls in 64 steps each from apex to base."""
    s = np.linspace(0, 1, 64, dtype=np.float32)
    return np.concatenate([left.contraction(s), right.contraction(s)])


def _long_axis(view: str, frame: Frame, foreshortening: float) -> Scene:
    heart, p, u, v = frame.heart, frame.systole, frame.u, frame.v
    shortened = 1 - heart.descent * p
    length = heart.length * foreshortening * shortened
    wide, left, right = _plane(view, heart)
    s = v / length
    inward = _contractions(left, right)
    where = (np.clip(s, 0, 1) * 63 + 0.5).astype(np.int32) + 64 * (u > 0)
    radius = wide * (1 - inward[where] * p)
    q = (s - WAIST) / WAIST
    gu, gv = u / radius**2, q / (WAIST * length)
    e = np.sqrt((u / radius) ** 2 + q * q) + np.float32(1e-6)
    slope = np.sqrt(gu * gu + gv * gv) + np.float32(1e-6)
    depth = (e - 1) * e / slope  # first-order distance from the endocardium
    mean_radius = wide * (1 - inward.mean() * p)
    thickness = _thickness(heart, mean_radius, shortened)

    image = np.full(e.shape, frame.surroundings, np.float32)
    free = (depth > thickness) | (s > 1)
    for d, wall in _neighbours(view, frame, length, wide, thickness):
        _put_chamber(image, free, d, wall)
    muscle = _myocardium(frame, depth, thickness, gu / slope, gv / slope)
    np.copyto(image, muscle, where=(depth <= thickness + 2) & (s < 1.02))
    cavity = (e < 1) & (s < 1)
    np.copyto(image, BLOOD, where=cavity)
    image += 0.7 * _mitral(frame, length, mean_radius)

    factor = _material(frame, e, radius, depth - thickness, shortened)
    fade = np.exp(-np.maximum(depth - thickness, 0) / REACH)
    v_before = v + (heart.length * foreshortening - length) * np.clip(s, 0, 1) * fade
    return Scene(image.astype(np.float32), (u * factor, v_before.astype(np.float32)), cavity)


def _mitral(frame: Frame, length: Array, mean_radius: Array) -> Array:
    """Brightness of the two leaflets, from the annulus to their tips."""
    opened = frame.opening
    annulus = 0.74 * mean_radius
    du, dv = annulus * (0.12 + 0.45 * opened) - annulus, -(2 + 13 * opened)  # hinge to tip
    pu, pv = np.abs(frame.u) - annulus, frame.v - length
    t = np.clip(pu * (du / (du * du + dv * dv)) + pv * (dv / (du * du + dv * dv)), 0, 1)
    pu -= t * du
    pv -= t * dv
    return np.asarray(np.exp((pu * pu + pv * pv) * np.float32(-1 / 1.6**2)), np.float32)


def _neighbours(
    view: str, frame: Frame, length: Array, wide: float, thickness: Array
) -> list[tuple[Array, float]]:
    """Squared normalised radii of the other chambers, and the relative thickness of their walls."""
    u, v, p = frame.u, frame.v, frame.systole
    filling = 1 + 0.12 * p  # the atria fill while the ventricles empty
    left_atrium = _oval(u, v, 2.0, length + 19, 0.85 * wide * filling, 20 * filling)
    chambers = [(left_atrium, 0.1)]
    edge = wide + thickness
    if view == "A4C":
        reach = 15 * (1 - 0.18 * p)
        right_ventricle = _oval(u, v, -edge - 9, 0.62 * length, reach, 0.42 * length)
        right_atrium = _oval(u, v, -edge - 10, length + 18, 16 * filling, 18 * filling)
        chambers += [(right_ventricle, 0.25), (right_atrium, 0.12)]
    if view in ("A3C", "PLAX"):
        aorta = _oval(u, v, 0.75 * wide, length + 16, 11.0, 24.0)
        chambers = [(_oval(u, v, -0.45 * wide, length + 19, 15 * filling, 20 * filling), 0.1)]
        chambers += [(aorta, 0.14)]
    if view == "PLAX":
        chambers += [(_oval(u, v, edge + 9, 0.8 * length, 10 * (1 - 0.15 * p), 34.0), 0.3)]
    return chambers


def _short_axis(frame: Frame) -> Scene:
    heart, p, u, v = frame.heart, frame.systole, frame.u, frame.v
    shortened = 1 - heart.descent * p
    septal, lateral, inferior, anterior = (float(w.contraction(0.5)) for w in heart.walls)
    a = heart.radius * (1 - np.where(u < 0, np.float32(septal), np.float32(lateral)) * p)
    b = (
        heart.radius
        * heart.ovality
        * (1 - np.where(v < 0, np.float32(anterior), np.float32(inferior)) * p)
    )
    gu, gv = u / a**2, v / b**2
    e = np.sqrt((u / a) ** 2 + (v / b) ** 2) + np.float32(1e-6)
    slope = np.sqrt(gu * gu + gv * gv) + np.float32(1e-6)
    depth = (e - 1) * e / slope
    mean = heart.radius * (1 - 0.25 * (septal + lateral + inferior + anterior) * p)
    thickness = _thickness(heart, mean, shortened)

    image = np.full(e.shape, frame.surroundings, np.float32)
    edge = heart.radius + heart.wall
    right = _oval(u, v, -0.75 * edge, -4.0, edge * (1 - 0.12 * p), edge * 1.05)
    _put_chamber(image, depth > thickness, right, 0.12)
    muscle = _myocardium(frame, depth, thickness, gu / slope, gv / slope)
    np.copyto(image, muscle, where=depth <= thickness + 2)
    cavity = e < 1
    np.copyto(image, BLOOD, where=cavity)
    for side in (-1.0, 1.0):  # the papillary muscles
        papillary = _oval(u, v, side * 0.55 * mean, 0.5 * mean, 4.5 + 1.5 * p, 4.5 + 1.5 * p)
        np.copyto(image, 0.5, where=cavity & (papillary < 1))
    factor = _material(frame, e, (a + b) / 2, depth - thickness, shortened)
    return Scene(image.astype(np.float32), (u * factor, v * factor), cavity)
