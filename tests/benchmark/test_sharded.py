"""Stored precisions, and arrays that stay on the disk: the same numbers as in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import store as stores
from benchmark.errors import SslBenchError
from benchmark.sharded import ShardedArray
from benchmark.shards import DTYPES
from benchmark.store import EmbeddingStore, Entry, EntryKey

ROWS = (10, 10, 7)
VALUES = np.random.default_rng(0).standard_normal((27, 8)).astype(np.float32)


def filled(root: Path, dtype: str = "float32", scale: float = 1.0) -> Entry:
    entry = EmbeddingStore(root).entry(
        EntryKey("e", "d", "clip", "float32", dtype=dtype), 27, 10, {}
    )
    for index in entry.missing():
        span = entry.span(index)
        entry.write(index, {"values": VALUES[span.start : span.stop] * np.float32(scale)})
    entry.finish()
    return entry


@pytest.fixture(params=DTYPES)
def on_disk(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    entry = filled(tmp_path, request.param)
    whole = entry.read()["values"]
    monkeypatch.setattr(stores, "LARGE_BYTES", 100)
    lazy = entry.read()["values"]
    assert isinstance(lazy, ShardedArray)
    return lazy, whole


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_rounded_once_and_read_as_float32(tmp_path: Path, dtype: str) -> None:
    read = filled(tmp_path, dtype).read()["values"]
    assert read.dtype == np.float32
    rounded = torch.from_numpy(VALUES).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(read, rounded)


def test_float16_is_numpys_in_every_value_and_at_every_tie(tmp_path: Path) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    exact = np.sort(halves[np.isfinite(halves)].astype(np.float32))
    between = (exact[1:] + exact[:-1]) / 2
    given = np.concatenate([exact, between, np.nextafter(between, np.float32(0))])[:, None]
    key = EntryKey("e", "d", "clip", "float32", dtype="float16")
    entry = EmbeddingStore(tmp_path).entry(key, len(given), len(given), {})
    entry.write(0, {"values": given})
    entry.finish()
    read = entry.read()["values"]
    expected = given.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(read.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_shard_is_a_safetensors_file_of_that_precision(tmp_path: Path, dtype: str) -> None:
    from safetensors.torch import load_file

    entry = filled(tmp_path, dtype)
    assert load_file(entry.path(0))["values"].dtype == getattr(torch, dtype)
    (entry.folder / "manifest.json").unlink()
    again = EmbeddingStore(tmp_path).entry(entry.key, 27, 10, {})
    assert again.missing() == []  # each shard agrees with the checksum in its header


def test_the_precision_is_part_of_the_key_and_float32_keeps_its_name() -> None:
    names = {EntryKey("e", "d", "clip", "float32", dtype=dtype).digest() for dtype in DTYPES}
    assert len(names) == 3
    # the name that this key had before there was a choice
    assert EntryKey("e", "d", "clip", "float32").digest() == "7c7aa4bcb26d76006ef3b6c7718e634d"


def test_a_value_beyond_float16_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SslBenchError, match="beyond the range of float16.*--store-dtype bfloat16"):
        filled(tmp_path, "float16", 1e6)
    filled(tmp_path, "bfloat16", 1e6)


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(3, 25),
        slice(10, 20),
        slice(5, 5),
        slice(20, 3, -2),
        np.array([26, 0, 13, 13, 9, 10]),
        np.array([-1, 2]),
        np.arange(27) % 3 == 0,
        [4, 22],
        np.array([], dtype=int),
        7,
        -1,
        (slice(None), 2),
    ],
    ids=str,
)
def test_rows_are_those_of_the_whole(on_disk: Any, index: Any) -> None:
    lazy, whole = on_disk
    np.testing.assert_array_equal(lazy[index], whole[index])


def test_it_is_an_array_to_numpy_and_a_part_of_it_stays_on_the_disk(on_disk: Any) -> None:
    lazy, whole = on_disk
    assert (len(lazy), lazy.shape, lazy.ndim, np.size(lazy)) == (27, (27, 8), 2, 216)
    np.testing.assert_array_equal(np.asarray(lazy), whole)
    np.testing.assert_array_equal(lazy - whole.mean(0), whole - whole.mean(0))
    rows = np.array([25, 3, 4, 11])
    part = lazy.take(rows)
    assert isinstance(part, ShardedArray)
    np.testing.assert_array_equal(part[1:], whole[rows][1:])
    np.testing.assert_array_equal(part.take(np.array([2, 0]))[:], whole[rows][[2, 0]])
    with pytest.raises(IndexError):
        lazy[27]


def test_a_file_that_is_cut_off_is_noticed(on_disk: Any) -> None:
    lazy, _ = on_disk
    content = lazy.paths[1].read_bytes()
    lazy.paths[1].write_bytes(content[:-8])
    with pytest.raises(OSError, match="was cut off"):
        lazy[:]


def test_shards_of_different_types_are_read_as_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EmbeddingStore(tmp_path).entry(EntryKey("e", "d", "clip", "float32"), 27, 10, {})
    for index in entry.missing():
        span = entry.span(index)
        kind = np.float64 if index else np.float32
        entry.write(index, {"values": VALUES[span.start : span.stop].astype(kind)})
    entry.finish()
    monkeypatch.setattr(stores, "LARGE_BYTES", 100)
    read = entry.read()["values"]
    np.testing.assert_array_equal(read[:], VALUES)
    np.testing.assert_array_equal(read[[25, 3, 12]], VALUES[[25, 3, 12]])
