"""Signatures: made once, checked by anyone, broken by any change."""

import copy
import http.server
import json
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from benchmark.errors import SslBenchError
from leaderboard.evaluation.checking import verify_command
from leaderboard.evaluation.signing import Signer, check, envelope, read_public_key, statement

DOCUMENT = {"metric": "accuracy", "score": 0.1 + 0.2, "seed": 0, "low": None, "name": "Zoë"}


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.load(tmp_path / "keys" / "signing.pem")


def signed(signer: Signer, document: dict[str, Any] = DOCUMENT, origin: Any = "server") -> Any:
    return envelope(document, signer.sign(document, origin), signer.key, origin)


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.pem"
    with ThreadPoolExecutor(8) as pool:
        keys = {signer.key for signer in pool.map(lambda _: Signer.load(path), range(8))}
    assert len(keys) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    path.chmod(0o644)
    with pytest.raises(SslBenchError, match="chmod 600"):
        Signer.load(path)


def test_a_file_that_is_no_key_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    path.write_text("nonsense")
    path.chmod(0o600)
    with pytest.raises(SslBenchError, match="no private key"):
        Signer.load(path)
    assert path.read_text() == "nonsense"


def test_signatures_are_those_of_the_standard(signer: Signer) -> None:
    """Anyone can check them with any Ed25519 library: over RFC 8785 JSON."""
    import base64

    value = base64.b64decode(signed(signer)["signature"]["value"])
    expected = (
        '{"format":"ssl-bench-result-1","origin":"server","result":{"low":null,"metric":"accuracy",'
        '"name":"Zoë","score":0.30000000000000004,"seed":0}}'
    )
    assert statement(DOCUMENT, "server") == expected.encode()
    load_pem_public_key(signer.public_pem.encode()).verify(value, expected.encode())  # type: ignore


def test_it_survives_being_written_and_read(signer: Signer) -> None:
    text = json.dumps(signed(signer), indent=4, sort_keys=True).encode()
    public = read_public_key(signer.public_pem.encode(), "key")
    assert check(text, public, "file") == (DOCUMENT, "server")


def change_score(content: dict[str, Any]) -> None:
    content["result"]["score"] += 1e-16 + 1e-15


def add_field(content: dict[str, Any]) -> None:
    content["result"]["more"] = 1


def claim_server(content: dict[str, Any]) -> None:
    content["signature"]["origin"] = "server"


def shorten(content: dict[str, Any]) -> None:
    content["signature"]["value"] = content["signature"]["value"][:-4]


def forge(content: dict[str, Any]) -> None:
    other = Signer(Ed25519PrivateKey.generate())
    content["signature"]["value"] = other.sign(content["result"], "submitter")


@pytest.mark.parametrize("change", [change_score, add_field, claim_server, shorten, forge])
def test_every_change_is_seen(signer: Signer, change: Callable[[dict[str, Any]], None]) -> None:
    content = copy.deepcopy(signed(signer, origin="submitter"))
    public = read_public_key(signer.public_pem.encode(), "key")
    assert check(json.dumps(content).encode(), public, "file")[1] == "submitter"
    change(content)
    with pytest.raises(SslBenchError, match="was changed"):
        check(json.dumps(content).encode(), public, "file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[1]", "not a signed result"),
        (b"{", "not a signed result"),
        (b"[" * 100_000, "not a signed result"),
        (b'{"result": {}, "signature": {"value": 1, "origin": [], "key": ""}}', "not known"),
    ],
)
def test_what_is_no_signed_result_is_refused(signer: Signer, text: bytes, said: str) -> None:
    public = read_public_key(signer.public_pem.encode(), "key")
    with pytest.raises(SslBenchError, match=said):
        check(text, public, "file")


def test_another_servers_key_is_named(signer: Signer) -> None:
    other = Signer(Ed25519PrivateKey.generate())
    public = read_public_key(other.public_pem.encode(), "key")
    with pytest.raises(SslBenchError, match=f"{signer.key}, not {other.key}"):
        check(json.dumps(signed(signer)).encode(), public, "file")


@pytest.fixture
def server(signer: Signer) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/api/v1/signing-key.pem"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(signer.public_pem.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_the_command_says_what_the_signature_means(
    signer: Signer,
    server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make_result: Any,
) -> None:
    document = make_result().model_dump(mode="json")
    path, key = tmp_path / "signed.json", tmp_path / "key.pem"
    path.write_text(json.dumps(signed(signer, document)))
    key.write_text(signer.public_pem)
    verify_command(path, server, None)
    assert "computed by the server" in capsys.readouterr().out
    path.write_text(json.dumps(signed(signer, document, "submitter")))
    verify_command(path, None, key)
    assert "reported by its submitter" in capsys.readouterr().out
    with pytest.raises(SslBenchError, match="--server URL or --key FILE"):
        verify_command(path, None, None)
    with pytest.raises(SslBenchError, match=r"http://127.0.0.1:9/.* cannot be read"):
        verify_command(path, "http://127.0.0.1:9", None)
    with pytest.raises(SslBenchError, match="no http"):
        verify_command(path, "file:///etc", None)
    with pytest.raises(SslBenchError, match="No such file"):
        verify_command(tmp_path / "none.json", None, key)
