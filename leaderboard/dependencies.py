"""What request handlers ask for: settings and database sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlalchemy.orm import Session

from leaderboard.queries.boards import BoardRow
from leaderboard.queries.table import TableQuery
from leaderboard.settings import Settings


def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


def _reading(request: Request) -> Iterator[Session]:
    with request.app.state.sessions() as session:
        yield session


def _writing(request: Request) -> Iterator[Session]:
    """Committed when the handler returns, rolled back when it raises."""
    with request.app.state.writing.begin() as session:
        yield session


def board_of(request: Request, query: TableQuery) -> Sequence[BoardRow]:
    """The rows of the board that a query is about, from memory."""
    state = request.app.state
    suite = query.suite or state.settings.default_suite
    rows: Sequence[BoardRow] = state.boards.read(state.generation.current(), suite, query.protocol)
    return rows


SettingsDep = Annotated[Settings, Depends(_settings)]
ReadSession = Annotated[Session, Depends(_reading)]
# scope: the commit must be done before the answer is sent, or a client could read what is not yet
WriteSession = Annotated[Session, Depends(_writing, scope="function")]
# anything else cannot be one of ours, and never reaches the database
PublicId = Annotated[str, Path(pattern="^[0-9a-f]{24}$")]
