"""The header of a safetensors file, parsed by the letter of the format before anything loads it.

Format (https://huggingface.co/docs/safetensors): 8 bytes little-endian length N, N bytes of JSON
that begin with `{` and may end in spaces, then the tensors' bytes without gap or overlap.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from leaderboard.validation.content import HEAD, refuse_other_content
from leaderboard.validation.refusal import Refusal, shown
from leaderboard.validation.strict_json import parse_json

SAVE_AGAIN = "save the state_dict again with safetensors.torch.save_file"
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/:+]{0,511}")
MAX_HEADER = 4 * 2**20
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 2**40
MAX_METADATA = 65_536  # characters


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: where its bytes lie in the file, [begin, end)."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(file: BinaryIO, size: int, name: str) -> dict[str, TensorEntry]:
    """Tensor name -> entry, in the order of the bytes; `size` is that of the whole file.

    Raises:
        Refusal: anything that is not exactly a safetensors file.
    """
    head = file.read(HEAD)
    refuse_other_content(head, name, "a safetensors file", SAVE_AGAIN)
    if len(head) < 8:
        raise Refusal(name, "header", f"the file ends after {size} bytes", SAVE_AGAIN)
    (length,) = struct.unpack("<Q", head[:8])
    if length > MAX_HEADER:
        raise Refusal(
            name,
            "header length",
            f"it says {length:,} bytes, and at most {MAX_HEADER:,} are read",
            SAVE_AGAIN,
        )
    if 8 + length > size:
        raise Refusal(
            name,
            "header length",
            f"it says {length:,} bytes in a file of {size:,}",
            "the file is cut off: export or upload it again",
        )
    text = head[8 : 8 + length]
    text += file.read(length - len(text))
    if not text.startswith(b"{"):
        raise Refusal(name, "header", "it does not begin with '{'", SAVE_AGAIN)
    header = parse_json(
        text.rstrip(b" "), name, "header", SAVE_AGAIN, max_bytes=MAX_HEADER, max_depth=4
    )
    if not isinstance(header, dict):
        raise Refusal(name, "header", "it is not a JSON object", SAVE_AGAIN)
    _check_metadata(header.pop("__metadata__", {}), name)
    if not header:
        raise Refusal(name, "header", "it names no tensor", SAVE_AGAIN)
    if len(header) > MAX_TENSORS:
        raise Refusal(
            name, "header", f"{len(header):,} tensors, at most {MAX_TENSORS:,}", SAVE_AGAIN
        )
    start = 8 + length
    entries = {key: _entry(key, value, start, size, name) for key, value in header.items()}
    ordered = dict(sorted(entries.items(), key=lambda pair: (pair[1].begin, pair[1].end)))
    _check_cover(ordered, start, size, name)
    return ordered


def _check_metadata(metadata: Any, name: str) -> None:
    texts = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not texts:
        raise Refusal(name, "__metadata__", "its values are not all texts", SAVE_AGAIN)
    if sum(len(key) + len(value) for key, value in metadata.items()) > MAX_METADATA:
        raise Refusal(
            name,
            "__metadata__",
            f"it is longer than {MAX_METADATA:,} characters",
            "leave the metadata out",
        )


def _entry(key: str, value: Any, start: int, size: int, name: str) -> TensorEntry:
    field = f"tensor {shown(key)!r}"

    def refusal(problem: str, remedy: str = SAVE_AGAIN) -> Refusal:
        return Refusal(name, field, problem, remedy)

    if not KEY.fullmatch(key) or ".." in key:
        raise refusal("its name is not letters, digits and _ . - / : +", "rename it")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise refusal("it needs exactly dtype, shape and data_offsets")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise refusal(
            f"dtype {shown(dtype)!r} is not one of {', '.join(ITEM_BYTES)}",
            "convert it to float32, float16 or bfloat16",
        )
    if not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise refusal("shape is not a list of integers")
    if len(shape) > MAX_DIMENSIONS:
        raise refusal(f"{len(shape)} dimensions, at most {MAX_DIMENSIONS}")
    if any(n < 0 for n in shape):
        raise refusal(f"shape {shown(shape)} has a negative size")
    spread = elements = 1
    for n in shape:
        spread, elements = spread * max(n, 1), elements * n
        if spread > MAX_ELEMENTS:
            raise refusal(f"shape {shown(shape)} has more than 2^40 elements")
    if not (
        isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int for n in offsets)
    ):
        raise refusal("data_offsets is not a pair of integers")
    begin, end = offsets
    if not 0 <= begin <= end <= size - start:
        raise refusal(
            f"data_offsets {shown(offsets)} lie outside the {size - start:,} bytes of data",
            "the file is cut off or damaged: export or upload it again",
        )
    if end - begin != elements * ITEM_BYTES[dtype]:
        raise refusal(
            f"{dtype} of shape {shown(shape)} takes {elements * ITEM_BYTES[dtype]:,} bytes, "
            f"data_offsets give it {end - begin:,}"
        )
    return TensorEntry(dtype, tuple(shape), start + begin, start + end)


def _check_cover(ordered: dict[str, TensorEntry], start: int, size: int, name: str) -> None:
    """Every byte of the data belongs to exactly one tensor."""
    position = start
    for key, entry in ordered.items():
        if entry.begin != position:
            what = "overlaps another one" if entry.begin < position else "leaves a gap before it"
            raise Refusal(name, f"tensor {shown(key)!r}", f"data_offsets: it {what}", SAVE_AGAIN)
        position = entry.end
    if position != size:
        raise Refusal(name, "data", f"{size - position:,} bytes after the last tensor", SAVE_AGAIN)
