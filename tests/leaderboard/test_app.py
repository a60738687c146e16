"""The application as a whole."""

import pytest
from fastapi.testclient import TestClient

from benchmark.errors import SslBenchError
from leaderboard.settings import load_settings


def test_unknown_addresses_of_the_api_are_a_problem(client: TestClient) -> None:
    answer = client.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["instance"] == "/api/v1/nothing"


def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_SITE_PORT", "http")
    with pytest.raises(SslBenchError, match="SSL_BENCH_SITE_PORT"):
        load_settings()
