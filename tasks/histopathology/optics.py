"""From stain concentrations to the pixels of a scanned slide.

A section stained with haematoxylin and eosin absorbs light by the law of Beer and Lambert: the
optical density of a pixel is the sum of the stains' concentrations times their optical density
vectors in R, G, B (Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 23, 2001), and the light that
passes is 10^-OD of the lamp's. Slides differ in those vectors, in how strongly they took each stain
and in how they were scanned; every tile of a slide shares one draw (`Slide`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# rows haematoxylin, eosin; columns R, G, B
RUIFROK = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
# the reference slide of Macenko et al., ISBI 2009, as commonly used for stain normalisation
MACENKO = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])

# ITU-T T.81, annex K: quantisation tables of luminance and chrominance at quality 50
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
_RGB = np.linalg.inv(_YCC).astype(np.float32)


@dataclass(frozen=True)
class Slide:
    """One draw of staining and scanner, shared by every tile of the slide."""

    stains: Floats  # (2, 3) unit optical density vectors: haematoxylin, eosin
    strength: Floats  # (2,) factor on the concentrations
    lamp: Floats  # (3,) light through bare glass, as a fraction of full scale
    gamma: Floats  # (3,) the scanner's tone curve
    blur: float  # standard deviation of the point spread function, pixels
    noise: float  # standard deviation of shot noise at full light
    quality: int  # of the JPEG compression, 1 to 100
    calibre: float  # 0 to 1: small or large nuclei, as tissue shrinks in fixation


def draw_slide(rng: np.random.Generator) -> Slide:
    """Draw the staining and the scanner of one slide."""
    mixed = RUIFROK + rng.uniform(0, 1, (2, 1)) * (MACENKO - RUIFROK)
    mixed = np.maximum(mixed + rng.normal(0, 0.05, (2, 3)), 0.02)
    return Slide(
        stains=(mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32),
        strength=np.exp(rng.normal([-0.1, -0.45], [0.28, 0.35])).astype(np.float32),
        lamp=(rng.uniform(0.9, 0.98) + rng.uniform(-0.03, 0.02, 3)).astype(np.float32),
        gamma=(rng.uniform(0.85, 1.2) + rng.normal(0, 0.03, 3)).astype(np.float32),
        blur=float(rng.uniform(0.4, 1.1)),
        noise=float(rng.uniform(0.005, 0.03)),
        quality=int(rng.integers(55, 93)),
        calibre=float(rng.uniform(0, 1)),
    )


def transmit(concentrations: Floats, slide: Slide) -> Floats:
    """(N, 2, H, W) stain concentrations -> (N, 3, H, W) transmitted light; bare glass: the lamp."""
    vectors = -np.log(np.float32(10)) * slide.strength[:, None] * slide.stains
    light = _mix(concentrations, vectors.T)
    np.exp(light, out=light)
    light *= slide.lamp[:, None, None]
    return light


def scan(concentrations: Floats, slide: Slide, rng: np.random.Generator) -> Bytes:
    """(N, 2, H, W) stain concentrations -> (N, H, W, 3) uint8; H and W are multiples of 16."""
    light = transmit(concentrations, slide)
    light = gaussian_filter(light, (0, 0, slide.blur, slide.blur), mode="nearest", truncate=3)
    shot = rng.standard_normal(light.shape, np.float32)
    light = np.clip(light + np.float32(slide.noise) * np.sqrt(light) * shot, 1e-6, 1)
    toned = np.exp(np.log(light) * slide.gamma[:, None, None]) * 255
    return np.ascontiguousarray(np.moveaxis(compress(toned, slide.quality), 1, -1))


def compress(images: Floats, quality: int) -> Bytes:
    """Lose what JPEG loses: (N, 3, H, W) in 0 to 255 -> uint8; H and W are multiples of 16.

    Colour transform, 2x2 chroma subsampling, 8x8 cosine transform and quantisation of ITU-T T.81
    with libjpeg's scaling of the tables. No decoder is involved, so that the result does not depend
    on an installed library.
    """
    scale = 50 / quality if quality < 50 else 2 - quality / 50
    planes = _mix(images - 128, _YCC)
    planes[:, 0] = _requantise(planes[:, 0], LUMINANCE, scale)
    wide = planes[:, 1:, ::2] + planes[:, 1:, 1::2]
    chroma = (wide[..., ::2] + wide[..., 1::2]) * np.float32(0.25)
    planes[:, 1:] = _requantise(chroma, CHROMINANCE, scale).repeat(2, -2).repeat(2, -1)
    return np.clip(np.rint(_mix(planes, _RGB) + 128), 0, 255).astype(np.uint8)


def _mix(planes: Floats, matrix: Floats) -> Floats:
    """(N, C, H, W) -> (N, D, H, W): a (D, C) matrix on the channels; fast for planes in memory."""
    n, channels, height, width = planes.shape
    mixed: Floats = matrix @ planes.reshape(n, channels, -1)
    return mixed.reshape(n, -1, height, width)


def _requantise(planes: Floats, table: Floats, scale: float) -> Floats:
    """Round the 8x8 cosine coefficients of (..., H, W) planes to multiples of the table."""
    steps = np.clip(np.floor(table * scale + 0.5), 1, 255).astype(np.float32)
    *lead, height, width = planes.shape
    blocks = planes.reshape(*lead, height // 8, 8, width // 8, 8).swapaxes(-3, -2)
    coefficients = np.rint((_DCT @ blocks @ _DCT.T) / steps) * steps
    back = _DCT.T @ coefficients @ _DCT
    result: Floats = back.swapaxes(-3, -2).reshape(planes.shape)
    return result


def _cosines() -> Floats:
    """The orthonormal 8-point DCT-II as a matrix."""
    k, n = np.mgrid[:8, :8]
    matrix = np.cos(np.pi * (2 * n + 1) * k / 16) * 0.5
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


_DCT = _cosines()
