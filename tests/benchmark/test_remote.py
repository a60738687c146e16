"""The store in an object store: faults, kills and a second writer never give anything wrong."""

import json
import logging
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import s3fs
from command_line import Done, run, start
from s3_server import Server, bench_server

from benchmark import objects
from benchmark.errors import SslBenchError
from benchmark.objects import Bucket
from benchmark.store import EmbeddingStore, EntryKey, open_store

KEY = EntryKey("encoder", "data", "clip", "float32")
URL = "s3://bench/store"


def shard(index: int) -> dict[str, np.ndarray]:
    return {"values": np.random.default_rng(index).standard_normal((10, 8)).astype(np.float32)}


EXPECTED = np.concatenate([shard(i)["values"] for i in range(3)])


running = pytest.fixture(scope="module")(bench_server)


@pytest.fixture
def s3(running: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server, and `URL` a prefix that no other test uses."""
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(objects, "PAUSE", 0.01)
    monkeypatch.setitem(globals(), "URL", f"s3://bench/{tmp_path.name}")
    s3fs.S3FileSystem.clear_instance_cache()  # it keeps the address and rights of another test
    running.faults.clear()
    running.seen.clear()
    running.slow = 0.8
    return running


def machine(monkeypatch: pytest.MonkeyPatch, place: Path) -> EmbeddingStore:
    """The store as another machine sees it, which has no copies yet."""
    monkeypatch.setenv("SSL_BENCH_CACHE", str(place))
    return open_store(URL)


def fill(store: EmbeddingStore, seconds: float = 0.0) -> None:
    entry = store.entry(KEY, 30, 10, {"encoder": "e"})
    with entry.exclusive():
        for index in entry.missing():
            entry.write(index, shard(index), seconds)
        entry.finish()


def values(store: EmbeddingStore) -> np.ndarray:
    entry = store.entry(KEY, 30, 10, {"encoder": "e"})
    assert entry.missing() == []
    assert entry.complete
    return entry.read()["values"]


def test_what_one_machine_writes_another_reads(
    s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(open_store(URL), seconds=1.5)
    store = machine(monkeypatch, tmp_path / "other")
    np.testing.assert_array_equal(values(store), EXPECTED)
    assert store.entry(KEY, 30, 10, {}).seconds() == 4.5
    assert [name for method, name in s3.seen if method == "PUT"][-1].endswith("manifest.json")


def test_a_second_read_transfers_no_shard(s3: Server) -> None:
    fill(open_store(URL))
    s3.seen.clear()
    values(open_store(URL))
    assert not [name for method, name in s3.seen if name.endswith(".safetensors")]


@pytest.mark.long
def test_a_killed_run_goes_on_from_its_finished_shards(
    s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = open_store(URL).entry(KEY, 30, 10, {})
    entry.write(1, shard(1))
    entry.settle()  # and no manifest
    again = machine(monkeypatch, tmp_path / "other").entry(KEY, 30, 10, {})
    assert again.missing() == [0, 2]
    assert not again.complete


def test_a_shard_that_could_not_be_sent_is_sent_later_not_computed_again(
    s3: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "TRIES", 2)
    s3.fail("500", "PUT", "00001-", times=2)
    with pytest.raises(SslBenchError, match="cannot be reached after 2 tries"):
        fill(open_store(URL))
    assert open_store(URL).entry(KEY, 30, 10, {}).missing() == []


@pytest.mark.parametrize("kind", ["500", "timeout", "truncate", "cut", "flip"])
def test_a_fault_while_reading_is_tried_again(
    s3: Server, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(open_store(URL))
    s3.fail(kind, "GET", "00001-", times=2)
    np.testing.assert_array_equal(values(machine(monkeypatch, tmp_path / "other")), EXPECTED)
    assert not s3.faults


@pytest.mark.parametrize("kind", ["500", "timeout"])
@pytest.mark.parametrize("part", ["00001-", "manifest.json"])
def test_a_fault_while_writing_is_tried_again(
    s3: Server, kind: str, part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    s3.fail(kind, "PUT", part, times=2)
    fill(open_store(URL))
    assert len(s3.faults) < 2  # the client may have been too slow for the second time-out
    np.testing.assert_array_equal(values(machine(monkeypatch, tmp_path / "other")), EXPECTED)


@pytest.mark.long
def test_a_fault_while_listing_is_tried_again(s3: Server) -> None:
    fill(open_store(URL))
    s3.fail("500", "GET", "/bench", times=2)
    np.testing.assert_array_equal(values(open_store(URL)), EXPECTED)


def test_two_writers_that_differ_leave_one_whole_entry(
    s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both find nothing, both write every shard (other seconds: other bytes), in any order."""
    entries = [machine(monkeypatch, tmp_path / name).entry(KEY, 30, 10, {}) for name in ("a", "b")]
    assert [entry.missing() for entry in entries] == [[0, 1, 2]] * 2
    barrier = threading.Barrier(2)

    def work(number: int) -> None:
        for index in range(3):
            barrier.wait()
            entries[number].write(index, shard(index), seconds=float(number))
        barrier.wait()
        entries[number].finish()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in ("a", "b", "third"):
        np.testing.assert_array_equal(values(machine(monkeypatch, tmp_path / place)), EXPECTED)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_a_damaged_object_is_found_and_only_that_shard_redone(
    s3: Server,
    damage: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(open_store(URL))
    monkeypatch.setattr(objects, "TRIES", 2)
    bucket = Bucket(URL)
    (name,) = (name for name in bucket.sizes("") if "/00001-" in name)
    content = bucket.read(name)
    bucket.remove(name)
    if damage != "gone":
        bucket.write(name, content[:-4] + (b"" if damage == "truncated" else b"abcd"))
    store = machine(monkeypatch, tmp_path / "other")
    entry = store.entry(KEY, 30, 10, {})
    if damage == "gone":
        assert entry.missing() == [1]
    else:
        assert entry.missing() == []
        with (
            caplog.at_level(logging.WARNING, "ssl_bench"),
            pytest.raises(SslBenchError, match="is damaged"),
        ):
            entry.read()
        assert "is computed again" in caplog.text
        assert entry.missing() == [1]
    entry.write(1, shard(1))
    entry.finish()
    np.testing.assert_array_equal(values(machine(monkeypatch, tmp_path / "third")), EXPECTED)


def test_damaged_objects_are_all_found_at_once(
    s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(open_store(URL))
    monkeypatch.setattr(objects, "TRIES", 1)
    bucket = Bucket(URL)
    for name in bucket.sizes(""):
        if name.endswith(".safetensors"):
            bucket.write(name, b"damaged")
    entry = machine(monkeypatch, tmp_path / "other").entry(KEY, 30, 10, {})
    assert entry.missing() == []
    with pytest.raises(SslBenchError, match="is damaged"):
        entry.read()
    assert entry.missing() == [0, 1, 2]


@pytest.mark.parametrize("kept", [0, 1, 40, 300])
def test_a_truncated_manifest_is_rebuilt_without_recomputing(s3: Server, kept: int) -> None:
    fill(open_store(URL))
    bucket = Bucket(URL)
    (name,) = (name for name in bucket.sizes("") if name.endswith("manifest.json"))
    bucket.write(name, bucket.read(name)[:kept])
    entry = open_store(URL).entry(KEY, 30, 10, {"encoder": "e"})
    assert entry.missing() == []
    assert not entry.complete
    entry.finish()
    np.testing.assert_array_equal(values(open_store(URL)), EXPECTED)
    assert json.loads(bucket.read(name))["count"] == 30


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://no-such-bucket/x", "--store s3://no-such-bucket/x: there is no bucket.*create it"),
        ("foo://bench/x", "the scheme foo:// is not known; use s3://"),
        ("s3://", "names no bucket"),
        ("az://bench/x", r"needs the package adlfs: pip install 'ssl-bench\[azure\]'"),
    ],
)
def test_a_url_that_cannot_be_used_gets_one_clear_error(
    s3: Server, url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url.startswith("az:"):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SslBenchError, match=message):
        open_store(url).entry(KEY, 30, 10, {}).missing()


def test_without_credentials_the_error_says_which_to_set(
    s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SslBenchError, match="access is denied .*set AWS_ACCESS_KEY_ID"):
        open_store(URL).entry(KEY, 30, 10, {}).missing()


@pytest.mark.long
def test_a_server_that_is_not_there_is_said(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(objects, "TRIES", 2)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SslBenchError, match="cannot be reached after 2 tries.*goes on from there"):
        open_store(URL).entry(KEY, 30, 10, {}).missing()


def evaluate(out: Path, *options: str, cache: Path) -> Done:
    command = ("eval", "--model", "mock-spectrum", "--task", "mock-pitch", "--workers", "1")
    return run(*command, "--out", str(out), *options, SSL_BENCH_CACHE=str(cache))


@pytest.mark.long
def test_the_command_line_computes_on_one_machine_and_reads_on_another(
    s3: Server, tmp_path: Path
) -> None:
    plain = evaluate(tmp_path / "plain", cache=tmp_path / "a")
    assert plain.returncode == 0, plain.stderr
    first = evaluate(tmp_path / "first", "--store", URL, cache=tmp_path / "b")
    assert "waited for data" in first.stderr
    second = evaluate(tmp_path / "second", "--store", URL, cache=tmp_path / "c")
    assert "waited for data" not in second.stderr  # nothing was computed
    scores = [
        sorted(p.read_text().partition('"cost"')[0] for p in (tmp_path / n / "results").iterdir())
        for n in ("plain", "first", "second")
    ]
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--store", "s3://no-such-bucket/x"), "there is no bucket 'no-such-bucket'"),
        (("--store", "foo://x/y"), "the scheme foo:// is not known"),
        (("--store-dtype", "int8"), "--store-dtype 'int8' is not one of float32, float16"),
    ],
)
def test_the_command_line_says_in_one_line_what_cannot_be(
    s3: Server, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    found = evaluate(tmp_path / "out", *options, cache=tmp_path / "cache")
    assert found.returncode == 2
    assert message in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr


def cache(command: str, *options: str) -> Done:
    return run("cache", command, "--store", URL, *options)


@pytest.mark.long
def test_the_cache_commands_show_verify_and_prune_an_object_store(
    s3: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(open_store(URL))
    assert "1 entries" in cache("ls").stdout
    assert cache("verify").returncode == 0
    other = machine(monkeypatch, tmp_path / "other").entry(KEY, 30, 10, {"encoder": "e"})
    other.write(0, shard(0), seconds=9.0)  # a second writer's, which no manifest lists
    other.settle()
    assert "0 objects" in cache("prune", "--dry-run").stdout  # it may belong to a run
    monkeypatch.setattr("benchmark.commands.remote_cache.UNNAMED_SECONDS", -60)
    from benchmark.commands.cache import prune_command

    prune_command(None, None, False, False, URL)
    names = sorted(Bucket(URL).sizes(""))
    assert len(names) == 4
    np.testing.assert_array_equal(values(machine(monkeypatch, tmp_path / "third")), EXPECTED)
    Bucket(URL).write(names[1], b"damaged")
    found = cache("verify")
    assert found.returncode == 1
    assert "3 shards checked, 1 damaged" in found.stdout
    assert "3 objects" in cache("prune", "--encoder", "e").stdout
    assert Bucket(URL).sizes("") == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kills_on_a_machine_that_loses_its_cache_cost_what_was_not_sent(
    s3: Server, tmp_path: Path
) -> None:
    """SIGKILL while embedding; the next run is another machine's, which has the store alone."""
    log = tmp_path / "log"
    log.touch()
    eval_slow = ("eval", "--model", "mock-slow", "--task", "mock-many", "--workers", "1")

    def options(name: str) -> tuple[tuple[str, ...], dict[str, str]]:
        places = ("--store", URL, "--out", str(tmp_path / name))
        return (*eval_slow, *places), {"SSL_BENCH_CACHE": str(tmp_path / f"cache-{name}")}

    kills = 3
    for number in range(kills):
        command, environment = options(str(number))
        before = log.stat().st_size
        process = start(*command, MOCK_LOG=str(log), **environment)
        while log.stat().st_size < before + 30 and process.running:
            time.sleep(0.005)  # a few batches
        process.send_signal(signal.SIGKILL)
        process.wait()
    command, environment = options("last")
    assert run(*command, MOCK_LOG=str(log), **environment).returncode == 0
    command, environment = options("plain")
    plain = tuple(word for word in command if word not in ("--store", URL))
    assert run(*plain, **environment).returncode == 0
    first, second = (
        next((tmp_path / name / "results").glob("*.json")).read_text().partition('"cost"')[0]
        for name in ("last", "plain")
    )
    assert first == second
    given = sum(map(int, log.read_text().split()))
    assert given <= 1280 + 2 * 64 + kills * 4 * 128
