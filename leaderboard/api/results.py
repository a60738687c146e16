"""Results, by permanent identifier."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.api.problems import Problem
from leaderboard.api.reading import Paging, problem, reading_router
from leaderboard.api.schemas import Document, Page, ResultDetail, ResultOut
from leaderboard.db import Encoder, Result
from leaderboard.dependencies import ReadSession
from leaderboard.queries.results import by_public_id, reproduce, shown
from leaderboard.queries.table import Domain
from leaderboard.results.documents import file_of

router = reading_router("results")
MISSING: dict[int | str, dict[str, Any]] = {404: problem("no such result")}
PublicId = str


@router.get("/results", response_model=Page[ResultOut])
def results(
    session: ReadSession,
    paging: Annotated[Paging, Depends()],
    task: Annotated[str | None, Query(max_length=120)] = None,
    protocol: Annotated[str | None, Query(max_length=40)] = None,
    modality: Annotated[Domain | None, Query()] = None,
    encoder: Annotated[str | None, Query(max_length=120, description="slug")] = None,
) -> Any:
    """Results that count, the newest first."""
    columns = {
        Result.task: task, Result.protocol: protocol, Result.modality: modality,
        Encoder.slug: encoder,
    }  # fmt: skip
    chosen = shown(*(column == value for column, value in columns.items() if value is not None))
    total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    ordered = chosen.order_by(Result.created.desc(), Result.id.desc())
    rows = session.scalars(ordered.offset(paging.offset).limit(paging.per_page))
    return paging.of(rows.all(), total)


@router.get("/results/{id}", response_model=ResultDetail, responses=MISSING)
def result(session: ReadSession, id: PublicId) -> Any:
    """One result, for good: it stays here also when a newer one counts in its place."""
    row = known_result(session, id)
    out = ResultOut.model_validate(row).model_dump()
    return {
        **out,
        "public_id": row.public_id,
        "reproduce": reproduce(row.payload.document),
        "file": f"/api/v1/results/{row.public_id}/file",
    }


@router.get("/results/{id}/file", responses=MISSING)
def result_file(session: ReadSession, id: PublicId) -> Document:
    """The result file as it was sent: scores, provenance, replicates."""
    return file_of(known_result(session, id).payload)


def known_result(session: Session, public_id: str) -> Result:
    """The result of an identifier, or a 404."""
    row = by_public_id(session, public_id)
    if row is None:
        raise Problem(404, f"there is no result {public_id!r}")
    return row
