"""The command line against a server over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import typer
import uvicorn
from fastapi import FastAPI
from safetensors.torch import load_file, save_file
from screening_here import ScreeningHere
from sqlalchemy import select
from typer.testing import CliRunner

from benchmark.catalog import encoder_card, import_target
from benchmark.errors import SslBenchError
from benchmark.results import Result as ResultFile
from benchmark.results import write_result
from leaderboard.accounts.people import create_token, create_user
from leaderboard.cli import app as commands
from leaderboard.client import api, submitting
from leaderboard.client.api import Client
from leaderboard.client.files import as_safetensors
from leaderboard.client.login_file import find_token, login_file, plain_url, save_token
from leaderboard.db import Submission, SubmissionLog, SubmissionState, Upload

ARCHITECTURE = "random-pointnet"


@pytest.fixture
def server(site: FastAPI, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A running site; its address. The command line has its own configuration folder."""
    site.state.screening = ScreeningHere(site.state.settings)
    monkeypatch.setenv("SSL_BENCH_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("SSL_BENCH_TOKEN", raising=False)
    running = uvicorn.Server(uvicorn.Config(site, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join()


@pytest.fixture
def token(site: FastAPI) -> str:
    with site.state.writing.begin() as session:
        user = create_user(session, "ada", password="correct horse battery")
        return create_token(session, user, "test", ["submit"], 1)[1]


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    module = import_target(encoder_card(ARCHITECTURE).target)()
    return {key: value.clone() for key, value in module.state_dict().items()}


def run(*arguments: str, stdin: str | None = None) -> Any:
    result = CliRunner().invoke(commands, list(arguments), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        if isinstance(result.exception, SslBenchError):
            return result
        raise result.exception
    return result


def test_signing_in_keeps_a_token_for_its_owner_alone(server: str, token: str) -> None:
    result = run("login", "--server", server + "/", stdin=token + "\n")
    assert "as ada (submit)" in result.output
    assert token not in result.output
    assert login_file().stat().st_mode & 0o777 == 0o600
    assert find_token(None) == (server, token)
    run("login", "--server", server, "--forget")
    with pytest.raises(SslBenchError, match="say which leaderboard"):
        find_token(None)


def test_a_wrong_token_is_not_kept(server: str) -> None:
    result = run("login", "--server", server, stdin="sslb_wrong\n")
    assert "unknown, revoked or expired" in str(result.exception)
    assert not login_file().exists()


def test_a_login_file_that_others_read_is_not_used(server: str, token: str) -> None:
    path = save_token(server, token)
    path.chmod(0o644)
    with pytest.raises(SslBenchError, match="chmod 600"):
        find_token(None)
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(SslBenchError, match="damaged"):
        find_token(None)


def test_a_token_goes_to_its_own_server_only(server: str, token: str) -> None:
    save_token(server, token)
    with pytest.raises(SslBenchError, match="there is no token for https://other.example"):
        find_token("https://other.example")


@pytest.mark.parametrize(
    "url", ["http://example.org", "ftp://example.org", "example.org", "https://a:b@example.org", ""]
)
def test_addresses_that_would_leak_the_token_are_refused(url: str) -> None:
    with pytest.raises(SslBenchError, match="--server"):
        plain_url(url)
    assert plain_url("http://10.0.0.1:8000/", insecure=True) == "http://10.0.0.1:8000"


def test_a_pt_file_is_converted_sent_and_queued(
    server: str, token: str, weights: dict[str, torch.Tensor], tmp_path: Path, site: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_BENCH_TOKEN", token)
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "mine.pt")
    result = run(
        "submit", "--checkpoint", str(tmp_path / "mine.pt"), "--arch", ARCHITECTURE,
        "--name", "mine", "--server", server, "--licence", "MIT", "--no-wait",
    )  # fmt: skip
    assert f"{server}/submissions/" in result.output
    with site.state.sessions() as session:
        row = session.scalars(select(Submission)).one()
        assert (row.name, row.state, row.licence) == ("mine", "queued", "MIT")
        assert row.upload is not None
        assert row.upload.file_name == "mine.safetensors"
        kept = site.state.storage.read(row.upload.storage_key)
    (tmp_path / "kept.safetensors").write_bytes(kept)
    assert torch.equal(
        load_file(tmp_path / "kept.safetensors")[next(iter(weights))], next(iter(weights.values()))
    )


def test_a_run_is_sent_as_self_reported(
    server: str, token: str, tmp_path: Path, make_result: Callable[..., ResultFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_BENCH_TOKEN", token)
    for protocol in ("linear-probe", "knn"):
        write_result(make_result("theirs", protocol=protocol), tmp_path / "run" / "results")
    result = run("submit", "--results", str(tmp_path / "run"), "--name", "x1", "--server", server)
    assert "x1 is on the leaderboard" in result.output, result.output


def test_it_is_followed_to_its_end(
    server: str, token: str, weights: dict[str, torch.Tensor], tmp_path: Path, site: FastAPI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_BENCH_TOKEN", token)
    monkeypatch.setattr(submitting, "POLL", 0.05)
    save_file(weights, tmp_path / "mine.safetensors")

    def fail() -> None:
        while True:
            time.sleep(0.1)
            with site.state.writing.begin() as session:
                row = session.scalar(select(Submission))
                if row is not None:
                    session.add(SubmissionLog(submission_id=row.id, message="[bold]it began"))
                    row.state, row.reason = SubmissionState.FAILED, "the disk burnt"
                    return

    worker = threading.Thread(target=fail)
    worker.start()
    result = run(
        "submit", "--checkpoint", str(tmp_path / "mine.safetensors"), "--arch", ARCHITECTURE,
        "--name", "mine", "--server", server,
    )  # fmt: skip
    worker.join()
    assert result.exit_code == 1
    assert "failed: the disk burnt" in result.output
    assert "[bold]it began" in result.output


class Flaky(httpx.BaseTransport):
    """A network that breaks off every second piece in the middle."""

    def __init__(self) -> None:
        self.inner = httpx.HTTPTransport()
        self.pieces = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            self.pieces += 1
            if self.pieces % 2:
                body = b"".join(request.stream)  # type: ignore[arg-type]
                half = httpx.Request(
                    "PATCH", request.url, headers=request.headers, content=body[: len(body) // 2]
                )
                half.headers["content-length"] = str(len(body) // 2)
                self.inner.handle_request(half).read()
                raise httpx.ReadError("the network went away")
        return self.inner.handle_request(request)


def test_a_broken_upload_goes_on(
    server: str, token: str, tmp_path: Path, site: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard.submissions import uploads_api

    monkeypatch.setattr(uploads_api, "PIECE", 100_000)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08" + bytes(350_000))
    told: list[int] = []
    with Client(server, token, transport=Flaky(), pause=lambda seconds: None) as client:
        state = client.upload(path, "onnx", told.append)
    assert state.state == "complete"
    assert told[-1] == 350_001
    assert any(0 < offset < 100_000 for offset in told)
    with site.state.sessions() as session:
        key = session.scalars(select(Upload.storage_key)).one()
    assert site.state.storage.read(key) == path.read_bytes()


def test_a_server_that_is_away_or_is_none_gives_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(SslBenchError, match="cannot be reached") as caught,
        Client("http://127.0.0.1:1", "sslb_x", pause=lambda seconds: None) as client,
    ):
        client.me()
    assert "\n" not in str(caught.value)
    page = httpx.MockTransport(lambda request: httpx.Response(200, text="<html>hello</html>"))
    with (
        pytest.raises(SslBenchError, match="is it a leaderboard"),
        Client("http://127.0.0.1:1", "sslb_x", transport=page) as client,
    ):
        client.me()


def test_a_busy_server_is_asked_again_and_a_full_one_is_not() -> None:
    answers = [
        httpx.Response(429, json={"detail": "slowly"}, headers={"Retry-After": "7"}),
        httpx.Response(200, json={"name": "ada", "scopes": []}),
        httpx.Response(429, json={"detail": "tomorrow"}, headers={"Retry-After": "80000"}),
        httpx.Response(507, json={"detail": "the disk is full"}),
    ]
    waits: list[float] = []
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    with Client("http://127.0.0.1:1", "x", transport=transport, pause=waits.append) as client:
        assert client.me().name == "ada"
        assert waits == [7.0]
        with pytest.raises(api.ServerError, match="tomorrow"):
            client.me()
        with pytest.raises(api.ServerError, match="disk is full"):
            client.me()


class _Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('this ran')",)


def test_code_in_a_checkpoint_is_refused_here(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(1)}, "more": _Evil()}, tmp_path / "evil.pt")
    with pytest.raises(SslBenchError, match="pickled code is refused"):
        as_safetensors(tmp_path / "evil.pt", tmp_path)


def test_nested_and_shared_weights_are_converted_the_same_every_time(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    entries = {"teacher": {"module.a": shared, "module.b": shared.T}, "epoch": 1, "lr": [0.1]}
    torch.save(entries, tmp_path / "t.ckpt")
    first = as_safetensors(tmp_path / "t.ckpt", tmp_path)
    content = first.read_bytes()
    assert set(load_file(first)) == {"teacher.module.a", "teacher.module.b"}
    assert as_safetensors(tmp_path / "t.ckpt", tmp_path).read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--onnx", "a", "--results", "b"], "one of"),
        ([], "one of"),
        (["--checkpoint", "a.safetensors"], "--arch"),
        (["--onnx", "a.onnx", "--arch", "x"], "--arch goes with"),
        (["--results", "a", "--input", "{}"], "--input goes with"),
        (["--onnx", "a.onnx", "--input", "{"], "not JSON"),
        (["--onnx", "none.onnx"], "there is no file"),
        (["--checkpoint", "none.pt", "--arch", "x"], "there is no checkpoint"),
        (["--checkpoint", __file__, "--arch", "x"], "a checkpoint is"),
        (["--results", "none"], "holds no results"),
    ],
)
def test_wrong_options_give_one_line(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_BENCH_TOKEN", "sslb_x")
    result = run("submit", "--name", "x", "--server", "http://127.0.0.1:1", *arguments)
    assert words in str(result.exception)
    assert not isinstance(result.exception, typer.Exit)


def test_results_of_several_encoders_are_not_one_submission(
    tmp_path: Path, make_result: Callable[..., ResultFile]
) -> None:
    for name in ("a", "b"):
        write_result(make_result(name), tmp_path / "results")
    arguments = ["submit", "--name", "x", "--server", "http://127.0.0.1:1"]
    result = CliRunner(env={"SSL_BENCH_TOKEN": "sslb_x"}).invoke(
        commands, [*arguments, "--results", str(tmp_path)]
    )
    assert "one submission is one encoder" in str(result.exception)
