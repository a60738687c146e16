"""Pickles of arrays are read as pickle reads them; nothing else in a pickle is run."""

import io
import os
import pickle
import struct
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import DatasetError
from tasks.pointcloud.restricted_pickle import load_arrays

NAME = attrgetter("__name__")
ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(4, 3),
    np.arange(6, dtype=">f8").reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    np.array([True, False]),
    np.zeros((0, 6), np.float32),
    np.array(7, np.int64),
]


def stored(folder: Path, content: Any, protocol: int = 4) -> Path:
    path = folder / "data.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_what_pickle_reads(tmp_path: Path, protocol: int) -> None:
    content: dict[str, Any] = {
        "train": [(array, 3, np.int32(5)) for array in ARRAYS],
        "test": [[], "text", 1.5],
    }
    read = load_arrays(stored(tmp_path, content, protocol))
    assert read["test"] == content["test"]
    for (array, label, scalar), (expected, _, _) in zip(
        read["train"], content["train"], strict=True
    ):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype
        assert (label, scalar, scalar.dtype) == (3, 5, np.int32)


def test_reads_pickles_of_python_2_and_numpy_1(tmp_path: Path) -> None:
    raw = np.arange(3, dtype="<f4").tobytes()
    # what Python 2's cPickle writes for np.arange(3, dtype='f4')
    text = (
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntS'b'\ntRp3\n"
        b"(I1\n(I3\ntcnumpy\ndtype\np4\n(S'f4'\nI0\nI1\ntRp5\n(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        b"I00\nS" + repr(raw)[1:].encode() + b"\ntb."
    )
    path = tmp_path / "old.pkl"
    path.write_bytes(text)
    np.testing.assert_array_equal(load_arrays(path), np.arange(3, dtype=np.float32))


class Harmful:
    """Makes a file when it is unpickled by the ordinary reader."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call", [os.system, exec, eval, io.open, np.save], ids=attrgetter("__name__")
)
def test_code_is_refused_and_not_run(tmp_path: Path, call: Any, protocol: int) -> None:
    mark = tmp_path / "run"
    arguments = {
        os.system: (f"touch {mark}",),
        io.open: (str(mark), "w"),
        np.save: (str(mark) + ".npy", [1]),
    }.get(call, (f"open({str(mark)!r}, 'w')",))
    path = stored(tmp_path, {"train": [(ARRAYS[0], 0, 0), Harmful(call, *arguments)]}, protocol)
    with pytest.raises(DatasetError, match=r"data\.pkl.* names .*nothing in it was run.*publisher"):
        load_arrays(path)
    assert os.listdir(tmp_path) == ["data.pkl"]


def global_of(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@pytest.mark.parametrize(
    "program",
    [
        # a method of something that is allowed
        global_of("numpy", "ndarray.tofile") + b".",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        global_of("numpy", "load") + b"(S'x'\ntR.",
        global_of("numpy.core.multiarray", "fromfile") + b".",
        # attributes set on what the reader itself uses
        global_of("numpy", "ndarray") + b"(N(dS'__setstate__'\nNstb.",
        global_of("_codecs", "encode") + b"(N}S'value'\nNstb.",
        # an array of objects, a dtype that is not of numbers, too few bytes, a negative side
        pickle.dumps(np.array([{}], dtype=object)),
        pickle.dumps(np.array(["a"])),
        pickle.dumps(np.zeros(2, [("x", "f4")])),
        pickle.dumps(np.array(["2020-01-01"], dtype="M8[D]")),
        pickle.dumps(np.zeros(4, np.float32), 2).replace(b"K\x04\x85", b"K\x05\x85"),
        # a record without a state, a persistent id, an extension code, no pickle, nothing
        b"Pname\n.",
        b"\x80\x02\x82\x01.",
        b"not a pickle",
        b"",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 40),
        # a list that holds itself
        b"]\x94h\x00a.",
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, program: bytes) -> None:
    path = tmp_path / "data.pkl"
    path.write_bytes(program)
    with pytest.raises(DatasetError, match=r"data\.pkl.*get the file again"):
        load_arrays(path)
    np.testing.assert_array_equal(load_arrays(stored(tmp_path, ARRAYS[0])), ARRAYS[0])


def test_truncated_and_missing_files_are_named(tmp_path: Path) -> None:
    path = stored(tmp_path, ARRAYS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"data\.pkl cannot be read.*get the file again"):
        load_arrays(path)
    with pytest.raises(DatasetError, match=r"none\.pkl is missing"):
        load_arrays(tmp_path / "none.pkl")
