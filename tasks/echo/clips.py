"""Reading echocardiographic clips: DICOM by pydicom, AVI / MP4 / MOV by OpenCV.

DICOM attributes are those of PS3.3: Cine module (C.7.6.5: Frame Time, Frame Time Vector, Cine Rate,
Recommended Display Frame Rate) and Image Pixel module (C.7.6.3: Photometric Interpretation).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError

if TYPE_CHECKING:
    from pydicom import Dataset

VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".m4v")
MOST_MISSING = 1  # frames by which a video may fall short of its header: some writers miscount


def read_clip(path: Path | str) -> dict[str, Any]:
    """A clip as an echo task's `input`.

    Returns:
        `video`: (T, H, W) or, where the file is in colour, (T, H, W, 3) RGB, uint8; `fps`: frames
        per second, 0.0 where the file does not say.

    Raises:
        DatasetError: no such file, neither DICOM nor video, damaged or cut short, or a still image.
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such file; check the folder and the name")
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        video, fps = _read_dicom(path)
    elif path.suffix.lower() in VIDEO_SUFFIXES:
        video, fps = _read_video(path)
    else:
        known = ", ".join(VIDEO_SUFFIXES)
        raise DatasetError(f"{path}: neither a DICOM file nor a video ({known}); convert it to one")
    if len(video) < 2:
        raise DatasetError(f"{path}: a still image of one frame, not a clip; leave the file out")
    return {"video": video, "fps": fps}


def _read_dicom(path: Path) -> tuple[NDArray[np.uint8], float]:
    import pydicom
    from pydicom.pixels import pixel_array

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is said below, once
            header = pydicom.dcmread(path)
    except Exception as error:
        raise DatasetError(f"{path}: damaged DICOM file ({_line(error)}); get it again") from error
    if "PixelData" not in header:
        raise DatasetError(
            f"{path}: a DICOM file without complete pixel data: cut short, or no image; "
            "get it again or leave it out"
        )
    count = int(header.get("NumberOfFrames") or 1)
    if count < 2:
        raise DatasetError(f"{path}: a still image of one frame, not a clip; leave the file out")
    try:
        pixels = pixel_array(header)  # YBR is converted to RGB
    except Exception as error:
        raise DatasetError(
            f"{path}: its pixels cannot be decoded ({_line(error)}): the file is cut short or its "
            f"compression ({header.file_meta.TransferSyntaxUID.name}) needs a decoder; get it "
            "again, or `pip install pylibjpeg pylibjpeg-libjpeg`"
        ) from error
    if len(pixels) != count:
        raise DatasetError(
            f"{path}: cut short, {len(pixels)} of {count} frames are there; get it again"
        )
    return _eight_bit(pixels, header), _dicom_rate(header)


def _eight_bit(pixels: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    """Stored values -> uint8 grey (T, H, W) or RGB (T, H, W, 3)."""
    from pydicom.pixels import apply_color_lut

    kind = str(header.PhotometricInterpretation)
    bits = int(header.BitsStored)
    if kind == "PALETTE COLOR":
        pixels, bits = (
            apply_color_lut(pixels, header),
            int(header.RedPaletteColorLookupTableDescriptor[2]),
        )
    elif kind.startswith("MONOCHROME"):
        if header.PixelRepresentation:  # signed values
            pixels = pixels.astype(np.int64) + (1 << (bits - 1))
        if kind == "MONOCHROME1":  # 0 is white
            pixels = (1 << bits) - 1 - pixels.astype(np.int64)
    if bits > 8:
        pixels = pixels >> (bits - 8)
    return np.ascontiguousarray(np.clip(pixels, 0, 255), np.uint8)


def _dicom_rate(header: Dataset) -> float:
    """Frames per second by the first attribute that is present, else 0."""
    frame_time = float(header.get("FrameTime") or 0)
    if frame_time > 0:
        return 1000 / frame_time
    vector = header.get("FrameTimeVector")
    if vector is not None and len(vector) > 1:
        mean = float(np.mean(np.asarray(vector[1:], float)))  # the first value is 0 by definition
        if mean > 0:
            return 1000 / mean
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        if float(header.get(name) or 0) > 0:
            return float(header[name].value)
    return 0.0


def _read_video(path: Path) -> tuple[NDArray[np.uint8], float]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DatasetError(f"{path}: not a readable video, or cut short; get it again")
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        frames = []
        while True:
            found, frame = capture.read()
            if not found:
                break
            frames.append(frame[..., ::-1])  # BGR -> RGB
    finally:
        capture.release()
    if not frames or len(frames) < declared - MOST_MISSING:
        raise DatasetError(
            f"{path}: cut short, {len(frames)} of {max(declared, 1)} frames are there; get it again"
        )
    video = np.stack(frames)
    grey = (video[..., :1] == video).all()
    rate = fps if np.isfinite(fps) and fps > 0 else 0.0
    return np.ascontiguousarray(video[..., 0] if grey else video), rate


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
