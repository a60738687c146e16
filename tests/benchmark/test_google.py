"""Google's object store: the same store, over another protocol and with other words for errors."""

import logging
from pathlib import Path

import numpy as np
import pytest
from command_line import Done, run
from gcs_server import Server, google_server
from s3_server import upload

from benchmark import objects
from benchmark.distribution import Distribution
from benchmark.errors import SslBenchError
from benchmark.mirror import Mirror
from benchmark.objects import Bucket
from benchmark.store import Entry, EntryKey, open_store

running = pytest.fixture(scope="module")(google_server)


@pytest.fixture
def google(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.endpoint)
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # no metadata server is looked for
    monkeypatch.setattr(objects, "PAUSE", 0.01)
    running.faults.clear()
    import gcsfs

    gcsfs.GCSFileSystem.clear_instance_cache()
    return running


@pytest.fixture
def url(google: Server, tmp_path: Path) -> str:
    return f"gs://bench/{tmp_path.name}"


def entry(url: str, monkeypatch: pytest.MonkeyPatch, machine: Path) -> Entry:
    """An entry of three shards, as a machine with this cache sees it."""
    monkeypatch.setenv("SSL_BENCH_CACHE", str(machine))
    key = EntryKey("encoder", "data", "clip", "float32")
    return open_store(url).entry(key, 30, 10, {"encoder": "e"})


def shard(index: int) -> dict[str, np.ndarray]:
    return {"values": np.random.default_rng(index).standard_normal((10, 8)).astype(np.float32)}


EXPECTED = np.concatenate([shard(i)["values"] for i in range(3)])


def fill(found: Entry) -> None:
    for index in found.missing():
        found.write(index, shard(index))
    found.finish()


def test_a_killed_run_goes_on_on_another_machine_through_errors_of_the_server(
    url: str, google: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = entry(url, monkeypatch, tmp_path / "a")
    google.fail("503", "POST", times=2)
    first.write(1, shard(1))
    first.settle()  # and no manifest
    second = entry(url, monkeypatch, tmp_path / "b")
    google.fail("500", "GET", times=2)
    assert second.missing() == [0, 2]
    fill(second)
    third = entry(url, monkeypatch, tmp_path / "c")
    assert third.missing() == []
    assert third.complete
    np.testing.assert_array_equal(third.read()["values"], EXPECTED)
    assert not google.faults


def test_a_damaged_object_is_found_and_only_that_shard_redone(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(entry(url, monkeypatch, tmp_path / "a"))
    bucket = Bucket(url)
    (name,) = (name for name in bucket.sizes("") if "/00001-" in name)
    bucket.write(name, bucket.read(name)[:-4] + b"abcd")
    monkeypatch.setattr(objects, "TRIES", 2)
    other = entry(url, monkeypatch, tmp_path / "b")
    assert other.missing() == []
    with caplog.at_level(logging.WARNING, "ssl_bench"), pytest.raises(SslBenchError):
        other.read()
    assert "is computed again" in caplog.text
    assert other.missing() == [1]
    fill(other)
    third = entry(url, monkeypatch, tmp_path / "c")
    third.missing()
    np.testing.assert_array_equal(third.read()["values"], EXPECTED)


@pytest.mark.parametrize("status", ["401", "403"])
def test_a_refusal_is_told_at_once_with_what_to_set(
    url: str, google: Server, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    google.fail(status, "GET")
    wanted = "access is denied .*storage.objects.list.*GOOGLE_APPLICATION_CREDENTIALS"
    with pytest.raises(SslBenchError, match=wanted):
        entry(url, monkeypatch, tmp_path).missing()


def test_a_server_that_is_not_there_is_said_after_our_own_tries_alone(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(SslBenchError, match="cannot be reached after 6 tries"):
        entry(url, monkeypatch, tmp_path).missing()
    assert "Traceback" not in capsys.readouterr().err


def test_a_dataset_is_mirrored(url: str, google: Server, tmp_path: Path) -> None:
    (tmp_path / "there/set").mkdir(parents=True)
    for name, content in {"meta.csv": b"a,b\n" * 9, "1.npy": bytes(1000)}.items():
        (tmp_path / "there/set" / name).write_bytes(content)
    upload(tmp_path / "there", url)
    copy, layout = Mirror(url), Distribution(("set",), ("meta.csv", "*.npy"))
    assert copy.missing(layout) == []
    copy.bring(layout)
    assert (copy.folder / "set/meta.csv").read_bytes() == b"a,b\n" * 9
    google.seen.clear()
    Mirror(url).bring(layout)
    assert not [path for _, path in google.seen if "alt=media" in path]


def evaluate(out: Path, *options: str, cache: Path) -> Done:
    command = ("eval", "--model", "mock-spectrum", "--task", "mock-pitch", "--workers", "1")
    return run(*command, "--out", str(out), *options, SSL_BENCH_CACHE=str(cache))


def test_the_command_line_gives_the_scores_of_a_local_store(url: str, tmp_path: Path) -> None:
    assert evaluate(tmp_path / "plain", cache=tmp_path / "a").returncode == 0
    found = evaluate(tmp_path / "google", "--store", url, cache=tmp_path / "b")
    assert found.returncode == 0, found.stderr
    assert "gcsfs" not in found.stderr
    assert [name for name in Bucket(url).sizes("") if name.endswith("manifest.json")]
    plain, google = (
        sorted(p.read_text().partition('"cost"')[0] for p in (tmp_path / n / "results").iterdir())
        for n in ("plain", "google")
    )
    assert plain == google


@pytest.mark.parametrize("option", ["--store", "--data-dir"])
def test_a_bucket_that_is_not_there_is_one_line(
    google: Server, option: str, tmp_path: Path
) -> None:
    options = (option, "gs://no-such-bucket/x")
    found = evaluate(tmp_path / "out", *options, cache=tmp_path / "cache")
    assert found.returncode == 2
    assert f"{option} gs://no-such-bucket/x" in found.stderr
    assert "there is no bucket 'no-such-bucket': create it" in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
