"""What the echo datasets share: clips, stills and outlines as the engine stores them.

Clips come from `tasks.echo.clips` (AVI, MP4, DICOM). B-mode echocardiograms are grey; where a file
stores colour (three equal channels, the tint of a display map, YBR), the stored value is the luma
of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, rounded, which leaves grey pixels as they are and is
the Y of DICOM's YBR_FULL. Frames whose shorter side has more than `LARGEST` pixels are reduced to
it by averaging over areas: encoders take 112 to 256 pixels, and full-size clips of thousands of
patients would fill terabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading
from tasks.echo.clips import read_clip

Frames = NDArray[np.uint8]  # (T, H, W)
LUMA = (0.299, 0.587, 0.114)
LARGEST = 256


def grey_clip(path: Path, largest: int | None = LARGEST) -> dict[str, Any]:
    """A clip as an echo task's `input`: `video` (T, H, W) uint8 and `fps`.

    Raises:
        DatasetError: as `read_clip`.
    """
    clip = read_clip(path)
    video = grey(clip["video"])
    return {"video": video if largest is None else reduced(video, largest), "fps": clip["fps"]}


def grey(pixels: NDArray[np.uint8]) -> Frames:
    """(T, H, W) or (T, H, W, 3) RGB -> (T, H, W)."""
    if pixels.ndim == 3:
        return pixels
    out = np.empty(pixels.shape[:3], np.uint8)
    for frame, colour in zip(out, pixels, strict=True):  # one by one: floats are eight times larger
        frame[:] = np.rint(colour @ np.array(LUMA))
    return out


def reduced(video: Frames, largest: int) -> Frames:
    """`video` with a shorter side of at most `largest` pixels, the sides' ratio kept."""
    import cv2

    height, width = video.shape[1:]
    scale = largest / min(height, width)
    if scale >= 1:
        return video
    size = (round(width * scale), round(height * scale))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in video])


def grey_still(path: Path) -> dict[str, Any]:
    """A PNG or JPEG as an `input` of one frame, (1, H, W)."""
    from PIL import Image

    with reading(path), Image.open(path) as image:
        if image.mode in ("L", "1"):
            pixels = np.asarray(image.convert("L"))[None]
        elif image.mode in ("I;16", "I", "F"):
            raise DatasetError(f"{path} has more than 8 bits per pixel: get the file again")
        else:
            pixels = grey(np.asarray(image.convert("RGB"))[None])
    return {"video": pixels, "fps": 0.0}


def class_mask(path: Path, classes: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """An index-coloured or grey image whose values are class numbers, as large as its picture.

    Raises:
        DatasetError: a value that is no class, or another size.
    """
    from PIL import Image

    with reading(path), Image.open(path) as image:
        mode, values = image.mode, np.asarray(image)
    if mode not in ("P", "L", "1", "I", "I;16"):
        raise DatasetError(
            f"{path} is a picture in colour ({mode}), not class numbers: get the file again"
        )
    return checked_mask(values, path, classes, shape)


def checked_mask(
    values: NDArray[Any], path: Path, classes: int, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """`values` if they are class numbers below `classes` and the mask has its picture's size.

    Raises:
        DatasetError: they are not.
    """
    if values.shape != shape:
        raise DatasetError(
            f"{path} has {values.shape} pixels and its picture has {shape}: get both files again"
        )
    if values.max(initial=0) >= classes or values.min(initial=0) < 0:
        raise DatasetError(
            f"{path} holds values from {values.min()} to {values.max()}; its classes are 0 to "
            f"{classes - 1}: get the file again, unchanged"
        )
    return values.astype(np.uint8)


def filled(outline: Sequence[tuple[float, float]], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask (H, W) of a closed outline of (x, y) points.

    Corners are rounded to pixels; pixels inside (even-odd rule) or on the line belong to it, as in
    scikit-image's `draw.polygon`, with which EchoNet's authors fill.
    """
    x, y = np.rint(np.asarray(outline, float)).astype(np.int64).T[:, :, None, None]
    x2, y2 = np.roll(x, -1, 0), np.roll(y, -1, 0)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    side = (x2 - x) * (rows - y) - (y2 - y) * (columns - x)
    between = (np.minimum(x, x2) <= columns) & (columns <= np.maximum(x, x2))
    between = between & (np.minimum(y, y2) <= rows) & (rows <= np.maximum(y, y2))
    crossed = ((y <= rows) != (y2 <= rows)) & ((side > 0) == (y2 > y))
    inside = (crossed.sum(0) % 2 == 1) | ((side == 0) & between).any(0)
    return inside.astype(np.uint8)
