"""`ssl-bench serve` (uvicorn with the application) and the commands about results."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from leaderboard.app import create_app
from leaderboard.db import Result, ResultState
from leaderboard.db.engine import make_engine, writing_sessions
from leaderboard.db.migrate import migrate
from leaderboard.evaluation.sandbox import refuse_bare_root
from leaderboard.operations import configure_logs
from leaderboard.queries.catalog import cards, suite_names
from leaderboard.results.load import load_run
from leaderboard.results.publish import bump_generation
from leaderboard.settings import PREFIX, load_settings
from leaderboard.standings.update import rebuild

STARTER = Path("runs/starter")


def serve_command(
    host: str | None, port: int | None, home: Path | None, processes: int | None, load: list[Path]
) -> None:
    """Load the results of `load`, then serve until told to stop."""
    given = {"host": host, "port": port, "home": home, "processes": processes}
    chosen = {key: value for key, value in given.items() if value is not None}
    settings = load_settings(**chosen)
    configure_logs(settings)
    refuse_bare_root()
    app = create_app(settings)
    _load(app.state.writing, load or _starter_run(app.state.sessions), ResultState.VERIFIED)
    typer.echo(f"http://{settings.host}:{settings.port}", err=True)
    several = settings.processes > 1
    if several:
        app.state.engine.dispose()
        os.environ |= {f"{PREFIX}{key.upper()}": str(value) for key, value in chosen.items()}
        os.environ[f"{PREFIX}MIGRATE_ON_START"] = "false"  # it is done
    else:
        _prepare()
    uvicorn.run(
        "leaderboard.server:make_app" if several else app,
        factory=several,
        workers=settings.processes,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=10,
    )


def make_app() -> FastAPI:
    """The application of one of several processes; its settings are in the environment."""
    settings = load_settings()
    configure_logs(settings)
    _prepare()
    return create_app(settings)


def _prepare() -> None:
    cards()  # both are read before the first reader comes
    suite_names()
    sys.setswitchinterval(0.001)  # kept answers go out while pages are made in threads


def _starter_run(sessions: sessionmaker[Session]) -> list[Path]:
    """The run that `ssl-bench eval --suite starter` left here, for a site that has no results."""
    with sessions() as session:
        if session.scalar(select(Result.id).limit(1)) is not None:
            return []
    if (STARTER / "results").is_dir():
        return [STARTER]
    typer.echo(
        "no results yet: `ssl-bench eval --model all --suite starter` computes some, "
        "`ssl-bench site load RUN` publishes them",
        err=True,
    )
    return []


def load_command(runs: list[Path], self_reported: bool) -> None:
    """Publish the results of runs, one transaction each."""
    state = ResultState.SELF_REPORTED if self_reported else ResultState.VERIFIED
    _load(_sessions(), runs, state)


def rebuild_command() -> None:
    """Compute all standings anew."""
    with _sessions().begin() as session:
        cells = rebuild(session)
        bump_generation(session)
    typer.echo(f"the standings of {cells} cells are rebuilt")


def _sessions() -> sessionmaker[Session]:
    engine = make_engine(load_settings())
    migrate(engine)
    return writing_sessions(engine)


def _load(sessions: sessionmaker[Session], runs: list[Path], state: ResultState) -> None:
    for run in runs:
        total, new = load_run(sessions, run, state)
        typer.echo(f"{run}: {total} results, {new} of them new", err=True)
