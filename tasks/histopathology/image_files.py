"""Photographs and tiles in image files, as (H, W, 3) uint8 pixels; class numbers in masks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading

AGAIN = "get the file again, unchanged"
ENDINGS = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # of 8 bits


def read_image(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of an image of 8 bits a channel; transparency is dropped.

    Raises:
        DatasetError: missing, cut short, of another depth or not of `size` (height, width).
    """
    from PIL import Image

    with reading(path, AGAIN), Image.open(path) as image:
        mode = image.mode
        if mode in MODES:
            pixels = np.array(image.convert("RGB"))
    if mode not in MODES:
        raise DatasetError(f"{path} is a picture of mode {mode}, not of 8 bits a channel: {AGAIN}")
    if size is not None and pixels.shape[:2] != size:
        raise DatasetError(f"{path} has {told(pixels)} pixels, not {size[0]} x {size[1]}: {AGAIN}")
    return pixels


def read_mask(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The numbers (H, W) in a grey or index-coloured image of 8 bits.

    Raises:
        DatasetError: missing, cut short, in colour or not of `size` (height, width).
    """
    from PIL import Image

    with reading(path, AGAIN), Image.open(path) as image:
        mask = np.array(image).astype(np.uint8) if image.mode in ("1", "L", "P") else None
        mode = image.mode
    if mask is None:
        raise DatasetError(f"{path} is a picture of mode {mode}, not class numbers: {AGAIN}")
    if mask.shape != size:
        raise DatasetError(
            f"{path} has {told(mask)} pixels, its image {size[0]} x {size[1]}: {AGAIN}"
        )
    return mask


def told(pixels: NDArray[Any]) -> str:
    """Height and width for a message."""
    return f"{pixels.shape[0]} x {pixels.shape[1]}"


def pictures(folder: Path, endings: Iterable[str] = ENDINGS) -> list[Path]:
    """The image files that lie in a folder, by name; hidden ones (`._x`, `.DS_Store`) are none.

    Raises:
        DatasetError: no such folder, or two files of one name with different endings.
    """
    known = tuple(endings)
    with reading(folder, "get the dataset again"):
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in known and not path.name.startswith(".")
        )
    seen: dict[str, Path] = {}
    for path in found:
        if seen.setdefault(path.stem, path) != path:
            raise DatasetError(f"{seen[path.stem]} and {path.name} are both there: remove one")
    return found


def class_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name of the subfolder and path of every image, subfolder by subfolder.

    Raises:
        DatasetError: no such folder; a subfolder without an image.
    """
    with reading(folder, "get the dataset again"):
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for name in names:
        if name.startswith((".", "__")):  # __MACOSX
            continue
        found = pictures(folder / name)
        if not found:
            raise DatasetError(f"{folder / name} holds no image: get the dataset again")
        for path in found:
            yield name, path


def placed_image(path: Path, folder: Path) -> dict[str, Any]:
    """What is stored of a large photograph: its place below the dataset's folder, and its hash so
    that other pixels are another input. The photograph is decoded once to see that it is whole."""
    pixels = read_image(path)
    return {
        "file": path.relative_to(folder).as_posix(),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def opened_image(stored: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The image of a `placed_image`."""
    return {"image": read_image(folder / stored["file"])}


def open_file(path: Path, why: str) -> Path:
    """A file that an index names.

    Raises:
        DatasetError: it is missing; `why` says who names it.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing ({why}): get the dataset again")
    return path
