"""Bodies that are too large or too slow are cut off before they cost anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from leaderboard.middleware import bodies


@pytest.fixture
def patient(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(bodies, "SECONDS", 0.2)
    monkeypatch.setattr(bodies, "LARGEST", 10_000)
    with TestClient(site) as client:
        yield client


@pytest.mark.parametrize("path", ["/login", "/api/v1/submissions", "/api/v1/uploads", "/nowhere"])
def test_large_bodies_are_refused(patient: TestClient, path: str) -> None:
    assert patient.post(path, content=b"x" * 10_001).status_code == 413
    chunked = patient.post(path, content=iter([b"x" * 6_000] * 2))
    assert chunked.status_code == 413, "without a length, too"
    assert patient.post(path, content=b"x" * 9_999).status_code not in (408, 413)


def test_a_wrong_length_is_no_fault_of_ours(patient: TestClient) -> None:
    answer = patient.post("/login", content=b"x", headers={"content-length": "1e9"})
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/?q=a%00b", "/api/v1/leaderboard?q=%00", "/tasks/%00"])
def test_a_nul_in_an_address_goes_no_further(patient: TestClient, path: str) -> None:
    assert patient.get(path).status_code == 400


def test_slow_bodies_are_cut_off(site: FastAPI, patient: TestClient) -> None:
    """A client that sends a byte now and then holds a connection only so long."""

    async def run() -> list[Any]:
        answer: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(0.05)
            return {"type": "http.request", "body": b"x", "more_body": True}

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/login", "raw_path": b"/login", "root_path": "",
            "query_string": b"", "client": ("192.0.2.9", 1), "server": ("testserver", 80),
            "headers": [(b"host", b"testserver")],
        }  # fmt: skip
        await site(scope, receive, send)
        return answer

    assert patient.portal is not None
    answer = patient.portal.call(run)
    assert answer[0]["status"] == 408
