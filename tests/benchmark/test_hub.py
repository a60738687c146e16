"""Published weights from a hub: a local server that answers as the Hugging Face hub does.

Every download runs in a process of its own, because huggingface_hub reads its environment once.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

REPO, FILE = "lab/encoder", "model.safetensors"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "x" * 34
CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class Hub:
    """What the server has, and what it was asked for."""

    content: bytes = CONTENT
    sent: bytes | None = None  # instead of the content whose checksum it states
    gated: bool = False
    missing: bool = False
    break_after: int = 0  # bytes after which the first transfer breaks off
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range
    url: str = ""


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def refuse(self, status: int, code: str, message: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def answer(self, body: bool) -> None:
            wanted = self.headers.get("Range", "")
            hub.asked.append((self.command, self.path, wanted))
            if hub.missing or not self.path.startswith(f"/{REPO}/resolve/"):
                return self.refuse(404, "EntryNotFound", "Entry not found")
            if hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status = 403 if self.headers.get("Authorization") else 401
                return self.refuse(status, "GatedRepo", f"Access to model {REPO} is restricted.")
            content = hub.content if hub.sent is None else hub.sent
            span = re.fullmatch(r"bytes=(\d+)-", wanted)
            start = int(span[1]) if span else 0
            self.send_response(206 if span else 200)
            self.send_header("X-Repo-Commit", self.path.split("/")[-2])
            self.send_header("ETag", f'"{hashlib.sha256(hub.content).hexdigest()}"')
            self.send_header("Accept-Ranges", "bytes")
            if span:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if body and hub.break_after:
                self.wfile.write(content[: hub.break_after])
                hub.break_after, self.close_connection = 0, True
            elif body:
                self.wfile.write(content[start:])
            return None

    return Handler


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(served))
    served.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


FETCH = """
import json, sys
from benchmark.catalog import HubFile
from benchmark.errors import EncoderError
from benchmark.hub import fetch
try:
    print(fetch(HubFile(**json.loads(sys.argv[1])), "marvel"))
except EncoderError as error:
    print("EncoderError:", error)
"""

Fetch = Callable[..., str]


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetch:
    """Fetch the file in a fresh process; the path it prints, or the error."""

    def run(code: str = FETCH, offline: bool = False, token: str = "", **card: Any) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
        environment |= {"HF_TOKEN": token} if token else {}
        described = json.dumps({"repo": REPO, "file": FILE, "revision": COMMIT} | card)
        done = subprocess.run(
            [sys.executable, "-c", code, described],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_a_file_is_downloaded_once(hub: Hub, fetch: Fetch) -> None:
    path = Path(fetch(sha256=hashlib.sha256(CONTENT).hexdigest()))
    assert path.read_bytes() == CONTENT
    assert {asked for _, asked, _ in hub.asked} == {f"/{REPO}/resolve/{COMMIT}/{FILE}"}
    count = len(hub.asked)
    assert Path(fetch()) == path
    assert len(hub.asked) == count  # a pinned revision that is here needs no network
    assert Path(fetch(offline=True)) == path


def test_a_broken_transfer_is_resumed(hub: Hub, fetch: Fetch) -> None:
    hub.content = CONTENT * 12  # more than the chunk of 10 MiB that huggingface_hub keeps at least
    hub.break_after = len(CONTENT) * 11
    assert Path(fetch()).read_bytes() == hub.content
    first, second = (wanted for method, _, wanted in hub.asked if method == "GET")
    assert first == ""
    assert second == f"bytes={10 << 20}-"


@pytest.mark.parametrize("token", ["", "hf_" + "y" * 34], ids=["no token", "not yet granted"])
def test_a_gated_file_says_where_the_licence_is(hub: Hub, fetch: Fetch, token: str) -> None:
    hub.gated = True
    said = fetch(gated=True, token=token)
    assert said.startswith(f"EncoderError: marvel: {FILE} is gated; accept the licence at ")
    assert f"https://huggingface.co/{REPO}, then set HF_TOKEN" in said
    assert "--checkpoint FILE" in said
    assert "\n" not in said


def test_a_granted_token_opens_a_gated_file(hub: Hub, fetch: Fetch) -> None:
    hub.gated = True
    assert Path(fetch(gated=True, token=TOKEN)).read_bytes() == CONTENT


def test_a_damaged_file_is_refused_and_can_be_repaired(hub: Hub, fetch: Fetch) -> None:
    """The hub states a checksum of its own; none is needed in the card."""
    hub.sent = CONTENT[:-1] + b"!"
    said = fetch()
    assert said.startswith("EncoderError: marvel: ")
    assert "is damaged" in said
    damaged = re.search(r"delete (\S+) and run again", said)
    assert damaged is not None
    assert fetch() == said  # it stays refused
    Path(damaged[1]).unlink()
    hub.sent = None
    assert Path(fetch()).read_bytes() == CONTENT


def test_a_file_cut_on_this_disk_is_refused(fetch: Fetch) -> None:
    path = Path(fetch())
    path.resolve().write_bytes(CONTENT[:1000])
    assert "is damaged" in fetch()


def test_another_file_than_the_cards_is_refused(fetch: Fetch) -> None:
    said = fetch(sha256="0" * 64)
    assert f"its sha256 is not {'0' * 64}" in said


@pytest.mark.parametrize("gated", [False, True])
def test_offline_says_what_is_missing(fetch: Fetch, gated: bool) -> None:
    said = fetch(offline=True, gated=gated)
    assert said.startswith(f"EncoderError: marvel needs {FILE} of https://huggingface.co/{REPO}")
    assert "connect once" in said
    assert "--init random" in said
    assert ("accept the licence" in said) == gated


def test_a_withdrawn_file_is_named(hub: Hub, fetch: Fetch) -> None:
    hub.missing = True
    said = fetch()
    assert said.startswith(f"EncoderError: marvel: {FILE} of https://huggingface.co/{REPO}")
    assert "cannot be downloaded" in said


LOAD = """
import json, sys
from dataclasses import replace
from benchmark import encoder
from benchmark.catalog import HubFile

card = encoder.card_of("uni")
card = replace(card, options=card.reduced, hub=HubFile(**json.loads(sys.argv[1])))
encoder.card_of = lambda name: card
loaded = encoder.load_encoder("uni")
print(loaded.name, loaded.weights, loaded.checkpoint_sha256, float(loaded.module.vit.norm.bias[0]))
"""


def test_an_encoder_loads_what_the_hub_has(hub: Hub, fetch: Fetch) -> None:
    """From the catalogue's name to the weights, through the one loading path."""
    import torch

    from benchmark.catalog import encoder_card, import_target

    card = encoder_card("uni")
    module = import_target(card.target)(**card.reduced)
    weights = {key: torch.full_like(value, 0.25) for key, value in module.vit.state_dict().items()}
    file = io.BytesIO()
    torch.save(weights, file)
    hub.content, hub.gated = file.getvalue(), True
    digest = hashlib.sha256(hub.content).hexdigest()
    said = fetch(LOAD, file="pytorch_model.bin", sha256=digest, gated=True, token=TOKEN)
    assert said == f"uni published {digest} 0.25"
