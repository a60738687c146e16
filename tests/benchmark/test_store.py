"""The store: whatever happens to its files, it never returns something wrong."""

import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import SslBenchError
from benchmark.store import EmbeddingStore, Entry, EntryKey

KEY = EntryKey("encoder", "data", "clip", "float32")


def shard(index: int, size: int = 10) -> dict[str, np.ndarray]:
    return {"values": np.random.default_rng(index).standard_normal((size, 8)).astype(np.float32)}


def filled(root: Path) -> Entry:
    entry = EmbeddingStore(root).entry(KEY, 30, 10, {"encoder": "e"})
    with entry.exclusive():
        for index in entry.missing():
            entry.write(index, shard(index))
        entry.finish()
    return entry


def reopened(root: Path) -> Entry:
    return EmbeddingStore(root).entry(KEY, 30, 10, {"encoder": "e"})


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    filled(tmp_path)
    entry = reopened(tmp_path)
    assert entry.missing() == []
    expected = np.concatenate([shard(i)["values"] for i in range(3)])
    np.testing.assert_array_equal(entry.read()["values"], expected)


def test_an_interrupted_entry_lacks_only_the_shards_not_yet_written(tmp_path: Path) -> None:
    entry = reopened(tmp_path)
    entry.write(1, shard(1))
    again = reopened(tmp_path)
    assert again.missing() == [0, 2]
    assert not again.complete


@pytest.mark.parametrize("position", [5, 60, -1, -200])
@pytest.mark.parametrize("finished", [True, False])
def test_a_flipped_byte_is_found_and_only_that_shard_redone(
    tmp_path: Path, position: int, finished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    entry = filled(tmp_path)
    if not finished:
        (entry.folder / "manifest.json").unlink()
    path = entry.path(1)
    content = bytearray(path.read_bytes())
    content[position] ^= 0x40
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "ssl_bench"):
        assert reopened(tmp_path).missing() == [1]
    assert "00001.safetensors is damaged" in caplog.text


@pytest.mark.parametrize("kept", [0, 1, 40, 200])
def test_a_truncated_manifest_is_said_and_rebuilt_without_recomputing(
    tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    entry = filled(tmp_path)
    manifest = entry.folder / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:kept])
    again = reopened(tmp_path)
    with caplog.at_level(logging.WARNING, "ssl_bench"):
        assert again.missing() == []
    assert "manifest.json is damaged" in caplog.text
    again.finish()
    assert reopened(tmp_path).complete


def test_a_shard_of_another_place_is_not_taken_for_this_one(tmp_path: Path) -> None:
    entry = filled(tmp_path)
    (entry.folder / "manifest.json").unlink()
    os.replace(entry.path(0), entry.path(2))
    assert reopened(tmp_path).missing() == [0, 2]


def test_a_manifest_with_a_false_checksum_is_not_believed(tmp_path: Path) -> None:
    entry = filled(tmp_path)
    path = entry.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["shards"]["2"] = "0" * 64
    path.write_text(json.dumps(manifest))
    assert reopened(tmp_path).missing() == [2]


def test_no_temporary_file_stays_behind_when_writing_fails(tmp_path: Path) -> None:
    entry = reopened(tmp_path)
    with pytest.raises(ValueError, match="boom"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "benchmark.paths.os.fsync", lambda _: (_ for _ in ()).throw(ValueError("boom"))
        )
        entry.write(0, shard(0))
    assert list(entry.folder.glob(".writing-*")) == []
    assert entry.missing() == [0, 1, 2]


def test_two_writers_at_once_compute_once(tmp_path: Path) -> None:
    computed: list[int] = []

    def work() -> None:
        entry = reopened(tmp_path)
        with entry.exclusive():
            for index in entry.missing():
                computed.append(index)
                entry.write(index, shard(index))
            entry.finish()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(computed) == [0, 1, 2]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_explained_and_what_was_stored_stays(tiny_disk: Path) -> None:
    entry = EmbeddingStore(tiny_disk).entry(KEY, 30_000, 1_000, {})
    with pytest.raises(SslBenchError, match="is full.*goes on from there"):
        for index in range(30):
            entry.write(index, shard(index, 1_000))
    stored = [index for index in range(30) if entry.path(index).is_file()]
    assert stored
    again = EmbeddingStore(tiny_disk).entry(KEY, 30_000, 1_000, {})
    assert again.missing() == [index for index in range(30) if index not in stored]
    assert list(entry.folder.glob(".writing-*")) == []
