"""Runs from disk onto the site, by its administrator."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from benchmark.results import read_run
from leaderboard.db import Result, ResultState
from leaderboard.results.publish import publish


def load_run(
    sessions: sessionmaker[Session], run: Path, state: ResultState = ResultState.VERIFIED
) -> tuple[int, int]:
    """Publish every result of a run's folder; gives (results, of them new).

    Verified is what whoever runs the site has computed; `SELF_REPORTED` is for others' results.

    Raises:
        SslBenchError: no results, a damaged file, or one that cannot be true; nothing is loaded.
    """
    files = read_run(run)
    with sessions.begin() as session:
        before = session.scalar(select(func.count(Result.id))) or 0
        rows = publish(session, files, state)
        after = session.scalar(select(func.count(Result.id))) or 0
    return len(rows), after - before
