"""Tiny files in the official formats: AVI, DICOM, NIfTI-1 and MetaImage."""

import csv
import gzip
import struct
from pathlib import Path

import numpy as np

SIDE = 32


def beating(seed, bright=0.5, frames=6, side=SIDE):
    """A noisy clip (frames, side, side) uint8 with a disc that beats; `bright` in 0..1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side / 2
    radius = side / 4 * (1 + 0.3 * np.cos(np.arange(frames)))[:, None, None]
    disc = x**2 + y**2 < radius**2
    return np.clip(disc * 200 * bright + rng.normal(40, 8, disc.shape), 0, 255).astype(np.uint8)


def write_avi(path, video, fps=30.0):
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    size = (video.shape[2], video.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, size)
    for frame in video:
        writer.write(np.repeat(frame[..., None], 3, 2))
    writer.release()


def write_dicom(path, video, compressed=False, colour="MONOCHROME2"):
    """A multi-frame ultrasound file of grey frames, or of the same in YBR_FULL."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RLELossless, UltrasoundMultiFrameImageStorage

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    file.NumberOfFrames, file.Rows, file.Columns = video.shape
    file.PhotometricInterpretation, file.PixelRepresentation = colour, 0
    file.BitsAllocated, file.BitsStored, file.HighBit, file.FrameTime = 8, 8, 7, "40"
    file.SamplesPerPixel = 1
    if colour != "MONOCHROME2":
        file.SamplesPerPixel, file.PlanarConfiguration = 3, 0
        video = np.stack([video, np.full_like(video, 128), np.full_like(video, 128)], -1)
    file.PixelData = video.tobytes()
    if compressed:
        file.compress(RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)


def write_nifti(path, voxels, order="<"):
    """(T, H, W) or (H, W) uint8 as ITK writes it: x is the first axis of the file."""
    sizes = list(voxels.shape[::-1])
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, len(sizes), *sizes, *[1] * (7 - len(sizes)))
    struct.pack_into(f"{order}2h", header, 70, 2, 8)
    struct.pack_into(f"{order}3f", header, 108, 352.0, 1.0, 0.0)
    header[344:348] = b"n+1\0"
    data = bytes(header) + voxels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def write_meta(path, voxels):
    sizes = " ".join(map(str, voxels.shape[::-1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"ObjectType = Image\nNDims = {voxels.ndim}\nBinaryData = True\n"
        f"BinaryDataByteOrderMSB = False\nCompressedData = False\nDimSize = {sizes}\n"
        f"ElementType = MET_UCHAR\nElementDataFile = {path.stem}.raw\n"
    )
    path.with_suffix(".raw").write_bytes(voxels.tobytes())


def write_table(path, rows, end="\n"):
    """A CSV of the rows' keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)


def change(path: Path, old: str, new: str, count=1):
    """Replace a text in a file, which has to be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")


def cut(path: Path, share=0.5):
    """Keep only the first part of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
