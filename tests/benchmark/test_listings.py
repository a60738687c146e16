"""Files that a dataset names in a list: checksums, a folder of the hub, a packaged list."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.distribution import Distribution, Download
from benchmark.download import FETCHED, fetch, unfinished
from benchmark.errors import SslBenchError
from benchmark.listings import LISTED, ChecksumList, HubDataset, PackagedList, downloads_of


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, bytes]]]:
    files: dict[str, bytes] = {}  # by path; of what stands below `cut` or `chunked`, half is sent

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = files.get(self.path.strip("/"))
            self.send_response(404 if content is None else 200)
            content = content or b""
            self.send_header("Connection", "close")
            if self.path.startswith("/chunked/"):
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % len(content) + content[: len(content) // 2])
                return
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            short = self.path.startswith("/cut/")
            self.wfile.write(content[: len(content) // 2] if short else content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    server.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def slides(url: str) -> Distribution:
    listing = ChecksumList(f"{url}/SET/checksums.md5", ("images/*.tif", "reference.csv"))
    return Distribution(("slides",), ("images/*.tif",), listings=(listing,))


def test_a_list_of_checksums_is_fetched_and_followed(site, tmp_path: Path) -> None:
    url, files = site
    content = {f"images/test_{n:03}.tif": bytes([n]) * 100 for n in range(3)}
    content |= {"reference.csv": b"test_001,Tumor", "masks/test_001.tif": b"not wanted"}
    files |= {f"SET/{name}": data for name, data in content.items()}
    listed = "".join(f"{md5(data)} *./{name}\n" for name, data in content.items())
    files["SET/checksums.md5"] = listed.encode()
    folder = fetch(slides(url), tmp_path)
    there = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    wanted = [name for name in content if not name.startswith("masks")]
    assert there == sorted([*wanted, FETCHED, LISTED])
    assert not unfinished(slides(url), folder)
    files.clear()  # nothing is asked for again
    fetch(slides(url), tmp_path)
    (folder / "images/test_000.tif").unlink()
    assert unfinished(slides(url), folder)


@pytest.mark.parametrize("way", ["cut", "chunked"])
def test_a_list_that_ends_early_is_not_followed(site, tmp_path: Path, way: str) -> None:
    url, files = site
    files[f"{way}/SET/checksums.md5"] = b"".join(b"%032d *./images/a.tif\n" % n for n in range(9))
    with pytest.raises(SslBenchError, match=r"try again later"):
        fetch(slides(f"{url}/{way}"), tmp_path)
    assert not (tmp_path / "slides" / LISTED).exists()


def test_a_file_that_is_not_as_listed_is_discarded(site, tmp_path: Path) -> None:
    url, files = site
    files["SET/images/test_001.tif"] = b"other"
    files["SET/checksums.md5"] = f"{md5(b'this')}  images/test_001.tif\n".encode()
    with pytest.raises(SslBenchError, match="its md5 is"):
        fetch(slides(url), tmp_path, pause=0.01)
    assert unfinished(slides(url), tmp_path / "slides") or not any(
        (tmp_path / "slides" / "images").glob("*.tif")
    )


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (b"", "lists none of the files expected"),
        (b"xyz  images/a.tif\n", "'xyz' is no md5 or sha256"),
        (b"00112233445566778899aabbccddeeff  images/../../../a.tif\n", "leads out of"),
        (None, r"no answer .*try again later"),
    ],
)
def test_a_list_that_cannot_be_followed(
    site, tmp_path: Path, listed: bytes | None, message: str
) -> None:
    url, files = site
    if listed is not None:
        files["SET/checksums.md5"] = listed
    with pytest.raises(SslBenchError, match=message):
        fetch(slides(url), tmp_path, pause=0.01)
    assert list(tmp_path.rglob("*.tif")) == []


@pytest.mark.parametrize("columns", ["name,size,sha256", "name,md5"])
def test_a_packaged_list(site, tmp_path: Path, columns: str) -> None:
    url, files = site
    data = {"1001_DFA.wav": b"a" * 50, "1002_DFA.wav": b"b" * 60}
    files |= data
    facts = [
        {
            "name": n,
            "size": str(len(d)),
            **{k: hashlib.new(k, d).hexdigest() for k in ("sha256", "md5")},
        }
        for n, d in data.items()
    ]
    lines = [",".join(row[name] for name in columns.split(",")) for row in facts]
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress("\n".join([columns, *lines]).encode()))
    listing = PackagedList(path, url, into="AudioWAV")
    folder = fetch(Distribution(("set",), ("AudioWAV/*",), listings=(listing,)), tmp_path)
    assert {p.name: p.read_bytes() for p in (folder / "AudioWAV").iterdir()} == data


def hub(monkeypatch: pytest.MonkeyPatch, files: dict[str, tuple[int, str]]) -> list[Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    asked: list[Any] = []

    def entries(self: HfApi, repo: str, **place: Any) -> list[RepoFile]:
        asked.append((repo, place))
        return [
            RepoFile(
                path=name,
                size=size,
                oid="0" * 40,
                **({"lfs": {"size": size, "oid": sha, "pointerSize": 130}} if sha else {}),
            )
            for name, (size, sha) in files.items()
        ]

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        HfApi, "dataset_info", lambda self, repo, revision: SimpleNamespace(sha="c" * 40)
    )
    monkeypatch.setattr(HfApi, "list_repo_tree", entries)
    return asked


STARS = HubDataset("lab/stars", ("full_norm/*.parquet|full/*.parquet",))


def test_a_folder_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {"README.md": (10, ""), "full/test-0.parquet": (5, "e" * 64), "sub/a.parquet": (5, "")}
    asked = hub(monkeypatch, files)
    published = Distribution(("stars",), ("full/*",), listings=(STARS,))
    (one,) = downloads_of(published, tmp_path)
    assert one == Download(
        f"https://huggingface.co/datasets/lab/stars/resolve/{'c' * 40}/full/test-0.parquet",
        name="test-0.parquet",
        into="full",
        size=5,
        sha256="e" * 64,
        unpack=False,
    )
    assert downloads_of(published, tmp_path) == (one,)  # the commit stays
    assert asked == [
        ("lab/stars", {"recursive": True, "repo_type": "dataset", "revision": "c" * 40})
    ]
    files["full_norm/test-0.parquet"] = (5, "f" * 64)
    (better,) = STARS.files()
    assert better.into == "full_norm"


def test_two_datasets_of_one_folder_keep_their_own_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub(monkeypatch, {"full/a.parquet": (5, ""), "sub/a.parquet": (5, "")})
    whole = Distribution(("stars",), ("full/*",), listings=(STARS,))
    part = Distribution(("stars",), ("sub/*",), listings=(HubDataset("lab/stars", ("sub/*",)),))
    assert [d.into for d in downloads_of(whole, tmp_path)] == ["full"]
    assert [d.into for d in downloads_of(part, tmp_path)] == ["sub"]
    assert [d.into for d in downloads_of(whole, tmp_path)] == ["full"]


def test_offline_the_hub_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SslBenchError, match=r"lab/stars cannot be listed \(HF_HUB_OFFLINE is set"):
        STARS.files()


def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    def closed(self: HfApi, repo: str, revision: str) -> None:
        raise RuntimeError("connection refused")  # stands for the HTTP client's own error

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", closed)
    with pytest.raises(SslBenchError, match=r"lab/stars cannot be listed \(no connection: conn"):
        STARS.files()
