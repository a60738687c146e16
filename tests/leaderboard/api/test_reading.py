"""The reading API: what it says, its errors, pages, caching."""

import json
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from benchmark.modalities import MODALITIES
from benchmark.results import Result as ResultFile
from leaderboard.db import Encoder, Result, ResultState
from leaderboard.results.publish import publish, refresh


def names(client: TestClient, query: str = "") -> list[str]:
    answer = client.get(f"/api/v1/leaderboard{query}")
    assert answer.status_code == 200, answer.text
    return [row["encoder"]["name"] for row in answer.json()["items"]]


def test_the_table_says_who_ties_and_who_is_incomplete(filled: TestClient) -> None:
    rows = filled.get("/api/v1/leaderboard").json()["items"]
    assert [row["encoder"]["name"] for row in rows[:3]] == ["alpha", "beta", "gamma"]
    ranks = [
        (r["places"]["overall"]["rank_low"], r["places"]["overall"]["rank_high"]) for r in rows[:3]
    ]
    assert ranks == [(1, 2), (1, 2), (3, 3)]
    assert set(rows[0]["places"]) == {*MODALITIES, "overall"}
    assert rows[3]["complete"] is False
    assert rows[3]["verified"] is False
    lacking = rows[3]["places"]["audio"]
    assert lacking["score"] is None
    assert lacking["missing"] == [["oneshot-family", "knn"], ["oneshot-family", "label-efficiency"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?sort=-rank&verified=true", ["gamma", "beta", "alpha"]),
        ("?sort=encoder&q=ALP", ["alpha"]),
        ("?sort=-audio", ["gamma", "beta", "alpha", "<script>alert(1)</script>"]),
        ("?domain=ecg", ["alpha", "beta", "gamma"]),
        ("?suite=core", []),
        ("?protocol=knn", ["alpha", "beta", "gamma"]),
        ("?verified=true&licence=Apache-2.0", ["alpha", "beta", "gamma"]),
        ("?verified=false", ["<script>alert(1)</script>"]),
        ("?size=1m-10m&kind=control&verified=true", ["alpha", "beta", "gamma"]),
        ("?size=over-100m", []),
        ("?licence=nobody", []),
        ("?q='; DROP TABLE result; --", []),
        ("?domain=&size=&verified=&kind=&licence=&q=beta", ["beta"]),
    ],
)
def test_filters_and_orders(filled: TestClient, query: str, expected: list[str]) -> None:
    assert names(filled, query) == expected


@pytest.mark.parametrize(
    "query",
    ["?sort=salary", "?domain=video", "?page=0", "?per_page=501", "?page=nought", "?size=x"],
)
def test_bad_parameters_are_a_problem_that_names_them(filled: TestClient, query: str) -> None:
    answer = filled.get(f"/api/v1/leaderboard{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert query[1:].partition("=")[0] in answer.json()["detail"]


def test_lists_have_pages(filled: TestClient) -> None:
    seen: list[str] = []
    address = "/api/v1/results?per_page=7"
    while address:
        answer = filled.get(address)
        page = answer.json()
        assert page["total"] == 25
        assert len(page["items"]) <= 7
        seen += [item["id"] for item in page["items"]]
        address = page["next"]
        assert (f'<{address}>; rel="next"' == answer.headers.get("link")) is bool(address)
    assert len(set(seen)) == 25
    beyond = filled.get("/api/v1/results?page=99").json()
    assert (beyond["items"], beyond["next"]) == ([], None)


def test_a_result_has_a_permanent_address_with_its_file(
    site: FastAPI, filled: TestClient, make_result: Callable[..., ResultFile]
) -> None:
    page = filled.get("/api/v1/results?encoder=gamma&task=furniture20").json()
    (item,) = page["items"]
    detail = filled.get(f"/api/v1/results/{item['id']}").json()
    assert detail["reproduce"] == (
        "ssl-bench eval --model gamma --task furniture20 --protocol linear-probe "
        "--precision float32 --seed 0"
    )
    file = make_result("gamma", "furniture20", "linear-probe", 0.6)
    assert filled.get(detail["file"]).json() == file.model_dump(mode="json")
    with site.state.writing.begin() as session:
        better = make_result("gamma", "furniture20", "linear-probe", 0.7)
        publish(session, [better], ResultState.VERIFIED)
    assert filled.get(f"/api/v1/results/{item['id']}").json()["state"] == "superseded"
    assert filled.get(f"/results/{item['id']}").status_code == 200


def test_what_is_hidden_is_nowhere(site: FastAPI, filled: TestClient) -> None:
    with site.state.writing.begin() as session:
        encoder = session.scalars(select(Encoder).where(Encoder.name == "beta")).one()
        encoder.hidden = True
        own = session.scalars(select(Result).where(Result.encoder_id == encoder.id)).all()
        refresh(session, own)
        identifier = own[0].public_id
    assert "beta" not in names(filled)
    for address in (
        "/api/v1/encoders", "/api/v1/results", "/api/v1/tasks/furniture20/results", "/",
        "/tasks/furniture20", "/feed.atom", "/export/leaderboard.csv", "/compare",
    ):  # fmt: skip
        assert "beta" not in filled.get(address).text, address
    for address in ("/encoders/beta", "/api/v1/encoders/beta", f"/results/{identifier}",
                    f"/api/v1/results/{identifier}/file", "/badges/beta.svg"):  # fmt: skip
        assert filled.get(address).status_code == 404, address


def test_compare_is_the_paired_bootstrap(filled: TestClient) -> None:
    answer = filled.get("/api/v1/compare?encoder=alpha&encoder=beta&encoder=gamma").json()
    assert [encoder["name"] for encoder in answer["encoders"]] == ["alpha", "beta", "gamma"]
    (line,) = [
        x for x in answer["tasks"] if (x["name"], x["protocol"]) == ("furniture20", "linear-probe")
    ]
    close, far = line["differences"]
    assert far["value"] == pytest.approx(-0.3)
    assert (far["real"], far["better"]) == (True, False)
    assert far["low"] < -0.3 < far["high"] < 0
    assert close["real"] is False
    assert {line["name"] for line in answer["domains"]} == {*MODALITIES, "overall"}
    assert filled.get("/api/v1/compare?encoder=alpha").status_code == 422
    assert filled.get("/api/v1/compare?encoder=alpha&encoder=nobody").status_code == 404


def test_tasks_show_their_cards(filled: TestClient) -> None:
    listed = filled.get("/api/v1/tasks?modality=audio&suite=starter").json()["items"]
    assert {task["name"]: task["encoders"] for task in listed} == {
        "oneshot-family": 4, "percussion-onsets": 0,
    }  # fmt: skip
    card = filled.get("/api/v1/tasks/esc50").json()
    assert card["metric"] == "accuracy"
    assert len(card["classes"]) == 50
    assert card["reference_scores"]
    missing = filled.get("/api/v1/tasks/esc5")
    assert missing.status_code == 404
    assert "Did you mean 'esc50'?" in missing.json()["detail"]


def test_etag_answers_304_until_something_is_published(
    site: FastAPI, filled: TestClient, make_result: Callable[..., ResultFile]
) -> None:
    for place, address in enumerate(("/", "/api/v1/leaderboard", "/export/leaderboard.csv")):
        first = filled.get(address)
        etag = first.headers["etag"]
        again = filled.get(address, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
        with site.state.writing.begin() as session:
            newer = make_result("alpha", "furniture20", "linear-probe", 0.5 + 0.1 * place)
            publish(session, [newer], ResultState.VERIFIED)
        changed = filled.get(address, headers={"If-None-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag


def test_the_description_is_complete(client: TestClient) -> None:
    description = client.get("/api/v1/openapi.json").json()
    text = json.dumps(description)
    assert "examples" in text
    for path, operations in description["paths"].items():
        assert path.startswith("/api/v1/"), path
        for method, operation in operations.items():
            assert operation.get("description"), f"{method} {path} is not described"
