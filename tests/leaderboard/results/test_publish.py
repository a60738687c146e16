"""Publication: checked, with history, once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

from benchmark.errors import SslBenchError
from benchmark.results import Result as ResultFile
from benchmark.results import pack, write_result
from leaderboard.db import SHOWN, Encoder, Result, ResultState, Standing
from leaderboard.results.documents import file_of
from leaderboard.results.load import load_run
from leaderboard.results.publish import generation, publish

Make = Callable[..., ResultFile]
VERIFIED, REPORTED = ResultState.VERIFIED, ResultState.SELF_REPORTED


def put(site: FastAPI, *files: ResultFile, state: ResultState = VERIFIED) -> list[str]:
    with site.state.writing.begin() as session:
        return [row.public_id for row in publish(session, files, state)]


def states(site: FastAPI) -> list[tuple[float, str]]:
    with site.state.sessions() as session:
        rows = session.execute(select(Result.score, Result.state).order_by(Result.id))
        return [(score, str(state)) for score, state in rows]


def test_the_result_file_comes_back_as_it_was(site: FastAPI, make_result: Make) -> None:
    file = make_result()
    put(site, file)
    with site.state.sessions() as session:
        row = session.scalars(select(Result)).one()
        assert file_of(row.payload) == file.model_dump(mode="json")
        assert row.normalised == pytest.approx((0.7 - row.chance) / (1 - row.chance))


def test_publishing_again_changes_nothing(site: FastAPI, make_result: Make) -> None:
    first = put(site, make_result())
    with site.state.sessions() as session:
        before = generation(session)
    assert put(site, make_result()) == first
    with site.state.sessions() as session:
        assert generation(session) == before == 1


def test_a_new_result_makes_the_old_one_history(site: FastAPI, make_result: Make) -> None:
    put(site, make_result(score=0.6))
    put(site, make_result(score=0.7))
    assert states(site) == [(0.6, "superseded"), (0.7, "verified")]


def test_self_reported_never_replaces_verified(site: FastAPI, make_result: Make) -> None:
    put(site, make_result(score=0.6), state=REPORTED)
    put(site, make_result(score=0.6), state=VERIFIED)
    put(site, make_result(score=0.9), state=REPORTED)
    assert states(site) == [(0.6, "superseded"), (0.6, "verified"), (0.9, "superseded")]


def test_names_of_encoders_become_addresses(site: FastAPI, make_result: Make) -> None:
    names = ["mfcc", "MFCC!", "mfcc (random)", "测试", "../../etc/passwd"]
    put(site, *(make_result(encoder=name) for name in names))
    with site.state.sessions() as session:
        found = dict(session.execute(select(Encoder.name, Encoder.slug)).tuples().all())
    assert [found[name] for name in names] == [
        "mfcc", "mfcc-2", "mfcc-random", "encoder", "etc-passwd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": 1.2}, "metrics.balanced_accuracy: 1.2"),
        ({"metric": "absurd"}, "metric: 'absurd' is not among"),
        ({"replicates": pack(np.full(10, 0.5))}, "replicates: 10 values, 1000 are needed"),
        ({"replicates": "A"}, "replicates: cannot be decoded"),
        ({"replicates": pack(np.full(1000, 7.0))}, "replicates: a value is out of range"),
        ({"replicates": pack(np.r_[np.nan, np.full(999, 0.7)])}, "replicates: has NaN"),
        ({"replicates": pack(np.full(1000, np.nan))}, "replicates: has NaN"),
        ({"per_class": {"a": {"recall": -3.0}}}, "per_class.a.recall: -3"),
        ({"protocol": {"name": "linear-probe", "version": 99}}, "protocol.version: is 99"),
        ({"protocol": {"name": "guess", "version": 1}}, "no protocol 'guess'"),
    ],
)
def test_results_that_cannot_be_true_are_refused(
    site: FastAPI, make_result: Make, change: dict[str, Any], message: str
) -> None:
    score = change.pop("score", 0.7)
    file = ResultFile(**{**make_result(score=score).model_dump(), **change})
    with pytest.raises(SslBenchError, match=message.replace(".", r"\.")):
        put(site, file)
    assert states(site) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 9), ("modality", "ecg"), ("simulated", True), ("classes", ("a",)),
     ("ceiling", 0.0), ("name", "no-such-task")],
)  # fmt: skip
def test_tasks_must_be_those_of_the_catalogue(
    site: FastAPI, make_result: Make, field: str, value: Any
) -> None:
    file = make_result()
    wrong = file.model_copy(update={"task": file.task.model_copy(update={field: value})})
    with pytest.raises(SslBenchError, match="no-such-task" if field == "name" else f"task.{field}"):
        put(site, wrong)


def test_a_part_of_a_dataset_is_marked(site: FastAPI, make_result: Make) -> None:
    file = make_result(task="esc50")
    part = file.task.model_copy(update={"examples": {"fold-1": 398}})
    unknown = file.task.model_copy(update={"examples": {}})
    smaller = part.model_copy(update={"published": {"all": 398}})  # as if it were the whole
    for task, field in ((unknown, "task.examples"), (smaller, "task.published")):
        with pytest.raises(SslBenchError, match=field):
            put(site, file.model_copy(update={"task": task}))
    put(site, file.model_copy(update={"task": part}), make_result())
    pages = TestClient(site)
    (result,) = pages.get("/api/v1/tasks/esc50/results").json()["items"]
    assert result["other_size"]
    told = pages.get(f"/results/{result['id']}").text
    assert "398 of the 2,000 published examples: not comparable with published scores" in told
    assert "‡" in pages.get("/tasks/esc50").text
    assert "‡" not in pages.get("/tasks/oneshot-family").text
    with site.state.sessions() as session:
        places = {row.suite: row.other_size for row in session.scalars(select(Standing))}
    assert places == {"core": 1, "starter": 0, "all": 1}


def test_other_data_and_other_seeds_are_not_compared(site: FastAPI, make_result: Make) -> None:
    put(site, make_result())
    other = make_result(encoder="b")
    data = other.task.model_copy(update={"fingerprint": {"train": "a", "test": "other"}})
    with pytest.raises(SslBenchError, match="get the dataset again"):
        put(site, other.model_copy(update={"task": data}))
    with pytest.raises(SslBenchError, match="--seed 0"):
        put(site, make_result(encoder="b", seed=3))


def test_one_bad_file_of_a_run_loads_nothing(
    site: FastAPI, make_result: Make, tmp_path: Path
) -> None:
    write_result(make_result(), tmp_path)
    write_result(make_result(encoder="z", score=1.5), tmp_path)
    with pytest.raises(SslBenchError, match=r"z on oneshot-family"):
        load_run(site.state.writing, tmp_path)
    assert states(site) == []
    (tmp_path / "z--oneshot-family--linear-probe.json").unlink()
    assert load_run(site.state.writing, tmp_path) == (1, 1)
    assert load_run(site.state.writing, tmp_path) == (1, 0)
    assert all(state in {str(shown) for shown in SHOWN} for _, state in states(site))
