"""The overall table and the domains."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from benchmark.modalities import MODALITIES
from leaderboard.api.reading import paged, reading_router
from leaderboard.api.schemas import DomainOut, Page, RowOut
from leaderboard.dependencies import board_of
from leaderboard.pages.names import DOMAIN_TITLES
from leaderboard.queries.boards import BoardRow
from leaderboard.queries.catalog import domain_tasks, protocol_names, suite_names
from leaderboard.queries.table import TableQuery, make_table

router = reading_router("leaderboard")


@router.get("/leaderboard", response_model=Page[RowOut])
def leaderboard(request: Request, response: Response, query: Annotated[TableQuery, Query()]) -> Any:
    """Encoders × domains, in the order and with the filters of the query. Encoders that lack cells
    of the board follow at the end of the last page, with `complete` false and no rank."""
    table = make_table(board_of(request, query), query)
    rows = [row_out(row, True) for row in table.rows]
    if query.page >= table.pages:
        rows += [row_out(row, False) for row in table.incomplete]
    page = paged(request, response, rows, table.total, query.page, query.per_page)
    page.total += len(table.incomplete)
    return page


def row_out(row: BoardRow, complete: bool) -> dict[str, Any]:
    """A row as the API gives it."""
    return {
        "encoder": row,
        "complete": complete,
        "verified": row.verified,
        "seen_in_pretraining": row.seen_in_pretraining,
        "places": row.places,
    }


@router.get("/domains", response_model=list[DomainOut])
def domains(request: Request) -> Any:
    """The six domains, with how much there is in each."""
    board = board_of(request, TableQuery(suite="all"))
    return [
        {
            "name": name,
            "title": DOMAIN_TITLES[name],
            "tasks": len(domain_tasks(name)),
            "simulated_tasks": sum(card.simulated for card in domain_tasks(name)),
            "encoders": sum(name in row.places for row in board),
        }
        for name in MODALITIES
    ]


@router.get("/suites")
def suites() -> dict[str, list[str]]:
    """Suites and their tasks."""
    return suite_names()


@router.get("/protocols")
def protocols() -> list[str]:
    """The protocols."""
    return protocol_names()
