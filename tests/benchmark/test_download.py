"""`data fetch` against a real server on this machine: resuming, checksums, hostile answers."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark.distribution import Distribution, Download
from benchmark.download import FETCHED, fetch, unfinished
from benchmark.errors import SslBenchError

CONTENT = bytes(range(256)) * 20_000  # 5 MB


@dataclass
class Site:
    """What the server has and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None  # close the first connections after so many bytes
    cuts: int = 0
    ranges: bool = True
    chunked: bool = False  # the length is not told beforehand
    failures: int = 0  # 503 for the first requests
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Range
    tag: str = ""  # ETag of the files
    port: int = 0

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


@pytest.fixture
def site() -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            wanted = self.headers.get("Range", "")
            state.asked.append((self.path, wanted))
            content = state.files.get(self.path.strip("/"))
            if state.failures:
                state.failures -= 1
                self.send_error(503)
                return
            if content is None:
                self.send_error(404)
                return
            same = self.headers.get("If-Range", state.tag) == state.tag
            begin = int(wanted[6:].split("-")[0]) if wanted and state.ranges and same else 0
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header(
                    "Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}"
                )
            if state.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(content) - begin))
            if state.tag:
                self.send_header("ETag", state.tag)
            self.end_headers()
            body = content[begin:]
            if state.chunked:
                body = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
            if state.cut is not None and state.cuts:
                state.cuts -= 1
                body = body[: state.cut]
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def dataset(*downloads: Download) -> Distribution:
    return Distribution(("set", "SET-1.0"), ("data.bin",), downloads)


def sound(site: Site, name: str = "data.bin", content: bytes = CONTENT) -> Download:
    site.files[name] = content
    return Download(site.url(name), size=len(content), sha256=hashlib.sha256(content).hexdigest())


def test_a_file_arrives_whole_with_progress_and_is_not_fetched_twice(
    site: Site, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []
    published = dataset(sound(site))
    folder = fetch(published, tmp_path, lambda *step: told.append(step))
    assert folder == tmp_path / "set"
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert told[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    assert len(told) > 3
    fetch(published, tmp_path)
    assert len(site.asked) == 1


def test_a_broken_connection_is_resumed_where_it_ended(site: Site, tmp_path: Path) -> None:
    site.cut, site.cuts = 1_500_000, 2
    fetch(dataset(sound(site)), tmp_path, pause=0.01)
    assert (tmp_path / "set" / "data.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["", "bytes=1500000-", "bytes=3000000-"]


def test_a_killed_run_goes_on_with_what_it_had(site: Site, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.bin.part").write_bytes(CONTENT[:2_000_000])
    fetch(dataset(sound(site)), tmp_path)
    assert (tmp_path / "set" / "data.bin").read_bytes() == CONTENT
    assert site.asked == [("/data.bin", "bytes=2000000-")]


def test_a_server_that_cannot_resume_is_asked_for_all(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.bin.part").write_bytes(b"something else")
    fetch(dataset(sound(site)), tmp_path)
    assert (tmp_path / "set" / "data.bin").read_bytes() == CONTENT


def test_a_file_that_changed_since_is_not_joined_to_the_part_of_the_old_one(
    site: Site, tmp_path: Path
) -> None:
    """No checksum would tell: the publisher states none."""
    site.files["data.bin"], site.tag = CONTENT[::-1], '"old"'
    site.cut, site.cuts = 1_000_000, 5
    published = dataset(Download(site.url("data.bin")))
    with pytest.raises(SslBenchError, match="run the command again later"):
        fetch(published, tmp_path, pause=0.001)
    site.files["data.bin"], site.tag = CONTENT, '"new"'
    folder = fetch(published, tmp_path)
    assert site.asked[-1][1] == "bytes=5000000-"
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == [FETCHED, "data.bin"]
    record = json.loads((folder / FETCHED).read_text())[site.url("data.bin")]
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    fetch(published, tmp_path)
    assert len(site.asked) == 6


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.failures = 2
    fetch(dataset(sound(site)), tmp_path, pause=0.01)
    assert (tmp_path / "set" / "data.bin").is_file()


def test_several_files_come_at_once_and_one_failure_keeps_the_others(
    site: Site, tmp_path: Path
) -> None:
    good = [sound(site, f"{number}.bin", bytes([number]) * 1000) for number in range(5)]
    with pytest.raises(SslBenchError, match=r"answers 404 .*put it at .*gone\.bin"):
        fetch(dataset(*good, Download(site.url("gone.bin"))), tmp_path)
    assert all((tmp_path / "set" / f"{number}.bin").is_file() for number in range(5))


def test_a_fetch_that_was_not_ended_is_known_though_the_layout_is_there(
    site: Site, tmp_path: Path
) -> None:
    published = Distribution(
        ("set",), ("*.bin",), (sound(site, "1.bin"), Download(site.url("2.bin")))
    )
    with pytest.raises(SslBenchError, match="answers 404"):
        fetch(published, tmp_path)
    folder = tmp_path / "set"
    assert not published.missing(folder)
    assert unfinished(published, folder)
    site.files["2.bin"] = b"late"
    fetch(published, tmp_path)
    assert not unfinished(published, folder)
    (folder / FETCHED).unlink()
    assert not unfinished(published, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, "its sha256 is"),
        ({"sha256": "", "md5": "0" * 32}, "its md5 is"),
        ({"size": 10}, "sends more than the 10 bytes stated"),
        ({"size": len(CONTENT) + 1}, "bytes"),
    ],
)
def test_what_is_not_as_stated_is_not_used(
    site: Site, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    stated = {**vars(sound(site)), **change}
    with pytest.raises(SslBenchError, match=message):
        fetch(dataset(Download(**stated)), tmp_path, pause=0.01)
    assert not (tmp_path / "set" / "data.bin").exists()


def test_archives_are_unpacked_and_remembered(site: Site, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("SET-1.0/data.bin", b"inside")
    download = sound(site, "set.zip", packed.getvalue())
    published = dataset(Download(**{**vars(download), "strip": 1}))
    folder = fetch(published, tmp_path)
    assert (folder / "data.bin").read_bytes() == b"inside"
    assert not (folder / "set.zip").exists()
    fetch(published, tmp_path)
    assert len(site.asked) == 1


def test_an_archive_that_was_got_by_hand_is_used(site: Site, tmp_path: Path) -> None:
    download = Download(site.url("set.zip"))  # of which nothing is stated
    with pytest.raises(SslBenchError, match=r"answers 404 .* get the file by hand and put it at"):
        fetch(dataset(download), tmp_path)
    with zipfile.ZipFile(tmp_path / "set" / "set.zip", "w") as opened:
        opened.writestr("data.bin", b"inside")
    folder = fetch(dataset(download), tmp_path)
    assert (folder / "data.bin").read_bytes() == b"inside"
    (folder / "set.zip").write_bytes(b"<html>no such file</html>")
    (folder / FETCHED).unlink()
    with pytest.raises(SslBenchError, match=r"set\.zip is damaged .* delete it"):
        fetch(dataset(download), tmp_path)


def test_a_transfer_of_unknown_length_that_breaks_off_is_tried_again(
    site: Site, tmp_path: Path
) -> None:
    site.cut, site.cuts, site.chunked = 1000, 1, True
    folder = fetch(dataset(sound(site)), tmp_path, pause=0.01)
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert len(site.asked) == 2


def test_the_pieces_of_an_archive_are_joined_and_unpacked(site: Site, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("data.bin", CONTENT[:3000])
    whole = packed.getvalue()
    pieces = [whole[:1000], whole[1000:1500], whole[1500:]]
    published = dataset(
        *(
            replace(sound(site, f"set.zip.00{number}", piece), joins="set.zip")
            for number, piece in enumerate(pieces, 1)
        )
    )
    broken = site.files.pop("set.zip.003")
    with pytest.raises(SslBenchError, match="answers 404"):
        fetch(published, tmp_path)
    site.files["set.zip.003"] = broken
    folder = fetch(published, tmp_path)
    assert (folder / "data.bin").read_bytes() == CONTENT[:3000]
    assert sorted(path.name for path in folder.iterdir()) == [FETCHED, "data.bin"]
    asked = len(site.asked)
    assert asked == 4  # what had come was kept
    fetch(published, tmp_path)
    assert len(site.asked) == asked


@pytest.mark.parametrize(
    "hostile", [{"into": "../elsewhere"}, {"name": "../x"}, {"name": ".."}, {"into": "/tmp/x"}]
)
def test_no_file_is_written_outside_the_dataset(
    site: Site, tmp_path: Path, hostile: dict[str, str]
) -> None:
    download = Download(**{**vars(sound(site)), **hostile})
    with pytest.raises(SslBenchError, match=r"leads out of|no file name"):
        fetch(dataset(download), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_no_server_is_one_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SslBenchError, match=r"no connection .*run the command again later"):
        fetch(dataset(Download("http://127.0.0.1:9/data.bin")), tmp_path, pause=0.001)
