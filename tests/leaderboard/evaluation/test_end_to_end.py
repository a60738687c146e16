"""From a request to the API, through a real worker, to a signed result on the leaderboard."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluation_lab import local_scores
from fastapi.testclient import TestClient
from sqlalchemy import select

from benchmark.errors import SslBenchError
from benchmark.results import Result, read_run
from leaderboard.accounts.people import create_token, create_user
from leaderboard.app import create_app
from leaderboard.db import Role, User
from leaderboard.evaluation.checking import verify_command


@pytest.fixture(scope="module")
def api(served: Any) -> Iterator[Any]:
    """`api(person, method, path, ...)`: a request by a submitter or by the maintainer `mia`."""
    app = create_app(served.settings)
    tokens = {}
    with served.writing.begin() as session:
        for name, role in (("ada", Role.SUBMITTER), ("mia", Role.MAINTAINER)):
            user = session.scalar(select(User).where(User.name == name))  # of another test
            user = user or create_user(session, name, role, password="correct horse battery")
            scopes = ["submit", "maintain"] if role == Role.MAINTAINER else ["submit"]
            tokens[name] = create_token(session, user, "test", scopes, 1)[1]
    with TestClient(app) as client:

        def ask(person: str, method: str, path: str, **more: Any) -> Any:
            headers = {"Authorization": f"Bearer {tokens[person]}", **more.pop("headers", {})}
            answer = client.request(method, f"/api/v1{path}", headers=headers, **more)
            assert answer.status_code < 300, answer.text
            return answer.json()

        yield ask


def submit(api: Any, person: str, content: bytes, kind: str, **facts: Any) -> str:
    facts = {"suite": "mock-one", **facts}
    upload = upload_of(api, person, content, kind)
    submission: str = api(person, "POST", "/submissions", json={"upload": upload, **facts})["id"]
    return submission


def upload_of(api: Any, person: str, content: bytes, kind: str) -> str:
    body = {
        "kind": kind,
        "file_name": {"checkpoint": "net.safetensors", "results": "results.json"}[kind],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    upload: str = api(person, "POST", "/uploads", json=body)["id"]
    api(person, "PATCH", f"/uploads/{upload}", content=content, headers={"Upload-Offset": "0"})
    return upload


def ended(api: Any, served: Any, submission: str) -> Any:
    def state() -> Any:
        return api("mia", "GET", f"/submissions/{submission}")

    served.wait(lambda: state()["state"] in ("done", "failed", "cancelled"))
    return state()


@pytest.mark.long
def test_a_submission_by_the_api_is_published_and_signed(
    api: Any,
    served: Any,
    checkpoint: bytes,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submission = submit(
        api, "ada", checkpoint, "checkpoint", name="Ada's net", architecture="mock-net"
    )
    shown = ended(api, served, submission)
    assert shown["state"] == "done", (shown, served.logs())
    assert {row["state"] for row in shown["results"]} == {"verified"}
    signed = api("ada", "GET", f"/results/{shown['results'][0]['id']}/signed")
    result = Result.model_validate(signed["result"])
    (tmp_path / "net.safetensors").write_bytes(checkpoint)
    expected = local_scores("mock-net", tmp_path / "net.safetensors", tmp_path / "run")
    cell = (result.task.name, result.protocol.name)
    assert (result.metrics, result.replicates) == expected[cell]
    assert result.encoder.name == "Ada's net"

    file, key = tmp_path / "signed.json", tmp_path / "key.pem"
    file.write_text(json.dumps(signed))
    with TestClient(create_app(served.settings)) as client:
        key.write_text(client.get("/api/v1/signing-key.pem").text)
    verify_command(file, None, key)
    assert "computed by the server" in capsys.readouterr().out
    signed["result"]["metrics"][result.metric]["value"] = 1.0
    file.write_text(json.dumps(signed))
    with pytest.raises(SslBenchError, match="was changed"):
        verify_command(file, None, key)


@pytest.mark.long
def test_self_reported_results_become_verified_by_a_re_run(
    api: Any, served: Any, checkpoint: bytes, tmp_path: Path
) -> None:
    other = checkpoint[:-4] + b"\x00\x00\x00\x3f"  # its last bias is 0.5
    (tmp_path / "net.safetensors").write_bytes(other)
    local_scores("mock-net", tmp_path / "net.safetensors", tmp_path / "run")
    results = [result.model_dump(mode="json") for result in read_run(tmp_path / "run")]
    submission = submit(
        api, "ada", json.dumps({"results": results}).encode(), "results", name="Told"
    )
    shown = ended(api, served, submission)
    assert {row["state"] for row in shown["results"]} == {"self-reported"}
    signed = api("ada", "GET", f"/results/{shown['results'][0]['id']}/signed")
    assert signed["signature"]["origin"] == "submitter"

    upload = upload_of(api, "mia", other, "checkpoint")
    again = api(
        "mia",
        "POST",
        f"/submissions/{submission}/verify",
        json={"upload": upload, "architecture": "mock-net"},
    )["id"]
    rerun = ended(api, served, again)
    assert rerun["state"] == "done", (rerun, served.logs())
    assert {row["state"] for row in rerun["results"]} == {"verified"}
    assert {row["agrees"] for row in rerun["differences"]} == {True}
    before = api("ada", "GET", f"/submissions/{submission}")
    assert {row["state"] for row in before["results"]} == {"superseded"}
