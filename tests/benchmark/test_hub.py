"""Published weights from a hub: a local server that answers as the Hugging Face hub does.

Every download runs in a process of its own, because huggingface_hub reads its environment once.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
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
    stall_after: int = 0  # bytes after which the first transfer waits for ever
    commit: str = COMMIT  # of the branch "main"
    history: dict[str, bytes] = field(default_factory=dict)  # what earlier commits had
    tag: str = ""  # instead of the sha256, for small files
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, range
    url: str = ""
    stalled: Event = field(default_factory=Event)  # set to end a stalled transfer


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
            revision = self.path.split("/")[-2]
            kept = hub.history.get(revision, hub.content)
            content = kept if hub.sent is None else hub.sent
            span = re.fullmatch(r"bytes=(\d+)-", wanted)
            start = int(span[1]) if span else 0
            self.send_response(206 if span else 200)
            self.send_header("X-Repo-Commit", hub.commit if revision == "main" else revision)
            self.send_header("ETag", f'"{hub.tag or hashlib.sha256(kept).hexdigest()}"')
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
            elif body and hub.stall_after:
                self.wfile.write(content[: hub.stall_after])
                hub.stall_after = 0
                hub.stalled.wait(60)
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
    served.stalled.set()
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

    def run(
        code: str = FETCH,
        offline: bool = False,
        token: str = "",
        until: Callable[[], bool] | None = None,
        **card: Any,
    ) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        environment |= {"SSL_BENCH_CACHE": str(tmp_path / "cache")}
        environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
        environment |= {"HF_TOKEN": token} if token else {}
        described = json.dumps({"repo": REPO, "file": FILE, "revision": COMMIT} | card)
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", code, described],
            env=environment,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        if until is not None:
            while not until():
                assert process.poll() is None, process.communicate()
                time.sleep(0.01)
            process.kill()
            process.communicate()
            return ""
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        return out.strip()

    return run


@pytest.mark.long
def test_a_file_is_downloaded_once(hub: Hub, fetch: Fetch) -> None:
    path = Path(fetch(sha256=hashlib.sha256(CONTENT).hexdigest()))
    assert path.read_bytes() == CONTENT
    assert {asked for _, asked, _ in hub.asked} == {f"/{REPO}/resolve/{COMMIT}/{FILE}"}
    count = len(hub.asked)
    assert Path(fetch()) == path
    assert len(hub.asked) == count  # a pinned revision that is here needs no network
    assert Path(fetch(offline=True)) == path


def transfers(hub: Hub) -> list[str]:
    """The ranges asked for, of transfers that were begun."""
    return [wanted for method, _, wanted in hub.asked if method == "GET"]


def test_a_broken_transfer_is_resumed(hub: Hub, fetch: Fetch) -> None:
    hub.content = CONTENT * 3
    hub.break_after = len(CONTENT) * 2
    assert Path(fetch()).read_bytes() == hub.content
    assert transfers(hub) == ["", f"bytes={len(CONTENT) * 2}-"]


def test_a_killed_download_goes_on_where_it_stopped(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    hub.content = CONTENT * 3
    hub.stall_after = len(CONTENT) * 2

    def half_there() -> bool:
        parts = list((tmp_path / "home").rglob("*.part"))
        return bool(parts) and parts[0].stat().st_size == len(CONTENT) * 2

    fetch(until=half_there)
    assert Path(fetch()).read_bytes() == hub.content
    assert transfers(hub) == ["", f"bytes={len(CONTENT) * 2}-"]
    assert list((tmp_path / "home").rglob("*.part")) == []


@pytest.mark.long
def test_what_a_killed_download_left_is_not_trusted(hub: Hub, fetch: Fetch, tmp_path: Path) -> None:
    hub.content, hub.stall_after = CONTENT * 3, len(CONTENT) * 2
    fetch(until=lambda: any(p.stat().st_size for p in (tmp_path / "home").rglob("*.part")))
    (part,) = (tmp_path / "home").rglob("*.part")
    part.write_bytes(bytes(part.stat().st_size))
    assert "the file was discarded" in fetch()
    assert Path(fetch()).read_bytes() == hub.content


FOLLOW = FETCH.replace("import fetch", "import fetch, newer_commit, PublishedFile").replace(
    'print(fetch(HubFile(**json.loads(sys.argv[1])), "marvel"))',
    """file = HubFile(**json.loads(sys.argv[1]))
    path = fetch(file, "marvel")
    found = PublishedFile(path, path.parent.name)
    print(path.read_bytes()[:3], found.commit, newer_commit(file, found))""",
)


def moved(hub: Hub) -> None:
    """The branch gets a new commit with another file."""
    hub.history[hub.commit] = hub.content
    hub.commit, hub.content = "f" * 40, b"new" + CONTENT


def the_pin(home: Path) -> Path:
    (path,) = (home / "cache" / "published" / "pins").glob("*.json")
    return path


@pytest.mark.long
def test_a_branch_keeps_its_first_commit_and_a_later_one_is_noticed(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    first = f"{CONTENT[:3]!r} {COMMIT}"
    assert fetch(FOLLOW, revision="main") == f"{first} None"
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert json.loads(the_pin(tmp_path).read_text()) == {"commit": COMMIT, "files": {FILE: sha256}}
    hub.history[hub.commit] = hub.content
    hub.commit = "e" * 40  # a new commit that leaves the file as it is
    assert fetch(FOLLOW, revision="main") == f"{first} None"
    moved(hub)
    assert fetch(FOLLOW, revision="main") == f"{first} {hub.commit}"
    assert fetch(FOLLOW, revision="main", offline=True) == f"{first} None"
    assert fetch(FOLLOW, revision=COMMIT) == f"{first} None"
    the_pin(tmp_path).unlink()
    assert fetch(FOLLOW, revision="main") == f"b'new' {hub.commit} None"


@pytest.mark.long
def test_a_pin_outlives_the_hubs_cache_and_holds_for_further_files(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    fetch(revision="main")
    moved(hub)
    shutil.rmtree(tmp_path / "home")
    assert fetch(FOLLOW, revision="main") == f"{CONTENT[:3]!r} {COMMIT} {hub.commit}"
    assert Path(fetch(revision="main", file="other.safetensors")).read_bytes() == CONTENT
    assert set(json.loads(the_pin(tmp_path).read_text())["files"]) == {FILE, "other.safetensors"}


def test_what_the_hub_serves_anew_under_a_pinned_commit_is_refused(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    fetch(revision="main")
    shutil.rmtree(tmp_path / "home")
    hub.content = b"new" + CONTENT
    said = fetch(revision="main")
    assert f"is not the {FILE} of {REPO} that was first downloaded here" in said
    assert str(the_pin(tmp_path)) in said


def test_another_program_moves_the_hubs_cache_in_vain(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    path = Path(fetch(revision="main"))
    moved(hub)
    reference = path.parents[2] / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(hub.commit)
    assert fetch(FOLLOW, revision="main") == f"{CONTENT[:3]!r} {COMMIT} {hub.commit}"


def test_what_lies_in_the_hubs_cache_is_pinned_offline(
    hub: Hub, fetch: Fetch, tmp_path: Path
) -> None:
    path = Path(fetch(revision="main"))
    reference = path.parents[2] / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(COMMIT)
    the_pin(tmp_path).unlink()
    assert Path(fetch(revision="main", offline=True)) == path
    assert json.loads(the_pin(tmp_path).read_text())["commit"] == COMMIT


def test_a_damaged_pin_is_named(fetch: Fetch, tmp_path: Path) -> None:
    fetch(revision="main")
    the_pin(tmp_path).write_text('{"commit": "')
    said = fetch(revision="main")
    assert said.startswith(f"EncoderError: {the_pin(tmp_path)} is damaged")
    assert "delete it" in said


def test_small_files_are_compared_with_gits_own_checksum(hub: Hub, fetch: Fetch) -> None:
    hub.content = b"a vocabulary"
    hub.tag = hashlib.sha1(b"blob 12\0" + hub.content).hexdigest()
    path = Path(fetch(file="vocab.json"))
    assert path.read_bytes() == hub.content
    path.resolve().write_bytes(b"a vocabularX")
    assert "is damaged (its git sha1 is not" in fetch(file="vocab.json")


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
    assert "the file was discarded" in said
    assert fetch() == said  # it stays refused
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


def test_a_hub_that_does_not_answer_is_one_line(hub: Hub, fetch: Fetch) -> None:
    hub.url = "http://127.0.0.1:9"
    for revision in (COMMIT, "main"):
        said = fetch(revision=revision)
        assert said.startswith(f"EncoderError: marvel: {FILE} of https://huggingface.co/{REPO}")
        assert "cannot be downloaded (no connection" in said
        assert "\n" not in said


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
bias = float(loaded.module.vit.norm.bias[0])
print(loaded.name, loaded.weights, loaded.revision, loaded.checkpoint_sha256, bias)
"""


@pytest.mark.long
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
    assert said == f"uni published {COMMIT} {digest} 0.25"
