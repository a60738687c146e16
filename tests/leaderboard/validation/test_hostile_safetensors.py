"""Hostile checkpoints: refused by one sentence, quickly, and nothing in them runs."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A file from its header (an object, or its text) and its data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str, shape: list[Any], begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def one(entry: dict[str, Any], data: bytes = bytes(16), key: str = "w") -> bytes:
    return safetensors({key: entry}, data)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('this ran')",)


def zip_bomb() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    return held.getvalue()


def f32(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


CASES = {  # name -> (bytes, words of the refusal)
    "empty": (b"", "an empty file"),
    "seven bytes": (b"1234567", "ends after 7 bytes"),
    "pickle": (pickle.dumps({"w": Payload()}), "a Python pickle"),
    "old pickle": (pickle.dumps({"w": Payload()}, protocol=0), "safetensors.torch.save_file"),
    "zip bomb": (zip_bomb(), "a zip archive"),
    "gzip bomb": (gzip.compress(bytes(10_000_000)), "a gzip archive"),
    "web page": (b"<!DOCTYPE html><html><script>alert(1)</script></html>", "a web page"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "tar": (b"w" + bytes(256) + b"ustar" + bytes(250), "a tar archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "header bomb": (safetensors(b"{", length=2**63), "header length"),
    "header of 99 GB": (safetensors(b"{}", length=99_000_000_000), "at most 4,194,304"),
    "header past the end": (safetensors(b"{}", length=2_000), "cut off"),
    "no JSON": (safetensors(b"{" + b"x" * 20), "not JSON"),
    "not UTF-8": (safetensors(b'{"\xff\xfe": 1}'), "not JSON"),
    "a list": (safetensors(b"[1, 2, 3, 4, 5]"), "does not begin with"),
    "nesting bomb": (safetensors(b'{"a":' + b"[" * 99_999 + b"]" * 99_999 + b"}"), "deeper"),
    "no tensors": (safetensors({}), "names no tensor"),
    "only metadata": (safetensors({"__metadata__": {"a": "b"}}), "names no tensor"),
    "metadata with numbers": (safetensors({"__metadata__": {"a": 1}}), "not all texts"),
    "endless metadata": (safetensors({"__metadata__": {"a": "b" * 70_000}}), "longer than"),
    "duplicate keys": (
        safetensors(
            b'{"w": {"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"w": {"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            bytes(4),
        ),
        "'w' stands twice",
    ),
    "NaN in the header": (
        safetensors(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4)),
        "NaN is not JSON",
    ),
    "overlap": (
        safetensors({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}, bytes(12)),
        "overlaps another",
    ),
    "same bytes twice": (
        safetensors({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 0, 8)}, bytes(8)),
        "overlaps another",
    ),
    "gap": (
        safetensors({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 8, 12)}, bytes(12)),
        "leaves a gap",
    ),
    "hidden tail": (one(tensor("F32", [1], 0, 4), bytes(4) + b"PK\x03\x04"), "after the last"),
    "offsets past the end": (one(tensor("F32", [8], 0, 32)), "outside the 16 bytes"),
    "negative offset": (one(tensor("F32", [4], -16, 0)), "outside the 16 bytes"),
    "reversed offsets": (one(tensor("F32", [4], 16, 0)), "outside the 16 bytes"),
    "float offsets": (one(tensor("F32", [4], 0.0, 16.0)), "not a pair of integers"),
    "huge offset": (one(tensor("F32", [4], 0, 2**64)), "outside the 16 bytes"),
    "negative shape": (one(tensor("F32", [-1, -4], 0, 16)), "negative size"),
    "true as a size": (one(tensor("F32", [True, 4], 0, 16)), "not a list of integers"),
    "text as a size": (one(tensor("F32", ["4"], 0, 16)), "not a list of integers"),
    "overflowing shape": (one(tensor("F32", [2**33, 2**33], 0, 16)), "more than 2^40"),
    "overflow behind a zero": (one(tensor("F32", [0, 2**62, 4], 0, 0), b""), "more than 2^40"),
    "many dimensions": (one(tensor("F32", [1] * 99 + [4], 0, 16)), "100 dimensions"),
    "shape and bytes differ": (one(tensor("F32", [5], 0, 16)), "takes 20 bytes"),
    "unknown dtype": (one(tensor("C64", [2], 0, 16)), "dtype 'C64'"),
    "dtype is a list": (one({**tensor("F32", [4], 0, 16), "dtype": ["F32"]}), "is not one of"),
    "missing field": (one({"dtype": "F32", "shape": [4]}), "exactly dtype, shape"),
    "extra field": (one({**tensor("F32", [4], 0, 16), "code": "x"}), "exactly dtype, shape"),
    "entry is a number": (safetensors({"w": 1}, bytes(4)), "exactly dtype, shape"),
    "path as a name": (one(tensor("F32", [4], 0, 16), key="../../etc/passwd"), "its name is not"),
    "markup as a name": (one(tensor("F32", [4], 0, 16), key="<script>"), "its name is not"),
    "NUL in a name": (one(tensor("F32", [4], 0, 16), key="w\x00"), "its name is not"),
    "empty name": (one(tensor("F32", [4], 0, 16), key=""), "its name is not"),
    "lone surrogate": (
        safetensors(b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
        "its name is not",
    ),
    "too many tensors": (
        safetensors({f"w{i}": tensor("F32", [0], 0, 0) for i in range(20_001)}),
        "20,001 tensors",
    ),
    "NaN": (one(tensor("F32", [2], 0, 8), f32(1, float("nan"))), "NaN, infinite"),
    "infinity": (one(tensor("F32", [2], 0, 8), f32(1, float("-inf"))), "NaN, infinite"),
    "NaN in float16": (one(tensor("F16", [1], 0, 2), b"\x01\x7e"), "NaN, infinite"),
    "infinity in bfloat16": (one(tensor("BF16", [1], 0, 2), b"\x80\x7f"), "NaN, infinite"),
    "truth value of 7": (one(tensor("BOOL", [1], 0, 1), b"\x07"), "impossible values"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_hostile_checkpoint_is_refused(case: str, refused: Callable[..., str]) -> None:
    data, words = CASES[case]
    assert words in refused("checkpoint", data, architecture="random-pointnet")
