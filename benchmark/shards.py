"""One shard: arrays and a few facts in a safetensors file, floats at the precision of the store.

The file format (https://github.com/huggingface/safetensors#format) is eight bytes with the length
of a JSON header, the header with type, shape and place of every array, and the arrays. What is
written is written by the library; rows are read from their place in the file, without the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError

Arrays = dict[str, NDArray[Any]]
DTYPES = ("float32", "float16", "bfloat16")  # of stored embeddings
EXACT = ("counts", "centres")  # numbers and coordinates: never rounded
_TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8", "BF16": "<u2"}
_HALF = {"F16": "float16", "BF16": "bfloat16"}
_LONGEST = 100 << 20  # bytes of a header that safetensors accepts


def check_dtype(dtype: str) -> str:
    """The name of a storage precision, if it is one.

    Raises:
        SslBenchError: it is none.
    """
    if dtype not in DTYPES:
        raise SslBenchError(f"--store-dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    return dtype


def serialise(arrays: Arrays, dtype: str, key: str, index: int, seconds: float) -> bytes:
    """The bytes of shard `index` of an entry; embeddings are rounded to `dtype`, to nearest even.

    Raises:
        SslBenchError: a value beyond the range of float16.
    """
    facts = {"seconds": f"{seconds:.4f}"}
    stored = {
        name: np.ascontiguousarray(array if name in EXACT else _rounded(array, dtype))
        for name, array in arrays.items()
    }
    facts["sha256"] = checksum(stored, key, index)
    if dtype == "bfloat16":
        import torch
        from safetensors.torch import save

        tensors = {
            name: torch.from_numpy(a).view(torch.bfloat16) if a.dtype == "<i2" else _tensor(a)
            for name, a in stored.items()
        }
        return save(tensors, facts)
    from safetensors.numpy import save as save_arrays

    return save_arrays(stored, facts)


def _tensor(array: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(np.array(array))  # what was read is not writable


def _rounded(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Floats at the stored precision; the bits of bfloat16 as int16."""
    if dtype == "float32" or array.dtype.kind != "f":
        return array
    if dtype == "bfloat16":
        import torch

        return _tensor(array).to(torch.bfloat16).view(torch.int16).numpy()
    half = _narrowed(array)
    if not np.isfinite(half).all():
        raise SslBenchError(
            f"an embedding of {np.abs(array).max():.3g} is beyond the range of float16 (65,504): "
            "use --store-dtype bfloat16 or float32"
        )
    return half


def _narrowed(array: NDArray[Any]) -> NDArray[np.float16]:
    """Floats as float16, to nearest even; infinite beyond its range."""
    if array.dtype == np.float32:  # the same bits thirty times as fast as NumPy's
        import torch

        return _tensor(array).to(torch.float16).numpy()
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def checksum(arrays: Mapping[str, NDArray[Any]], key: str, index: int) -> str:
    """sha256 of the arrays as stored, bound to their entry and place."""
    digest = hashlib.sha256(f"{key} {index}".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Place:
    """Where an array stands in a file."""

    code: str  # safetensors' name of its type
    shape: tuple[int, ...]
    offset: int

    @property
    def row_bytes(self) -> int:
        items = int(np.prod(self.shape[1:], dtype=np.int64))
        return items * np.dtype(_TYPES[self.code]).itemsize

    def stored(self, raw: Any, rows: int) -> NDArray[Any]:
        return np.frombuffer(raw, _TYPES[self.code]).reshape(rows, *self.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows as they are read: half precisions become float32."""
        return np.dtype(np.float32 if self.code in _HALF else _TYPES[self.code])

    def read(self, file: BinaryIO, first: int, out: NDArray[Any]) -> None:
        """Fill `out`, (n, ...) without gaps, with the rows from `first` on.

        file: opened without a buffer.

        Raises:
            EOFError: it ends before.
        """
        kind = np.dtype(_TYPES[self.code])
        stored = out if out.dtype == kind else np.empty(out.shape, kind)
        file.seek(self.offset + first * self.row_bytes)
        view = stored.reshape(-1).view(np.uint8).data
        while view:
            got = file.readinto(view)  # type: ignore[attr-defined]
            if not got:
                raise EOFError
            view = view[got:]
        if self.code in _HALF:
            import torch

            half = torch.from_numpy(stored.view(np.int16)).view(getattr(torch, _HALF[self.code]))
            torch.from_numpy(out).copy_(half)
        elif stored is not out:
            out[...] = stored


@dataclass(frozen=True)
class Header:
    """What a shard holds."""

    places: dict[str, Place]
    facts: dict[str, str]


def read_header(path: Path) -> Header:
    """The header of a shard.

    Raises:
        ValueError, KeyError, TypeError: it is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = os.fstat(file.fileno()).st_size
        if not 2 <= length <= min(_LONGEST, size - 8):
            raise ValueError(f"{path} is no safetensors file")
        listed = json.loads(file.read(length))
    facts = listed.pop("__metadata__", {})
    places = {}
    for name, stated in listed.items():
        begin, end = stated["data_offsets"]
        place = Place(stated["dtype"], tuple(stated["shape"]), 8 + length + begin)
        if (end - begin) != place.row_bytes * (place.shape or (1,))[0] or 8 + length + end > size:
            raise ValueError(f"{path}: {name} is cut off")
        places[name] = place
    return Header(places, facts)


def read_stored(path: Path) -> tuple[Arrays, Header]:
    """The arrays of a shard as they are stored (bfloat16 as int16), and its header."""
    header = read_header(path)
    content = memoryview(path.read_bytes())
    arrays = {}
    for name, place in header.places.items():
        raw = content[place.offset : place.offset + place.row_bytes * place.shape[0]]
        stored = place.stored(raw, place.shape[0])
        arrays[name] = stored.view("<i2") if place.code == "BF16" else stored
    return arrays, header
