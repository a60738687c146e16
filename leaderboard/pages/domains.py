"""A domain's page: its board, and the matrix of encoders × cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from starlette.exceptions import HTTPException

from benchmark.modalities import MODALITIES
from leaderboard.db import Result
from leaderboard.dependencies import ReadSession
from leaderboard.pages.board_view import board_view
from leaderboard.pages.rendering import render
from leaderboard.queries.catalog import domain_tasks, suite_names
from leaderboard.queries.results import per_task, shown
from leaderboard.queries.table import TableQuery

router = APIRouter()
WIDEST = 60  # columns of the matrix
LONGEST = 60  # rows


@dataclass(frozen=True)
class Matrix:
    """Chance-normalised scores, encoders × (task, protocol)."""

    cells: Sequence[tuple[str, str]]
    rows: Sequence[tuple[str, str, Sequence[Result | None]]]  # slug, name, results
    left_out: int  # cells that are not shown


@router.get("/domains/{domain}", name="domain")
def domain(
    request: Request,
    session: ReadSession,
    domain: str,
    query: Annotated[TableQuery, Query()],
) -> HTMLResponse:
    """One domain."""
    if domain not in MODALITIES:
        raise HTTPException(404, f"there is no domain {domain!r}: {', '.join(MODALITIES)}")
    query = query.model_copy(update={"domain": domain})
    view = board_view(request, query, f"/domains/{domain}")
    tasks = [
        card for card in domain_tasks(domain) if card.name in suite_names().get(view.suite, ())
    ]
    slugs = {row.slug: row.name for row in (*view.table.rows, *view.table.incomplete)}
    return render(
        request,
        "domain.html",
        public=True,
        domain=domain,
        view=view,
        tasks=tasks,
        counted=per_task(session),
        matrix=_matrix(session, [card.name for card in tasks], query.protocol, slugs),
    )


def _matrix(
    session: ReadSession, tasks: Sequence[str], protocol: str, slugs: dict[str, str]
) -> Matrix:
    chosen = [Result.task.in_(tasks), *([Result.protocol == protocol] if protocol != "all" else [])]
    cells = sorted(
        session.execute(select(Result.task, Result.protocol).where(*chosen).distinct()).tuples()
    )
    wanted, listed = cells[:WIDEST], list(slugs)[:LONGEST]
    found: dict[str, dict[tuple[str, str], Result]] = {slug: {} for slug in listed}
    for result in session.scalars(shown(*chosen)):
        if result.encoder.slug in found:
            found[result.encoder.slug][result.task, result.protocol] = result
    rows = [(slug, slugs[slug], [own.get(cell) for cell in wanted]) for slug, own in found.items()]
    return Matrix(wanted, rows, len(cells) - len(wanted))
