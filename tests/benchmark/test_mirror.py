"""Datasets in an object store: mirrored as needed, whole, resumed, and the same data as on disk."""

import os
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from s3_server import Server, bench_server, upload

from benchmark import mirror as mirrors
from benchmark import objects
from benchmark.catalog import load_task
from benchmark.datacheck import lacks_data, task_state
from benchmark.distribution import Distribution
from benchmark.errors import SslBenchError
from benchmark.mirror import Mirror, mirror
from benchmark.prepare import fingerprints

running = pytest.fixture(scope="module")(bench_server)
LAYOUT = Distribution(("set", "Set_1.0"), ("meta.csv", "audio/**/*.npy", "a.txt|b.txt"))


@pytest.fixture
def url(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "PAUSE", 0.01)
    running.faults.clear()
    running.seen.clear()
    mirror.cache_clear()
    return f"s3://bench/{tmp_path.name}"


def write(folder: Path) -> None:
    for name in ("meta.csv", "audio/x/1.npy", "audio/2.npy", "b.txt"):
        path = folder / "set-1.0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000))


@pytest.mark.long
def test_a_dataset_is_mirrored_whole_and_once(url: str, running: Server, tmp_path: Path) -> None:
    write(tmp_path / "there")
    upload(tmp_path / "there", url)
    copy = Mirror(url)
    assert copy.missing(LAYOUT) == []
    copy.bring(LAYOUT)
    for path in (tmp_path / "there").rglob("*.*"):
        if path.is_file():
            brought = copy.folder / path.relative_to(tmp_path / "there")
            assert brought.read_bytes() == path.read_bytes()
    running.seen.clear()
    Mirror(url).bring(LAYOUT)
    assert not [name for method, name in running.seen if name.endswith((".npy", ".csv"))]


def test_what_the_store_lacks_is_told_by_pattern(url: str, tmp_path: Path) -> None:
    write(tmp_path / "there")
    (tmp_path / "there/set-1.0/b.txt").unlink()
    (tmp_path / "there/set-1.0/audio/x/1.npy").unlink()
    (tmp_path / "there/set-1.0/audio/2.npy").unlink()
    upload(tmp_path / "there", url)
    assert Mirror(url).missing(LAYOUT) == ["audio/**/*.npy", "a.txt|b.txt"]
    assert len(Mirror(f"{url}/none").missing(LAYOUT)) == 3


def test_a_large_file_goes_on_where_it_stopped(
    url: str, running: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "there")
    (tmp_path / "there/set-1.0/audio/2.npy").write_bytes(os.urandom(10_000))
    upload(tmp_path / "there", url)
    monkeypatch.setattr(mirrors, "PIECE", 3000)
    monkeypatch.setattr(objects, "TRIES", 1)
    running.fail("pass", "GET", "2.npy", times=2)
    running.fail("500", "GET", "2.npy")
    with pytest.raises(SslBenchError, match="cannot be reached"):
        Mirror(url).bring(LAYOUT)
    (part,) = Mirror(url).folder.rglob("*.part")
    assert part.stat().st_size == 6000
    running.seen.clear()
    Mirror(url).bring(LAYOUT)
    assert len([name for method, name in running.seen if name.endswith("2.npy")]) == 2
    original = (tmp_path / "there/set-1.0/audio/2.npy").read_bytes()
    assert (Mirror(url).folder / "set-1.0/audio/2.npy").read_bytes() == original
    assert not list(Mirror(url).folder.rglob("*.part"))


@pytest.mark.parametrize("kind", ["500", "truncate", "cut", "flip"])
def test_a_fault_is_tried_again(url: str, running: Server, tmp_path: Path, kind: str) -> None:
    write(tmp_path / "there")
    upload(tmp_path / "there", url)
    running.fail(kind, "GET", "1.npy", times=2)
    Mirror(url).bring(LAYOUT)
    original = (tmp_path / "there/set-1.0/audio/x/1.npy").read_bytes()
    assert (Mirror(url).folder / "set-1.0/audio/x/1.npy").read_bytes() == original


def test_a_changed_object_is_fetched_again(url: str, tmp_path: Path) -> None:
    write(tmp_path / "there")
    upload(tmp_path / "there", url)
    copy = Mirror(url)
    copy.bring(LAYOUT)
    os.utime(copy.folder / "set-1.0/b.txt", (0, 0))  # another time: another object
    (copy.folder / "set-1.0/b.txt").write_bytes(b"old")
    Mirror(url).bring(LAYOUT)
    original = (tmp_path / "there/set-1.0/b.txt").read_bytes()
    assert (copy.folder / "set-1.0/b.txt").read_bytes() == original


def test_a_full_disk_is_told_before_anything_is_fetched(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "there")
    upload(tmp_path / "there", url)
    monkeypatch.setattr(mirrors, "SPARE", 1 << 60)
    with pytest.raises(SslBenchError, match="still to be fetched.*GB free: free some space"):
        Mirror(url).bring(LAYOUT)


def test_a_task_reads_the_same_from_a_url_as_from_a_folder(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "there" / "mock-disk"
    (folder / "audio").mkdir(parents=True)
    rows = ["file,speaker,pitch,split"]
    for number, split in enumerate(("train", "validation", "test") * 3):
        name = f"{number}.npy"
        np.save(folder / "audio" / name, np.linspace(0, number + 1, 500, dtype=np.float32))
        rows.append(f"{name},{split}-{number},low,{split}")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    assert lacks_data("mock-disk", url)
    upload(tmp_path / "there", url)
    mirror.cache_clear()
    assert not lacks_data("mock-disk", url)
    assert task_state(load_task("mock-disk", url)).name == "present"
    here = fingerprints(load_task("mock-disk", tmp_path / "there"))
    assert fingerprints(load_task("mock-disk", url)) == here


def test_a_missing_bucket_is_one_clear_error(url: str) -> None:
    with pytest.raises(SslBenchError, match="--data-dir s3://no-bucket-here/x: there is no bucket"):
        lacks_data("mock-disk", "s3://no-bucket-here/x")


@pytest.mark.long
def test_the_command_line_evaluates_a_dataset_from_a_url(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "there" / "mock-disk"
    (folder / "audio").mkdir(parents=True)
    rows = ["file,speaker,pitch,split"]
    for number in range(90):
        split = ("train", "validation", "test")[number % 3]
        tone = np.sin(np.arange(1000) * 0.05 * 4 ** (number // 3 % 3))
        np.save(folder / "audio" / f"{number}.npy", tone.astype(np.float32))
        pitch = ("low", "middle", "high")[number // 3 % 3]
        rows.append(f"{number}.npy,{split}-{number},{pitch},{split}")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    upload(tmp_path / "there", url)
    command = ("eval", "--model", "mock-spectrum", "--task", "mock-disk", "--workers", "1")
    places = ("--data-dir", url, "--store", str(tmp_path / "store"), "--store-dtype", "float16")
    out = ("--out", str(tmp_path / "out"), "--protocol", "linear-probe")
    done = run(*command, *places, *out, SSL_BENCH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "out" / "results").glob("*.json")
    assert '"store_dtype": "float16"' in result.read_text()
    assert list((tmp_path / "store").rglob("manifest.json"))
    lacking = run(*command, "--data-dir", f"{url}/none", *out, SSL_BENCH_CACHE=str(tmp_path / "c"))
    assert lacking.returncode == 1
    assert f"in {url}/none" in " ".join(lacking.stderr.split())
