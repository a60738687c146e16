"""What tests of datasets on disk share: fetch one, score one, check one, have one refused."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from urllib.request import Request, urlopen

import pytest

from benchmark.catalog import load_task
from benchmark.commands.fetch import fetch_command
from benchmark.datacheck import check_task
from benchmark.distribution import Download
from benchmark.errors import DatasetError
from benchmark.events import Event, RunOptions
from benchmark.findings import Finding
from benchmark.plan import EncoderRef, Unit
from benchmark.prepare import prepare
from benchmark.results import Result
from benchmark.run import run_unit
from benchmark.splits import read_targets

Score = Callable[..., Result]
Findings = Callable[[str, Path], dict[str, Finding]]
Refused = Callable[[str, Path], str]
Fetched = Callable[[str, Mapping[str, bytes | Path], Path], None]


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """Evaluates one encoder of the catalog (or `file.py:Class`) on one task through the engine."""

    def evaluate(task: str, root: Path, model: str, protocol: str = "linear-probe") -> Result:
        told: list[Event] = []
        card = load_task(task, root).card
        unit = Unit(EncoderRef(model, card.modality), ((task, (protocol,)),))
        run_unit(unit, RunOptions(out=tmp_path / "run", data_dir=root), told.append)
        problems = [e.detail for e in told if e.phase in ("failure", "skip")]
        assert not problems, problems
        (result,) = [event.result for event in told if event.result is not None]
        return result

    return evaluate


@pytest.fixture
def findings() -> Findings:
    """What `ssl-bench data check TASK` finds, by the name of the check."""
    return lambda task, root: {found.check: found for found in check_task(load_task(task, root))}


@pytest.fixture
def refused() -> Refused:
    """The one error that a damaged dataset gets."""

    def refuse(name: str, root: Path) -> str:
        with pytest.raises(DatasetError) as caught:
            task = load_task(name, root)
            prepare(task)
            for split in task.splits:
                read_targets(task, split)
        return str(caught.value)

    return refuse


def _packed(folder: Path, address: str) -> bytes:
    """What is below a folder, as a tar file if its address says so, else as a zip."""
    packed = io.BytesIO()
    if address.endswith(".tar.gz"):
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
            tar.add(folder, ".")
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
    return packed.getvalue()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetched]:
    """Runs `data fetch TASK --accept-terms` while a server on this machine answers in the place of
    the publishers: `files` are all that they serve, by their addresses (a folder: its archive).
    Sizes and checksums are those of the small copies, wherever the task states some."""
    served: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.get(unquote(self.path[1:]))
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def here(request: Request, **options: Any) -> Any:
        request.full_url = f"http://127.0.0.1:{server.server_port}/{quote(request.full_url, '')}"
        return urlopen(request, **options)

    def restated(download: Download) -> Download:
        content = served[download.url]
        return replace(
            download,
            size=len(content) if download.size else None,
            md5=hashlib.md5(content).hexdigest() if download.md5 else "",
            sha256=hashlib.sha256(content).hexdigest() if download.sha256 else "",
        )

    def fetch(task: str, files: Mapping[str, bytes | Path], root: Path) -> None:
        for address, item in files.items():
            served[address] = _packed(item, address) if isinstance(item, Path) else item
        kind = type(load_task(task))
        assert kind.distribution is not None
        downloads = tuple(restated(download) for download in kind.distribution.downloads)
        small = replace(kind.distribution, downloads=downloads)
        monkeypatch.setattr(kind, "distribution", small)
        fetch_command([task], root, 2, accept_terms=True)

    for module in ("download", "listings"):
        monkeypatch.setattr(f"benchmark.{module}.urlopen", here)
    yield fetch
    server.shutdown()
    server.server_close()
