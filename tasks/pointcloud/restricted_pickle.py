"""Pickles that hold numpy arrays, read without running anything that stands in them.

A pickle is a program: it names functions and has them called. The few names that numpy's arrays,
dtypes and scalars are pickled under are answered here with inert records; any other name is
refused before it is looked up. The arrays are built afterwards from the records' bytes, so that
numpy's own unpickling sees nothing of the file either. Containers (lists, tuples, dicts), numbers
and texts are what they are.

Format: the Python documentation of `pickle`; `ndarray.__reduce__` and `dtype.__reduce__` of numpy
(names below `numpy.core` before and `numpy._core` since version 2).
"""

from __future__ import annotations

import pickle
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import DatasetError
from benchmark.files import reading

TYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])


class _DType:
    """A dtype of plain numbers: its name, then its state (version, byte order, ...)."""

    def __init__(self, name: Any, *_: Any) -> None:
        name = name.decode("ascii") if isinstance(name, bytes) else name
        if not isinstance(name, str) or name.lstrip("<>|=") not in TYPES:
            raise pickle.UnpicklingError(f"arrays of {name!r} are not plain numbers")
        self.name, self.order = name.lstrip("<>|="), name[0] if name[0] in "<>" else "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.order = ">" if order == ">" else "<"

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.name)


class _Array:
    """An array: what `ndarray.__reduce__` has called, then its state."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.value = _built(raw, dtype, shape, "F" if fortran else "C")


def _built(raw: Any, dtype: Any, shape: Any, order: str = "C") -> Any:
    """The array of `raw` bytes; a pickle of Python 2 has them as Latin-1 text."""
    raw = raw.value if isinstance(raw, _Bytes) else raw
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    sound = isinstance(raw, bytes | bytearray) and isinstance(dtype, _DType)
    shape = (shape,) if isinstance(shape, int) else shape
    if not sound or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise pickle.UnpicklingError("an array is not stored as plain bytes")
    kind = dtype.numpy()
    if len(raw) != prod(shape) * kind.itemsize:
        raise pickle.UnpicklingError(f"{len(raw)} bytes for an array of {kind} {tuple(shape)}")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if order == "F" else "C")


class _Buffer(_Array):
    """An array of pickle protocol 5: `_frombuffer(bytes, dtype, shape, order)`."""

    def __init__(self, raw: Any, dtype: Any, shape: Any, order: Any = "C") -> None:
        self.value = _built(raw, dtype, shape, order)


class _Scalar(_Array):
    """A numpy number: `scalar(dtype, bytes)`."""

    def __init__(self, dtype: Any, raw: Any) -> None:
        self.value = _built(raw, dtype, (1,))[0]


class _Bytes(_Array):
    """Bytes as protocols below 3 write them: `encode(text, "latin1")`, or `bytes()` for none."""

    def __init__(self, text: Any = "", encoding: Any = "latin1") -> None:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("bytes are not written as Latin-1 text")
        self.value = text.encode("latin1")


# Classes only, each with a `__setstate__`: a pickle cannot set attributes on them.
_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes,
    **{
        (f"numpy.{core}.{module}", name): answer
        for core in ("core", "_core")
        for module, name, answer in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _Buffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise DatasetError(
                f"it names {module}.{name}, and only arrays of numbers are read from a pickle; "
                "nothing in it was run"
            )
        return _NAMES[module, name]


def load_arrays(path: Path, remedy: str = "get the file again from its publisher") -> Any:
    """The lists, dicts, numbers and arrays (read-only) in a pickle.

    Raises:
        DatasetError: the file is missing or damaged, or holds anything else, which is not run.
    """
    try:
        with reading(path, remedy), path.open("rb") as file:
            return _plain(_Unpickler(file, encoding="latin1").load())
    except MemoryError:
        raise DatasetError(
            f"{path} announces more than there is memory for: {remedy}, or free some memory"
        ) from None
    except DatasetError as error:
        text = str(error)
        raise DatasetError(text if str(path) in text else f"{path}: {text}: {remedy}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
