"""What every answer carries, and what happens when something fails."""

import gzip
import json
import logging

import pytest
import structlog
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from sqlalchemy import text

from leaderboard.operations import configure_logs
from leaderboard.settings import Settings


@pytest.mark.parametrize(
    "address", ["/", "/nowhere", "/api/v1/domains", "/static/base.css", "/healthz"]
)
def test_security_headers_and_request_ids(client: TestClient, address: str) -> None:
    headers = client.get(address, headers={"X-Request-ID": "abc-1"}).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-request-id"] == "abc-1"
    assert headers["server-timing"].startswith("app;dur=")


def test_a_request_id_that_could_forge_a_log_line_is_replaced(client: TestClient) -> None:
    given = client.get("/healthz", headers={"X-Request-ID": 'a" level="error'}).headers[
        "x-request-id"
    ]
    assert len(given) == 16


def test_failures_are_a_clean_500(site: FastAPI) -> None:
    @site.get("/api/v1/broken")
    @site.get("/broken")
    def broken() -> None:
        raise RuntimeError("secret detail")

    with TestClient(site, raise_server_exceptions=False) as client:
        page, problem = client.get("/broken"), client.get("/api/v1/broken")
    assert page.status_code == problem.status_code == 500
    assert page.headers["x-request-id"] in page.text
    assert problem.headers["content-type"] == "application/problem+json"
    for answer in (page, problem):
        assert "secret" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_answers_are_compressed_for_those_who_ask(client: TestClient) -> None:
    plain = client.get("/about", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    with client.stream("GET", "/about", headers={"Accept-Encoding": "gzip"}) as zipped:
        raw = b"".join(zipped.iter_raw())
    assert zipped.headers["content-encoding"] == "gzip"
    assert len(raw) < len(plain.content) / 2
    assert gzip.decompress(raw) == plain.content


def test_head_is_get_without_a_body(client: TestClient) -> None:
    head, get = client.head("/about"), client.get("/about")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["etag"] == get.headers["etag"]


def test_streams_are_not_held_back_and_private_answers_not_kept(site: FastAPI) -> None:
    calls = []

    @site.get("/stream")
    def stream() -> StreamingResponse:
        return StreamingResponse(iter(["a", "b"]), media_type="text/plain")

    @site.get("/private")
    def private() -> dict[str, int]:
        calls.append(1)
        return {"calls": len(calls)}

    with TestClient(site) as client:
        assert client.get("/stream").text == "ab"
        assert [client.get("/private").json()["calls"] for _ in range(2)] == [1, 2]


def test_signed_in_readers_get_pages_of_their_own(filled: TestClient) -> None:
    assert filled.get("/").headers["cache-control"].startswith("public")
    mine = filled.get("/", headers={"Cookie": "session=x"})
    assert mine.headers["cache-control"].startswith("private")


def test_health_readiness_and_metrics(site: FastAPI, filled: TestClient) -> None:
    assert filled.get("/healthz").text == "ok\n"
    assert filled.get("/readyz").json() == {"ready": True, "problem": None}
    filled.get("/encoders/alpha")
    figures = filled.get("/metrics").text
    assert "ssl_bench_results 25.0" in figures
    assert (
        'ssl_bench_requests_total{method="GET",route="/encoders/{slug}",status="200"} 1.0'
        in figures
    )
    with site.state.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    behind = filled.get("/readyz")
    assert behind.status_code == 503
    assert "ssl-bench site migrate" in behind.json()["problem"]


def test_logs_are_one_json_object_per_line(
    settings: Settings, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    try:
        configure_logs(settings)
        client.get("/about", headers={"X-Request-ID": "find-me"})
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**before)
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["request_id"], line["path"], line["status"]) == ("find-me", "/about", 200)
