"""The pages of those who submit, as a browser without JavaScript uses them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from benchmark.results import Result as ResultFile
from leaderboard.db import StepState, Submission, SubmissionLog, SubmissionState, SubmissionStep

PASSWORD = "correct horse battery"
XSS = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
Weights = Callable[..., bytes]


def field(page: str, name: str = "csrf") -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


@pytest.fixture
def browser(open_site: FastAPI, web: TestClient, ada: Any) -> TestClient:
    return sign_in(web, "ada")


def sign_in(web: TestClient, name: str) -> TestClient:
    web.cookies.clear()
    token = field(web.get("/login").text)
    answer = web.post("/login", data={"csrf": token, "name": name, "password": PASSWORD})
    assert answer.status_code == 303
    return web


def send(browser: TestClient, files: list[tuple[str, bytes]], **fields: str) -> Any:
    page = browser.get("/submit").text
    data = {
        "csrf": field(page),
        "key": field(page, "key"),
        "kind": "checkpoint",
        "name": "mine",
        "architecture": "random-pointnet",
        "suite": "starter",
        **fields,
    }
    parts = [("file", (name, content)) for name, content in files]
    return browser.post("/submit", data=data, files=parts)


def test_a_checkpoint_by_the_form(
    browser: TestClient, weights: Weights, open_site: FastAPI
) -> None:
    answer = send(browser, [("model.safetensors", weights(0))])
    assert answer.status_code == 303, answer.text
    page = browser.get(answer.headers["location"]).text
    assert "queued" in page
    assert 'hx-trigger="every 2s"' in page
    assert "mine" in browser.get("/submissions").text
    assert list((open_site.state.settings.home / "partial").glob("*")) == []


def test_the_same_form_twice_is_one_submission(browser: TestClient, weights: Weights) -> None:
    first = send(browser, [("m.safetensors", weights(0))], key="k" * 43)
    again = send(browser, [("m.safetensors", weights(0))], key="k" * 43)
    assert first.headers["location"] == again.headers["location"]


def test_results_of_several_files(
    browser: TestClient, make_result: Callable[..., ResultFile]
) -> None:
    files = [
        (f"{protocol}.json", make_result("m", protocol=protocol).model_dump_json().encode())
        for protocol in ("linear-probe", "knn")
    ]
    answer = send(browser, files, kind="results")
    assert answer.status_code == 303, answer.text
    page = browser.get(answer.headers["location"]).text
    assert page.count("self-reported") >= 2
    assert 'hx-trigger="every' not in page, "it has ended"


@pytest.mark.parametrize(
    ("files", "fields", "words"),
    [
        ([("m.safetensors", b"")], {}, "choose one"),
        ([("m.safetensors", b"\x80\x04N.")], {}, "pickle"),
        ([("m.safetensors", b"PK\x03\x04")], {}, "zip"),
        ([("a", b"abc"), ("b", b"abc")], {}, "one file at a time"),
        ([("m", b"abc")], {"kind": "exe"}, "kind"),
        ([("m", b"abc")], {"name": "\u202e"}, "name"),
        ([("m", b"abc")], {"paper": "javascript:alert(1)"}, "paper"),
        ([("m.onnx", b"abc")], {"kind": "onnx", "input_options": "{"}, "input options"),
        ([("r.json", b"[" * 100_000)], {"kind": "results"}, "nested"),
        ([("m", b"abc")], {}, "ends after 3 bytes"),
    ],
)
def test_what_is_wrong_is_said_on_the_form(
    browser: TestClient, files: Any, fields: dict[str, str], words: str
) -> None:
    answer = send(browser, files, description="kept text", **fields)
    assert answer.status_code == 422, answer.text
    assert words in re.sub(r"<[^>]*>", "", answer.text.partition('role="alert"')[2])[:500]
    assert "kept text" in answer.text


def test_a_file_that_is_too_large_is_cut_off(browser: TestClient, open_site: FastAPI) -> None:
    open_site.state.settings.__dict__["upload_mib"] = 1
    answer = send(browser, [("m.safetensors", bytes(3 << 20))])
    assert answer.status_code == 413
    assert list((open_site.state.settings.home / "partial").glob("*")) == []


def test_a_form_from_elsewhere_is_refused_before_its_file(
    browser: TestClient, weights: Weights, open_site: FastAPI
) -> None:
    data = {"csrf": "x" * 43, "kind": "checkpoint", "name": "m"}
    files = {"file": ("m.safetensors", weights(0))}
    assert browser.post("/submit", data=data, files=files).status_code == 403
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n--b--\r\n'
    )
    kind = {"content-type": "multipart/form-data; boundary=b"}
    assert browser.post("/submit", content=body, headers=kind).status_code == 403
    assert browser.post("/submit", content=b"--b\r\n\r\n", headers=kind).status_code in (400, 422)
    assert (
        browser.post("/submit", content=b"x", headers={"content-type": "text/plain"}).status_code
        == 415
    )
    many = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % i for i in range(500)
    )
    assert browser.post("/submit", content=many, headers=kind).status_code == 413


def test_visitors_are_sent_to_sign_in(web: TestClient) -> None:
    for path in (
        "/submit",
        "/submissions",
        "/account",
        "/account/tokens",
        "/submissions/" + "0" * 24,
    ):
        answer = web.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"] == f"/login?next={path}"


def test_nothing_that_people_write_becomes_markup(
    browser: TestClient, weights: Weights, open_site: FastAPI, mia: Any
) -> None:
    fields = dict.fromkeys(
        ("name", "description", "licence", "pretraining", "pretraining_data"), XSS
    )
    fields["paper"] = "https://example.org/" + XSS
    answer = send(browser, [(XSS + ".safetensors", weights(0))], **fields)
    assert answer.status_code == 303, answer.text
    path = answer.headers["location"]
    public_id = path.rpartition("/")[2]
    with open_site.state.writing.begin() as session:
        row = session.scalars(select(Submission).where(Submission.public_id == public_id)).one()
        row.state, row.reason = SubmissionState.FAILED, XSS
        session.add(
            SubmissionStep(
                submission=row, task=XSS, protocol="knn", state=StepState.FAILED, message=XSS
            )
        )
        session.add(SubmissionLog(submission_id=row.id, message=XSS))
    pages = [browser.get(p).text for p in (path, f"{path}/progress", "/submissions")]
    pages.append(send(browser, [("m", b"abc")], **fields, key="x").text)
    sign_in(browser, "mia")
    pages += [browser.get(p).text for p in (path, "/submissions?everybody=true")]
    for page in pages:
        assert "&lt;script&gt;" in page
        for part in ("<script>alert", "<img src=x", "\"'>"):
            assert part not in page


def test_the_policy_forbids_inline_script(browser: TestClient) -> None:
    for path in ("/submit", "/login", "/join", "/account/tokens"):
        page = browser.get(path)
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
        assert not re.search(r"\son\w+=|\sstyle=", page.text)


def test_owners_act_by_forms_and_others_cannot(
    browser: TestClient, weights: Weights, eve: Any, mia: Any
) -> None:
    path = send(browser, [("m.safetensors", weights(0))]).headers["location"]
    csrf = field(browser.get(path).text)
    renamed = browser.post(f"{path}/rename", data={"csrf": csrf, "name": "Other"})
    assert renamed.status_code == 303
    assert browser.post(f"{path}/rename", data={"csrf": csrf, "name": "mfcc"}).status_code == 409
    assert browser.post(f"{path}/rename", data={"csrf": csrf, "name": "\u202e"}).status_code == 422
    assert browser.post(f"{path}/cancel", data={"csrf": "x"}).status_code == 403
    assert browser.post(f"{path}/hide", data={"csrf": csrf}).status_code == 403
    assert browser.post(f"{path}/explode", data={"csrf": csrf}).status_code == 404
    assert browser.post(f"{path}/cancel", data={"csrf": csrf}).status_code == 303
    assert "cancelled" in browser.get(path).text
    sign_in(browser, "eve")
    theirs = field(browser.get("/submit").text)
    assert browser.get(path).status_code == 404
    assert browser.get(f"{path}/progress").status_code == 404
    assert browser.post(f"{path}/withdraw", data={"csrf": theirs}).status_code == 404
    sign_in(browser, "mia")
    csrf = field(browser.get(path).text)
    assert browser.post(f"{path}/priority", data={"csrf": csrf, "priority": "3"}).status_code == 303
    assert browser.post(f"{path}/withdraw", data={"csrf": csrf}).status_code == 303


def test_the_list_is_paged(browser: TestClient, ada: Any, open_site: FastAPI) -> None:
    with open_site.state.writing.begin() as session:
        for index in range(60):
            session.add(
                Submission(
                    owner_id=1, kind="checkpoint", name=f"number {index:02}", modality="audio"
                )
            )
    assert "number 59" in browser.get("/submissions?state=").text
    assert "number 59" not in browser.get("/submissions?state=done").text
    assert "number 00" in browser.get("/submissions?page=2").text
    found = ada("GET", "/submissions?page=2&per_page=50").json()
    assert (len(found["items"]), found["total"], found["pages"]) == (10, 60, 2)
    assert json.dumps(found)
