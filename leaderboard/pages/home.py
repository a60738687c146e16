"""The home page: the overall table and its charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from benchmark.modalities import MODALITIES
from leaderboard.pages.board_view import board_view
from leaderboard.pages.rendering import render
from leaderboard.queries.boards import BoardRow
from leaderboard.queries.table import TableQuery

router = APIRouter()


@dataclass(frozen=True)
class Leaders:
    """Who may be first in a domain: every encoder whose rank interval begins at 1."""

    domain: str
    encoders: Sequence[BoardRow]
    ranked: int


@router.get("/", name="home")
def home(request: Request, query: Annotated[TableQuery, Query()]) -> HTMLResponse:
    """Encoders × domains."""
    view = board_view(request, query, "/")
    boards, generation = request.app.state.boards, request.app.state.generation.current()
    board = boards.read(generation, view.suite, query.protocol)
    return render(
        request,
        "home.html",
        public=True,
        view=view,
        counts=boards.counts(generation),
        leaders=[_leaders(board, domain) for domain in MODALITIES],
    )


def _leaders(board: Sequence[BoardRow], domain: str) -> Leaders:
    ranked = [(row, row.places[domain]) for row in board if domain in row.places]
    ranked = [(row, place) for row, place in ranked if place.score is not None]
    first = [(row, place) for row, place in ranked if place.rank_low == 1]
    first.sort(key=lambda pair: -(pair[1].score or 0))
    return Leaders(domain, [row for row, _ in first], len(ranked))
