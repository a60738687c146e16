"""Published ASTROMER weights: their names, and reading them without TensorFlow.

The authors publish TensorFlow checkpoints, a pair `weights.index` and `weights.data-00000-of-00001`
in a zip file. This turns such a pair into a safetensors file, names and arrays unchanged:

    python -m baselines.astronomy.astromer_checkpoint macho/weights astromer-macho.safetensors

The same file can be written where TensorFlow is installed: `tf.train.load_checkpoint(prefix)` gives
the names and `get_tensor(name)` the arrays. In it, and in our modules, the names are (i: block)

    layer_with_weights-0/inp_transform/kernel, bias         inp_transform.weight (transposed), .bias
    layer_with_weights-0/enc_layers/i/mha/wq/kernel, bias   enc_layers.i.mha.wq.weight, .bias
        and wk, wv, dense (the mixing layer)                    likewise
    layer_with_weights-0/enc_layers/i/ffn/layer_with_weights-0/...   enc_layers.i.ffn.0...
    layer_with_weights-0/enc_layers/i/ffn/layer_with_weights-1/...   enc_layers.i.ffn.2...
    layer_with_weights-0/enc_layers/i/layernorm1/gamma, beta         enc_layers.i.layernorm1...
    layer_with_weights-1/...                                the reconstruction head, not used

each with `/.ATTRIBUTES/VARIABLE_VALUE` at its end; optimizer variables are not used.

The format of the pair: the index is a sorted string table of LevelDB, uncompressed
(https://github.com/google/leveldb/blob/main/doc/table_format.md), whose values are
`BundleEntryProto` messages (`tensorflow/core/protobuf/tensor_bundle.proto`); the data file holds
the raw arrays.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.checkpoint import tensors_of
from benchmark.errors import EncoderError

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
ENCODER, HEAD = "layer_with_weights-0/", "layer_with_weights-1/"
UNUSED = rf"^{HEAD}|^optimizer/|^save_counter/|/\.OPTIMIZER_SLOT/|^_CHECKPOINTABLE_OBJECT_GRAPH$"
RENAMED = {
    "ffn.layer_with_weights-0.": "ffn.0.",
    "ffn.layer_with_weights-1.": "ffn.2.",
    ".kernel": ".weight",
    ".gamma": ".weight",
    ".beta": ".bias",
}
FOOTER = 48  # bytes
MAGIC = 0xDB4775248B80FB57
FLOAT32 = 1  # DataType.DT_FLOAT


def module_tensors(entries: Mapping[str, Any]) -> dict[str, Tensor]:
    """Entries under the published names (or already under ours) -> tensors under ours."""
    found = {}
    for key, value in tensors_of(entries, prefixes=(ENCODER,), drop=UNUSED).items():
        name = key.removesuffix(VALUE).replace("/", ".")
        for published, own in RENAMED.items():
            name = name.replace(published, own)
        is_kernel = key.removesuffix(VALUE).endswith("/kernel") and value.ndim == 2
        found[name] = value.T.contiguous() if is_kernel else value
    return found


def read_bundle(prefix: Path) -> dict[str, Tensor]:
    """The float32 variables of a TensorFlow checkpoint of one shard, by name.

    Raises:
        EncoderError: no such checkpoint, or not in this format.
    """
    index, data = Path(f"{prefix}.index"), Path(f"{prefix}.data-00000-of-00001")
    for file in (index, data):
        if not file.is_file():
            raise EncoderError(f"there is no {file}: give the path without .index")
    table, arrays = index.read_bytes(), data.read_bytes()
    found = {}
    try:
        for key, value in _table(table):
            if not key.endswith(VALUE.encode()):
                continue
            entry = _message(value)
            if entry.get(1) != FLOAT32:
                continue
            shape = [_message(part).get(1, 0) for part in _parts(entry.get(2, b""), 2)]
            start, size = entry.get(4, 0), entry[5]
            raw = bytearray(arrays[start : start + size])
            found[key.decode()] = torch.frombuffer(raw, dtype=torch.float32).reshape(shape).clone()
    except (struct.error, IndexError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise EncoderError(f"{index} is no whole TensorFlow checkpoint ({error})") from None
    if not found:
        raise EncoderError(f"{index} holds no variables")
    return found


def _table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted string table: the footer names the index of its blocks."""
    footer = table[-FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != MAGIC:
        raise ValueError("its footer is another file's")
    at = 0
    numbers = []
    for _ in range(4):
        number, at = _varint(footer, at)
        numbers.append(number)
    for _, handle in _block(table, numbers[2], numbers[3]):
        offset, at = _varint(handle, 0)
        size, _ = _varint(handle, at)
        yield from _block(table, offset, size)


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of one block; a key gives only what differs from the one before."""
    if table[offset + size] != 0:
        raise ValueError("its blocks are compressed")
    block = table[offset : offset + size]
    restarts = struct.unpack("<I", block[-4:])[0]
    at, key = 0, b""
    while at < size - 4 - 4 * restarts:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at : at + size], at + size
        yield tag >> 3, value


def _message(message: bytes) -> dict[int, Any]:
    return dict(_fields(message))


def _parts(message: bytes, number: int) -> list[bytes]:
    return [value for field, value in _fields(message) if field == number]


def convert(prefix: Path, target: Path) -> int:
    """Write the variables of a TensorFlow checkpoint as safetensors; returns how many there are."""
    from safetensors.torch import save_file

    found = read_bundle(prefix)
    save_file(found, target)
    return len(found)


if __name__ == "__main__":
    import sys

    if len(sys.argv) != 3 or re.fullmatch(r"-h|--help", sys.argv[1]):
        sys.exit("python -m baselines.astronomy.astromer_checkpoint PREFIX FILE.safetensors")
    try:
        written = convert(Path(sys.argv[1]), Path(sys.argv[2]))
    except EncoderError as problem:
        sys.exit(str(problem))
    print(f"{written} variables in {sys.argv[2]}")
