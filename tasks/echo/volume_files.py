"""Reading the images of CAMUS: MetaImage (.mhd with its .raw) and NIfTI-1 (.nii, .nii.gz).

Both are headers before plain arrays, read here without another library. Formats:
https://itk.org/Wiki/ITK/MetaIO/Documentation and https://nifti.nimh.nih.gov/nifti-1. Voxels are
taken in the order of the file, x fastest, as ITK does: orientation fields are not applied.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import DatasetError
from benchmark.files import reading

SUFFIXES = (".nii.gz", ".nii", ".mhd", ".mha")
NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
META_TYPES = {
    "MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2",
    "MET_UINT": "u4", "MET_INT": "i4", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def read_images(path: Path) -> NDArray[np.uint8]:
    """The images of one file, (T, H, W); a single image is (1, H, W).

    Raises:
        DatasetError: missing, damaged or cut short, of more than three dimensions, or with values
            that are not whole numbers from 0 to 255.
    """
    with reading(path):
        voxels = _read_meta(path) if path.suffix in (".mhd", ".mha") else _read_nifti(path)
    shape = [size for size in voxels.shape if size > 1] if voxels.ndim > 3 else list(voxels.shape)
    if len(shape) not in (2, 3):
        raise DatasetError(f"{path} has the shape {voxels.shape}: images or a sequence are needed")
    images = voxels.reshape([1] * (3 - len(shape)) + shape)
    if images.size == 0 or not np.isfinite(images).all():
        raise DatasetError(f"{path} holds NaN or nothing: get the file again")
    if images.min() < 0 or images.max() > 255 or (images != np.rint(images)).any():
        raise DatasetError(
            f"{path} holds values from {images.min():g} to {images.max():g}, not whole numbers "
            "from 0 to 255: get the file again, unchanged"
        )
    return np.ascontiguousarray(images, np.uint8)


def _array(data: bytes, kind: str, shape: Sequence[int], path: Path) -> NDArray[Any]:
    needed = math.prod(shape) * np.dtype(kind).itemsize
    if len(data) < needed:
        raise DatasetError(
            f"{path} is cut short, {len(data)} of {needed} bytes are there: get the file again"
        )
    return np.frombuffer(data[:needed], kind).reshape(shape)


def _read_nifti(path: Path) -> NDArray[Any]:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error) as error:
            raise DatasetError(
                f"{path} is cut short or damaged ({error}): get the file again"
            ) from error
    order = "<" if data[:4] == b"\x5c\x01\x00\x00" else ">"  # the header's length, 348
    if len(data) < 352 or data[344:347] != b"n+1":
        raise DatasetError(f"{path} is not a NIfTI-1 file in one piece: get the file again")
    dim = np.frombuffer(data, f"{order}i2", 8, 40)
    code = int(np.frombuffer(data, f"{order}i2", 1, 70)[0])
    offset, slope, intercept = np.frombuffer(data, f"{order}f4", 3, 108).astype(float)
    if code not in NIFTI_TYPES or not 1 <= dim[0] <= 7:
        raise DatasetError(f"{path} has the NIfTI data type {code}: get the file again, unchanged")
    shape = [int(size) for size in dim[dim[0] : 0 : -1]]
    voxels = _array(data[int(offset) :], order + NIFTI_TYPES[code], shape, path)
    if np.isfinite(slope) and slope != 0 and (slope, intercept) != (1, 0):
        return voxels * slope + intercept
    return voxels


def _read_meta(path: Path) -> NDArray[Any]:
    data, header = path.read_bytes(), {}
    start = 0
    while "ElementDataFile" not in header:  # by definition the last line of the header
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        name, found, value = data[start:end].decode("latin-1").partition("=")
        if found:
            header[name.strip()] = value.strip()
        start = end + 1
        if start > len(data) and "ElementDataFile" not in header:
            raise DatasetError(f"{path} names no ElementDataFile: get the file again")
    if header.get("ElementType") not in META_TYPES or header.get("ElementNumberOfChannels") not in (
        None,
        "1",
    ):
        raise DatasetError(
            f"{path} has elements of type {header.get('ElementType')}: get the file again"
        )
    own = header["ElementDataFile"].upper() == "LOCAL"
    source = path if own else path.parent / header["ElementDataFile"]
    with reading(source):
        body = data[start:] if own else source.read_bytes()
        if header.get("CompressedData", "False").lower() == "true":
            body = zlib.decompress(body)
    big = header.get("BinaryDataByteOrderMSB", header.get("ElementByteOrderMSB", "False"))
    kind = (">" if big.lower() == "true" else "<") + META_TYPES[header["ElementType"]]
    shape = [int(size) for size in reversed(header["DimSize"].split())]
    skipped = int(header.get("HeaderSize", "0"))
    if skipped < 0:  # the data are the end of the file
        body = body[-math.prod(shape) * np.dtype(kind).itemsize :]
    return _array(body[max(skipped, 0) :], kind, shape, source)
