"""Submitting by the API: who may do what, once, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmark.results import Result as ResultFile
from leaderboard.db import (
    AuditEvent,
    Encoder,
    Result,
    ResultState,
    Submission,
    SubmissionState,
    User,
    Worker,
    now,
)
from leaderboard.results.publish import publish
from leaderboard.submissions.submitting import Submitting

Weights = Callable[..., bytes]


def finish(site: FastAPI, public_id: str, results: list[ResultFile]) -> None:
    """What a worker does at the end: publish and close."""
    with site.state.writing.begin() as session:
        row = session.scalars(select(Submission).where(Submission.public_id == public_id)).one()
        encoder = row.encoder or session.scalar(select(Encoder).where(Encoder.name == row.name))
        if encoder is None:
            encoder = Encoder(
                slug=row.name, name=row.name, modality="audio", kind="pretrained",
                source="submission", owner_id=row.owner_id,
            )  # fmt: skip
            session.add(encoder)
            session.flush()
        row.encoder_id = encoder.id
        publish(session, results, ResultState.VERIFIED, encoder=encoder, submission_id=row.id)
        row.state, row.finished = SubmissionState.DONE, now()


def states(site: FastAPI, public_id: str) -> set[str]:
    with site.state.sessions() as session:
        found = session.scalars(
            select(Result.state).join(Submission).where(Submission.public_id == public_id)
        )
        return set(found)


def test_a_checked_file_is_queued(ada: Any, weights: Weights, open_site: FastAPI) -> None:
    answer = ada.submit(ada.upload(weights(0)), description="a\nb", pretraining_data=["ptbxl"])
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["state"] == "queued"
    assert found["modality"] == "pointcloud"
    assert found["ahead"] == 0
    path = answer.headers["location"].removeprefix("/api/v1")
    shown = ada("GET", path).json()
    assert shown["description"] == "a\nb"
    assert ada("GET", "/submissions").json()["items"][0]["id"] == found["id"]
    with open_site.state.sessions() as session:
        assert "submission.created" in session.scalars(select(AuditEvent.action)).all()


def test_a_file_that_does_not_fit_is_not_queued(
    ada: Any, weights: Weights, open_site: FastAPI
) -> None:
    upload = ada.upload(weights(0))
    answer = ada.submit(upload, architecture="ssast-tiny-patch")
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["field"] == "tensors"
    assert "missing" in problem["detail"]
    assert "ssast-tiny-patch" in problem["detail"]
    nan = weights(0)[:-4] + b"\x00\x00\xc0\x7f"
    assert "NaN" in ada.submit(ada.upload(nan)).json()["detail"]
    with open_site.state.sessions() as session:
        assert session.scalars(select(Submission)).all() == []
    assert ada.submit(upload).status_code == 201, "the upload itself is still good"


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "", "a name has at least one"),
        ("name", "x" * 121, "at most 120"),
        ("name", "...", "letter or digit"),
        ("name", "a\u202eb", "U+202E"),
        ("name", "a\x00b", "U+0000"),
        ("name", "a\ud800b", ""),
        ("paper", "javascript:alert(1)", "begins with https"),
        ("paper", " data:text/html,<script>", "begins with https"),
        ("suite", "none", "known: "),
        ("architecture", "", "needs one"),
        ("architecture", "nonesuch", "no architecture"),
        ("modality", "audio", "takes pointcloud"),
        ("description", "x" * 4001, "at most 4000"),
        ("pretraining_data", ["x"] * 51, "at most 50"),
        ("input_options", {"x": "y" * 3000}, "2000"),
        ("upload", "../etc", "pattern"),
        ("surplus", "x", "not permitted"),
    ],
)
def test_every_field_is_checked(
    ada: Any, weights: Weights, field: str, value: Any, words: str
) -> None:
    body = {"upload": ada.upload(weights(0)), "name": "m", "architecture": "random-pointnet"}
    content = json.dumps({**body, field: value})
    answer = ada(
        "POST", "/submissions", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422), answer.text
    assert words in answer.json()["detail"]


def test_a_repeated_request_finds_the_first(ada: Any, eve: Any, weights: Weights) -> None:
    upload = ada.upload(weights(0))
    key = {"Idempotency-Key": "key-key-key"}
    first = ada.submit(upload, headers=key)
    again = ada.submit(upload, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert ada.submit(upload, name="other", headers=key).status_code == 422
    hers = eve.submit(eve.upload(weights(0)), name="hers", headers=key)
    assert hers.status_code == 201, "a key is one's own"


def test_many_requests_at_once_make_one_submission(ada: Any, weights: Weights) -> None:
    upload = ada.upload(weights(0))
    key = {"Idempotency-Key": "key-key-key"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ada.submit(upload, headers=key), range(6)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_try_that_is_overtaken_by_another_finds_what_that_one_made(
    ada: Any, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload, key = ada.upload(weights(0)), {"Idempotency-Key": "key-key-key"}
    check = Submitting._check
    overtaking: list[Any] = []

    def overtaken(self: Submitting, session: Session, *given: Any) -> None:
        if not overtaking:
            overtaking.append("begun")
            overtaking.append(ada.submit(upload, headers=key))
            session.rollback()  # as on PostgreSQL, where every statement sees what is committed
        check(self, session, *given)

    monkeypatch.setattr(Submitting, "_check", overtaken)
    answer = ada.submit(upload, headers=key)
    assert (overtaking[1].status_code, answer.status_code) == (201, 200)
    assert answer.json()["id"] == overtaking[1].json()["id"]


def test_the_same_file_is_not_evaluated_twice(ada: Any, weights: Weights) -> None:
    upload = ada.upload(weights(0))
    first = ada.submit(upload).json()
    again = ada.submit(upload, name="another")
    assert again.status_code == 409
    assert again.json()["existing"] == first["id"]
    ada("POST", f"/submissions/{first['id']}/cancel")
    assert ada.submit(upload, name="another").status_code == 201


def test_nobody_takes_anothers_name(ada: Any, eve: Any, weights: Weights) -> None:
    ada.submit(ada.upload(weights(0)), name="Ours")
    assert eve.submit(eve.upload(weights(1)), name="ours").status_code == 409
    assert eve.submit(eve.upload(weights(1)), name="MFCC").status_code == 409, "of the catalog"
    assert ada.submit(ada.upload(weights(1)), name="ours").status_code == 201, "one's own"


def test_a_day_has_a_number_of_submissions(ada: Any, weights: Weights, open_site: FastAPI) -> None:
    with open_site.state.writing.begin() as session:
        session.scalars(select(User).where(User.name == "ada")).one().quota = 2
    for seed in range(2):
        assert ada.submit(ada.upload(weights(seed)), name=f"m{seed}").status_code == 201
    refused = ada.submit(ada.upload(weights(2)), name="m2")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 3600
    with open_site.state.writing.begin() as session:
        for row in session.scalars(select(Submission)):
            row.created = now() - timedelta(days=1, minutes=1)
    assert ada.submit(ada.upload(weights(2)), name="m2").status_code == 201


def test_an_unfinished_upload_cannot_be_submitted(ada: Any, weights: Weights) -> None:
    upload = ada.announce(weights(0)).json()["id"]
    assert ada.submit(upload).status_code == 409


ACTIONS = ("cancel", "rename", "withdraw", "hide", "count", "priority", "verify")
BODIES: dict[str, Any] = {"rename": {"name": "stolen"}, "priority": {"priority": 9}, "verify": {}}


def test_other_peoples_submissions_are_not_there(
    ada: Any, eve: Any, web: Any, weights: Weights
) -> None:
    mine = ada.submit(ada.upload(weights(0))).json()["id"]
    assert eve("GET", f"/submissions/{mine}").status_code == 404
    assert eve("GET", f"/submissions/{mine}/log").status_code == 404
    assert eve("GET", "/submissions?everybody=true").json()["total"] == 0
    for action in ACTIONS:
        body = BODIES.get(action)
        answer = eve("POST", f"/submissions/{mine}/{action}", json=body)
        assert answer.status_code in (403, 404), action
        assert web.post(f"/api/v1/submissions/{mine}/{action}", json=body).status_code == 401
    for action in ("hide", "count", "priority", "verify"):
        answer = ada("POST", f"/submissions/{mine}/{action}", json=BODIES.get(action))
        assert answer.status_code == 403, f"{action} is for maintainers"
    assert ada("GET", f"/submissions/{mine}").json()["name"] == "mine"


@pytest.mark.long
def test_a_waiting_submission_is_cancelled_at_once_and_a_running_one_when_it_can(
    ada: Any, weights: Weights, open_site: FastAPI
) -> None:
    first = ada.submit(ada.upload(weights(0)), name="a").json()["id"]
    second = ada.submit(ada.upload(weights(1)), name="b").json()["id"]
    with open_site.state.writing.begin() as session:
        worker = Worker(id="w", host="h", process=1, device="cpu")
        session.add(worker)
        session.flush()
        row = session.scalars(select(Submission).where(Submission.public_id == second)).one()
        row.state, row.worker_id = SubmissionState.RUNNING, "w"
    assert ada("GET", f"/submissions/{second}").json()["worker"]["device"] == "cpu"
    assert ada("POST", f"/submissions/{first}/cancel").json()["state"] == "cancelled"
    running = ada("POST", f"/submissions/{second}/cancel").json()
    assert (running["state"], running["cancel_requested"]) == ("running", True)
    assert ada("POST", f"/submissions/{first}/cancel").status_code == 409


def test_what_is_withdrawn_is_shown_no_more(
    ada: Any, weights: Weights, open_site: FastAPI, make_result: Callable[..., ResultFile]
) -> None:
    first = ada.submit(ada.upload(weights(0)), name="mine").json()["id"]
    finish(open_site, first, [make_result("mine", score=0.6)])
    second = ada.submit(ada.upload(weights(1)), name="mine").json()["id"]
    finish(open_site, second, [make_result("mine", score=0.7)])
    assert (states(open_site, first), states(open_site, second)) == ({"superseded"}, {"verified"})
    assert ada("POST", f"/submissions/{second}/withdraw").json()["state"] == "withdrawn"
    assert states(open_site, second) == {"hidden"}
    assert states(open_site, first) == {"verified"}, "what it had replaced counts again"
    ada("POST", f"/submissions/{first}/withdraw")
    with open_site.state.sessions() as session:
        assert session.scalars(select(Encoder)).one().hidden
    assert ada("POST", f"/submissions/{first}/withdraw").status_code == 200, "again changes nothing"
    assert ada("POST", f"/submissions/{first}/rename", json={"name": "x1"}).status_code == 409


def test_maintainers_hide_and_choose_what_counts(
    ada: Any, mia: Any, weights: Weights, open_site: FastAPI, make_result: Callable[..., ResultFile]
) -> None:
    first = ada.submit(ada.upload(weights(0)), name="mine").json()["id"]
    finish(open_site, first, [make_result("mine", score=0.6)])
    second = ada.submit(ada.upload(weights(1)), name="mine").json()["id"]
    finish(open_site, second, [make_result("mine", score=0.7)])
    assert mia("POST", f"/submissions/{first}/count").json()["counts"]
    assert (states(open_site, first), states(open_site, second)) == ({"verified"}, {"superseded"})
    mia("POST", f"/submissions/{first}/hide")
    assert states(open_site, first) == {"hidden"}
    assert states(open_site, second) == {"verified"}
    mia("POST", f"/submissions/{first}/count")
    assert (states(open_site, first), states(open_site, second)) == ({"verified"}, {"superseded"})


def test_renaming_renames_on_the_leaderboard(
    ada: Any, weights: Weights, open_site: FastAPI, make_result: Callable[..., ResultFile]
) -> None:
    mine = ada.submit(ada.upload(weights(0)), name="mine").json()["id"]
    finish(open_site, mine, [make_result("mine")])
    ada("POST", f"/submissions/{mine}/rename", json={"name": "Better name"})
    with open_site.state.sessions() as session:
        encoder = session.scalars(select(Encoder)).one()
    assert (encoder.name, encoder.slug) == ("Better name", "mine")


def test_maintainers_have_a_submission_run_again(
    ada: Any, mia: Any, weights: Weights, open_site: FastAPI, make_result: Callable[..., ResultFile]
) -> None:
    mine = ada.submit(ada.upload(weights(0)), name="mine").json()["id"]
    assert mia("POST", f"/submissions/{mine}/verify", json={}).status_code == 409, "not ended"
    finish(open_site, mine, [make_result("mine", score=0.6)])
    again = mia("POST", f"/submissions/{mine}/verify", json={})
    assert again.status_code == 201
    assert again.json()["owner"] == "ada"
    assert again.json()["verifies"] == mine
    assert mia("POST", f"/submissions/{mine}/verify", json={}).status_code == 409, "once at a time"
    finish(open_site, again.json()["id"], [make_result("mine", score=0.6001)])
    shown = ada("GET", f"/submissions/{again.json()['id']}").json()
    assert [row["agrees"] for row in shown["differences"]] == [True]


def test_self_reported_results_are_shown_as_such(
    ada: Any, eve: Any, open_site: FastAPI, make_result: Callable[..., ResultFile]
) -> None:
    results = [make_result("theirs").model_dump(mode="json")]
    upload = ada.upload(json.dumps({"results": results}).encode(), "results", "r.json")
    answer = ada.submit(upload, architecture="", licence="MIT")
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "done"
    shown = ada("GET", f"/submissions/{answer.json()['id']}").json()
    assert [row["state"] for row in shown["results"]] == ["self-reported"]
    with open_site.state.sessions() as session:
        row = session.scalars(select(Result)).one()
        assert row.encoder.name == "mine"
        assert row.signature
    results[0]["task"]["fingerprint"]["test"] = "c" * 64
    other = eve.upload(json.dumps({"results": results}).encode(), "results", "r.json")
    refused = eve.submit(other, name="hers", architecture="")
    assert refused.status_code == 422
    assert "not those of this site" in refused.json()["detail"]


def test_results_above_one_are_refused(ada: Any, make_result: Callable[..., ResultFile]) -> None:
    result = make_result("theirs").model_dump(mode="json")
    result["metrics"][result["metric"]]["value"] = 1.2
    upload = ada.upload(json.dumps({"results": [result]}).encode(), "results", "r.json")
    answer = ada.submit(upload, architecture="")
    assert answer.status_code == 422
    assert "out of range" in answer.json()["detail"]


def test_a_file_that_is_needed_no_more_can_be_deleted(
    ada: Any, weights: Weights, open_site: FastAPI
) -> None:
    upload = ada.upload(weights(0))
    mine = ada.submit(upload).json()["id"]
    assert ada("DELETE", f"/uploads/{upload}").status_code == 409
    ada("POST", f"/submissions/{mine}/withdraw")
    assert ada("DELETE", f"/uploads/{upload}").status_code == 204
    home = open_site.state.settings.home
    assert [path for path in (home / "uploads").rglob("*") if path.is_file()] == []
    assert ada("GET", f"/submissions/{mine}").json()["sha256"], "what was sent is still known"
    assert ada.announce(weights(0)).json()["state"] == "open", "and can be sent again"


def test_files_are_not_looked_into_without_end(
    ada: Any, weights: Weights, open_site: FastAPI
) -> None:
    upload = ada.upload(weights(0))
    limit = open_site.state.settings.checks_per_hour
    states = [ada.submit(upload, architecture="none").status_code for _ in range(limit + 1)]
    assert states[0] == 422
    assert states[-1] == 429


def test_random_bytes_are_refused_by_the_check(ada: Any) -> None:
    for kind in ("checkpoint", "onnx", "results"):
        upload = ada.upload(b"\x01" + os.urandom(500), kind)
        architecture = "random-pointnet" if kind == "checkpoint" else ""
        answer = ada.submit(upload, architecture=architecture)
        assert answer.status_code == 422, answer.text
