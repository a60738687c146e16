"""Standings are those that the engine's own summary gives, also when built piece by piece."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from benchmark.modalities import MODALITIES
from benchmark.report.summary import summarise
from benchmark.results import Result as ResultFile
from leaderboard.db import Encoder, Result, ResultState, Standing
from leaderboard.results.publish import publish, refresh
from leaderboard.standings.update import rebuild

Make = Callable[..., ResultFile]
TASKS = {
    "audio": "oneshot-family", "pointcloud": "furniture20", "echo": "echo-sim-view",
    "ecg": "ecg-sim-rhythm", "histopathology": "he-sim-tissue", "astronomy": "asteroid-spectrum",
}  # fmt: skip


@pytest.fixture
def files(make_result: Make) -> list[ResultFile]:
    """Three encoders over one task of each domain; a fourth without the audio task under knn."""
    found = []
    for place, encoder in enumerate(("alpha", "beta", "gamma", "delta")):
        for index, task in enumerate(TASKS.values()):
            score = 0.9 - 0.1 * place + 0.01 * index * place
            found.append(make_result(encoder, task, "linear-probe", score))
        if encoder != "delta":
            found.append(make_result(encoder, TASKS["audio"], "knn", 0.5 + 0.01 * place))
    return found


def standings(site: FastAPI, **where: str) -> dict[tuple[str, str], Standing]:
    with site.state.sessions() as session:
        rows = session.execute(
            select(Encoder.name, Standing).join(Encoder).filter_by(**where)
        ).tuples()
        return {(name, row.domain): row for name, row in rows}


def facts(site: FastAPI) -> dict[tuple[str, ...], tuple[object, ...]]:
    with site.state.sessions() as session:
        return {
            (s.suite, s.protocol, s.domain, str(s.encoder_id)): (
                pytest.approx(s.score) if s.score is not None else None,
                s.rank_low, s.rank_high, s.borda, s.cells, s.missing,
            )
            for s in session.scalars(select(Standing))
        }  # fmt: skip


def test_they_are_the_engine_s_summary(site: FastAPI, files: list[ResultFile]) -> None:
    for file in files:  # one by one, as results come in
        with site.state.writing.begin() as session:
            publish(session, [file], ResultState.VERIFIED)
    found = standings(site, suite="starter", protocol="all")
    summary = summarise(files)
    assert len(summary.rows) == 4
    for row in summary.rows:
        for domain in MODALITIES:
            standing = found[row.encoder, domain]
            if domain in row.missing:
                assert standing.score is None
                assert standing.missing == [list(cell) for cell in row.missing[domain]]
                continue
            known = row.domains[domain]
            assert standing.score == pytest.approx(known.estimate.value)
            assert standing.low == pytest.approx(known.estimate.low, abs=1e-6)
            assert standing.high == pytest.approx(known.estimate.high, abs=1e-6)
            assert (standing.rank_low, standing.rank_high) == known.rank
        if row.total is None:
            assert (row.encoder, "overall") not in found
        else:
            total = found[row.encoder, "overall"]
            assert total.score == pytest.approx(row.total.value)
            assert total.low == pytest.approx(row.total.low, abs=1e-6)
            assert total.borda == pytest.approx(row.borda)


def test_order_of_arrival_and_rebuilding_make_no_difference(
    site: FastAPI, files: list[ResultFile]
) -> None:
    with site.state.writing.begin() as session:
        publish(session, files[::-1], ResultState.VERIFIED)
    before = facts(site)
    with site.state.writing.begin() as session:
        assert rebuild(session) == 7
    assert facts(site) == before


def test_standings_of_an_older_version_get_the_values_of_their_cells(
    site: FastAPI, files: list[ResultFile], make_result: Make
) -> None:
    newer = make_result("alpha", TASKS["audio"], "linear-probe", 0.55)
    with site.state.writing.begin() as session:
        publish(session, files, ResultState.VERIFIED)
        session.execute(update(Standing).values(values=None))
    with site.state.writing.begin() as session:
        publish(session, [newer], ResultState.VERIFIED)
    after = facts(site)
    with site.state.writing.begin() as session:
        rebuild(session)
    assert facts(site) == after


def test_what_is_hidden_leaves_the_standings(site: FastAPI, files: list[ResultFile]) -> None:
    with site.state.writing.begin() as session:
        publish(session, files, ResultState.VERIFIED)
    assert ("alpha", "overall") in standings(site, suite="all", protocol="all")
    with site.state.writing.begin() as session:
        (row,) = session.scalars(
            select(Result).join(Encoder).where(
                Encoder.name == "alpha", Result.task == "ecg-sim-rhythm"
            )
        )  # fmt: skip
        row.state = ResultState.HIDDEN
        refresh(session, [row])
    found = standings(site, suite="all", protocol="all")
    assert ("alpha", "overall") not in found
    assert ("alpha", "ecg") not in found
    assert found["beta", "ecg"].rank_low == 1


def test_a_board_is_unverified_when_one_result_is(site: FastAPI, make_result: Make) -> None:
    with site.state.writing.begin() as session:
        publish(session, [make_result()], ResultState.VERIFIED)
        publish(session, [make_result(protocol="knn")], ResultState.SELF_REPORTED)
    found = standings(site, suite="all", protocol="all")
    assert not found["mfcc", "audio"].verified
    assert standings(site, suite="all", protocol="linear-probe")["mfcc", "audio"].verified
