"""Signing in and up, tokens, sessions: what lets people in keeps others out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from benchmark.errors import SslBenchError
from leaderboard.accounts.pages import local_path
from leaderboard.accounts.people import create_token, create_user, invite, set_active
from leaderboard.accounts.rates import KEPT, Buckets, Rates, address_key
from leaderboard.api.problems import Problem
from leaderboard.app import create_app
from leaderboard.db import AuditEvent, Role, Token, User, WebSession, now
from leaderboard.settings import Settings, load_settings

PASSWORD = "correct horse battery"


@pytest.fixture
def ada(site: FastAPI) -> User:
    with site.state.writing.begin() as session:
        return create_user(session, "ada", password=PASSWORD)


@pytest.fixture
def browser(site: FastAPI, ada: User) -> Iterator[TestClient]:
    with TestClient(site, follow_redirects=False) as browser:
        yield browser


def field(page: str, name: str = "csrf") -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


def sign_in(browser: TestClient, name: str = "ada", password: str = PASSWORD) -> Any:
    token = field(browser.get("/login").text)
    return browser.post("/login", data={"csrf": token, "name": name, "password": password})


def token_for(site: FastAPI, name: str, scopes: list[str] | None = None, days: float = 1) -> str:
    with site.state.writing.begin() as session:
        user = session.scalars(select(User).where(User.name == name)).one()
        return create_token(session, user, "test", scopes or ["submit"], days)[1]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_signing_in_opens_a_session_that_scripts_cannot_read(browser: TestClient) -> None:
    answer = sign_in(browser)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie, "this site is without HTTPS"
    page = browser.get("/account/tokens")
    assert page.status_code == 200
    assert page.headers["cache-control"] == "private, no-store"


def test_with_https_cookies_are_secure(tmp_path: Any) -> None:
    site = create_app(load_settings(home=tmp_path, https=True, _env_file=None))
    with site.state.writing.begin() as session:
        create_user(session, "ada", password=PASSWORD)
    with TestClient(site, base_url="https://testserver", follow_redirects=False) as browser:
        answer = sign_in(browser)
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith("__Host-ssl_bench_session=")
        assert "secure" in answer.headers["set-cookie"].lower()
        assert browser.get("/account/tokens").status_code == 200


def test_a_wrong_password_and_an_unknown_name_look_the_same(browser: TestClient) -> None:
    wrong = sign_in(browser, password="wrong wrong wrong")
    unknown = sign_in(browser, name="nobody")
    assert wrong.status_code == unknown.status_code == 401
    strip = re.compile(r'value="[^"]*"')
    assert strip.sub("", wrong.text) == strip.sub("", unknown.text)


def test_passwords_cannot_be_guessed_for_long(browser: TestClient, site: FastAPI) -> None:
    limit = site.state.settings.attempts_per_hour
    states = [sign_in(browser, password="wrong wrong wrong").status_code for _ in range(limit + 2)]
    assert states[0] == 401
    assert states[-1] == 429
    assert sign_in(browser).status_code == 429, "nor does the right one help then"


def test_a_right_password_is_not_counted(browser: TestClient, site: FastAPI) -> None:
    for _ in range(site.state.settings.attempts_per_hour + 3):
        assert sign_in(browser).status_code == 303


@pytest.mark.parametrize(
    "name", ["' OR 1=1 --", "ada'--", 'ada"; DROP TABLE "user"; --', "ada\x00"]
)
def test_names_are_no_sql(browser: TestClient, site: FastAPI, name: str) -> None:
    assert sign_in(browser, name=name).status_code == 401
    with site.state.sessions() as session:
        assert session.scalar(text('SELECT count(*) FROM "user"')) == 1


@pytest.mark.parametrize(
    "path", ["/login", "/join", "/logout", "/account/tokens", "/account/password"]
)
def test_every_form_needs_its_token(browser: TestClient, path: str) -> None:
    sign_in(browser)
    assert browser.post(path, data={"name": "x", "password": PASSWORD}).status_code == 403
    assert browser.post(path, data={"csrf": "x" * 43, "name": "x"}).status_code == 403


def test_a_form_of_another_session_is_refused(browser: TestClient, site: FastAPI) -> None:
    sign_in(browser)
    with TestClient(site, follow_redirects=False) as other:
        sign_in(other)
        theirs = field(other.get("/account/tokens").text)
    answer = browser.post("/account/tokens", data={"csrf": theirs, "scopes": "submit"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_from_another_site_is_refused(browser: TestClient, headers: dict[str, str]) -> None:
    sign_in(browser)
    token = field(browser.get("/account/tokens").text)
    data = {"csrf": token, "scopes": "submit", "name": "x"}
    assert browser.post("/account/tokens", data=data, headers=headers).status_code == 403
    assert browser.post("/account/tokens", data=data).status_code == 200


def test_signing_out_ends_the_session_on_the_server(browser: TestClient, site: FastAPI) -> None:
    sign_in(browser)
    cookies = dict(browser.cookies)
    token = field(browser.get("/account/tokens").text)
    assert browser.post("/logout", data={"csrf": token}).status_code == 303
    with TestClient(site, follow_redirects=False, cookies=cookies) as thief:
        assert thief.get("/account/tokens").status_code == 303


def test_a_session_ends_by_itself(browser: TestClient, site: FastAPI) -> None:
    sign_in(browser)
    with site.state.writing.begin() as session:
        session.scalars(select(WebSession)).one().expires = now() - timedelta(seconds=1)
    assert browser.get("/account/tokens").headers["location"].startswith("/login")


def test_an_invitation_is_good_once(site: FastAPI, browser: TestClient) -> None:
    with site.state.writing.begin() as session:
        _, code = invite(session, 1, Role.MAINTAINER)
        _, expired = invite(session, -1)

    def join(code: str, name: str = "grace", password: str = PASSWORD, shown: str = "") -> Any:
        with TestClient(site, follow_redirects=False) as visitor:
            token = field(visitor.get("/join").text)
            data = {"csrf": token, "code": code, "name": name, "password": password}
            data["display_name"] = shown
            return visitor.post("/join", data=data)

    assert join(code, name="<script>").status_code == 422
    assert join(code, password="short").status_code == 422
    assert join(code, shown="\u202eevil").status_code == 422
    assert join(code, name="ada").status_code == 422, "taken"
    assert join(code).status_code == 303
    assert join(code, name="mallory").status_code == 422
    assert join(expired, name="mallory").status_code == 422
    assert join("inv_guessed", name="mallory").status_code == 422
    with site.state.sessions() as session:
        assert session.scalars(select(User.role).where(User.name == "grace")).one() == "maintainer"
        assert session.scalar(select(User).where(User.name == "mallory")) is None


def test_a_token_is_shown_once_and_stored_hashed(browser: TestClient, site: FastAPI) -> None:
    sign_in(browser)
    csrf = field(browser.get("/account/tokens").text)
    data = {"csrf": csrf, "name": "<b>laptop</b>", "days": "30", "scopes": "submit"}
    page = browser.post("/account/tokens", data=data).text
    found = re.search(r"sslb_[\w-]{43}", page)
    assert found
    assert "<b>laptop</b>" not in page
    assert found[0] not in browser.get("/account/tokens").text
    assert browser.get("/api/v1/me", headers=bearer(found[0])).json()["name"] == "ada"
    with site.state.sessions() as session:
        stored = session.scalars(select(Token)).one()
        assert found[0] not in (stored.hash, stored.name, stored.public_id)


def test_nobody_gives_themselves_more_than_their_role(browser: TestClient) -> None:
    sign_in(browser)
    csrf = field(browser.get("/account/tokens").text)
    page = browser.post("/account/tokens", data={"csrf": csrf, "scopes": "maintain", "name": "x"})
    assert page.status_code == 422
    assert "sslb_" not in page.text


def test_revoked_expired_and_closed_tokens_are_refused(browser: TestClient, site: FastAPI) -> None:
    revoked, expired, closed = (token_for(site, "ada", days=days) for days in (1, -1, 1))
    mine = browser.get("/api/v1/me/tokens", headers=bearer(revoked)).json()
    last = mine[-1]["id"]
    assert browser.delete(f"/api/v1/me/tokens/{last}", headers=bearer(revoked)).status_code == 204
    for token in (revoked, expired):
        answer = browser.get("/api/v1/me", headers=bearer(token))
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
    with site.state.writing.begin() as session:
        set_active(session, session.scalars(select(User)).one(), False)
    assert browser.get("/api/v1/me", headers=bearer(closed)).status_code == 401
    assert sign_in(browser).status_code == 401


def test_a_role_that_is_lost_is_lost_for_tokens_too(browser: TestClient, site: FastAPI) -> None:
    with site.state.writing.begin() as session:
        user = session.scalars(select(User)).one()
        user.role = Role.MAINTAINER
    token = token_for(site, "ada", ["submit", "maintain"])
    assert browser.get("/api/v1/me", headers=bearer(token)).json()["scopes"] == [
        "maintain",
        "submit",
    ]
    with site.state.writing.begin() as session:
        session.scalars(select(User)).one().role = Role.SUBMITTER
    assert browser.get("/api/v1/me", headers=bearer(token)).json()["scopes"] == ["submit"]


def test_tokens_cannot_be_guessed(browser: TestClient, site: FastAPI) -> None:
    good = token_for(site, "ada")
    limit = site.state.settings.attempts_per_hour
    states = [
        browser.get("/api/v1/me", headers=bearer(f"sslb_{i:043}")).status_code
        for i in range(limit + 2)
    ]
    assert states[0] == 401
    assert states[-1] == 429
    refused = browser.get("/api/v1/me", headers=bearer(good))
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert refused.headers["content-type"] == "application/problem+json"


def test_other_peoples_tokens_are_not_there(browser: TestClient, site: FastAPI) -> None:
    with site.state.writing.begin() as session:
        eve = create_user(session, "eve", password=PASSWORD)
        session.flush()
        token, _ = create_token(session, eve, "hers", ["submit"], 1)
    mine = token_for(site, "ada")
    answer = browser.delete(f"/api/v1/me/tokens/{token.public_id}", headers=bearer(mine))
    assert answer.status_code == 404
    sign_in(browser)
    csrf = field(browser.get("/account/tokens").text)
    path = f"/account/tokens/{token.public_id}/revoke"
    assert browser.post(path, data={"csrf": csrf}).status_code == 404


def test_another_password_signs_other_browsers_out(browser: TestClient, site: FastAPI) -> None:
    with TestClient(site, follow_redirects=False) as other:
        sign_in(other)
        sign_in(browser)
        csrf = field(browser.get("/account/tokens").text)
        new = "another horse battery"
        data = {"csrf": csrf, "old": PASSWORD, "new": new}
        assert browser.post("/account/password", data=data).status_code == 303
        assert browser.get("/account/tokens").status_code == 200
        assert other.get("/account/tokens").status_code == 303
        assert sign_in(other).status_code == 401
        assert sign_in(other, password=new).status_code == 303


def test_the_log_says_who_did_what(browser: TestClient, site: FastAPI) -> None:
    sign_in(browser, password="wrong wrong wrong")
    sign_in(browser)
    with site.state.sessions() as session:
        events = [(event.actor, event.action) for event in session.scalars(select(AuditEvent))]
    assert ("ada", "user.created") in events
    assert ("-", "session.refused") in events
    assert ("ada", "session.opened") in events


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "x"],
)
def test_sign_in_leads_nowhere_else(target: str) -> None:
    assert local_path(target) == "/submissions"
    assert local_path("/submit?kind=onnx") == "/submit?kind=onnx"


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaaaaa", "ada ada ada ada", "x" * 300])
def test_weak_passwords_are_refused(site: FastAPI, password: str) -> None:
    with pytest.raises(SslBenchError, match="the password"), site.state.writing.begin() as session:
        create_user(session, "ada", password=password)


def test_a_bucket_fills_again_and_their_number_is_bounded() -> None:
    time = [0.0]
    buckets = Buckets(1.0, 3, clock=lambda: time[0])
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(1.0)
    time[0] = 2.0
    assert [buckets.take("a") == 0 for _ in range(3)] == [True, True, False]
    for i in range(KEPT + 10):
        buckets.take(f"address {i}")
    assert len(buckets.levels) == KEPT


def test_an_ipv6_network_counts_as_one_address() -> None:
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:1")
    assert address_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_key("testclient") == "testclient"


def test_several_processes_share_the_attempts_at_a_secret() -> None:
    rates = Rates(Settings(attempts_per_hour=6, processes=3))
    for _ in range(2):
        rates.count_attempt("address 192.0.2.1")
    with pytest.raises(Problem, match="too many requests"):
        rates.count_attempt("address 192.0.2.1")
