"""The commands of whoever runs the site."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select
from typer.testing import CliRunner

from benchmark.errors import SslBenchError
from leaderboard.cli import app as commands
from leaderboard.db import AuditEvent, User

PASSWORD = "correct horse battery"


@pytest.fixture
def run(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run("user", "create", ...)` on the site's database."""
    monkeypatch.setenv("SSL_BENCH_SITE_HOME", str(site.state.settings.home))

    def invoke(*arguments: str, stdin: str | None = None) -> str:
        result = CliRunner().invoke(commands, ["site", *arguments], input=stdin)
        if result.exception is not None:
            raise result.exception
        return result.stdout

    return invoke


def test_people_are_made_changed_and_shut_out(run: Any, site: FastAPI) -> None:
    run("user", "create", "ada", "--role", "maintainer", stdin=PASSWORD + "\n")
    run("user", "create", "bot", "--no-password")
    text = run("token", "create", "ada", "--scope", "submit", "--scope", "maintain").split()[0]
    headers = {"Authorization": f"Bearer {text}"}
    with TestClient(site) as client:
        assert client.get("/api/v1/me", headers=headers).json()["scopes"] == ["maintain", "submit"]
        run("user", "role", "ada", "submitter")
        assert client.get("/api/v1/me", headers=headers).json()["scopes"] == ["submit"]
        run("token", "revoke", text)
        assert client.get("/api/v1/me", headers=headers).status_code == 401
    run("user", "quota", "ada", "3")
    run("user", "password", "ada", stdin="another horse battery\n")
    run("user", "close", "ada")
    assert "closed" in run("user", "list")
    with site.state.sessions() as session:
        ada = session.scalars(select(User).where(User.name == "ada")).one()
        assert (ada.active, ada.quota, ada.role) == (False, 3, "submitter")
        actors = set(session.scalars(select(AuditEvent.actor)).all())
    assert "command line" in actors
    assert "user.closed" in run("audit")


def test_an_invitation_opens_the_sign_up(run: Any, site: FastAPI) -> None:
    address = run("invite", "--note", "for Grace")
    code = re.search(r"code=(\S+)", address)
    assert code
    with TestClient(site, follow_redirects=False) as browser:
        page = browser.get(f"/join?code={code[1]}").text
        assert code[1] in page
        csrf = re.search(r'name="csrf" value="([^"]*)"', page)
        assert csrf
        data = {"csrf": csrf[1], "code": code[1], "name": "grace", "password": PASSWORD}
        assert browser.post("/join", data=data).status_code == 303


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["user", "create", "x"], "the name"),
        (["user", "create", "ada", "--role", "king"], "--role king"),
        (["user", "role", "nobody", "admin"], "no user 'nobody'"),
        (["token", "create", "nobody"], "no user 'nobody'"),
        (["token", "revoke", "sslb_x"], "no such token"),
    ],
)
def test_mistakes_get_one_line(run: Any, arguments: list[str], words: str) -> None:
    with pytest.raises(SslBenchError, match=words):
        run(*arguments, stdin=PASSWORD + "\n")
