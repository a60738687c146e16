"""Encoders, their results, and comparisons."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.api.problems import Problem
from leaderboard.api.reading import Paging, problem, reading_router
from leaderboard.api.schemas import CompareOut, EncoderDetail, EncoderOut, Page, ResultOut
from leaderboard.db import Encoder
from leaderboard.dependencies import ReadSession
from leaderboard.queries.comparison import MOST, compare_domains, compare_tasks
from leaderboard.queries.results import encoder_by_slug, of_encoder
from leaderboard.queries.table import Domain

router = reading_router("encoders")
MISSING: dict[int | str, dict[str, Any]] = {404: problem("no such encoder")}


@router.get("/encoders", response_model=Page[EncoderOut])
def encoders(
    session: ReadSession,
    paging: Annotated[Paging, Depends()],
    modality: Annotated[Domain | None, Query()] = None,
) -> Any:
    """Every encoder, by name."""
    where = [Encoder.hidden.is_(False), *([Encoder.modality == modality] if modality else [])]
    total = session.scalar(select(func.count(Encoder.id)).where(*where)) or 0
    rows = session.scalars(
        select(Encoder)
        .where(*where)
        .order_by(Encoder.name, Encoder.id)
        .offset(paging.offset)
        .limit(paging.per_page)
    )
    return paging.of(rows.all(), total)


@router.get("/encoders/{slug}", response_model=EncoderDetail, responses=MISSING)
def encoder(session: ReadSession, slug: str) -> Any:
    """An encoder's card."""
    return known_encoder(session, slug)


@router.get(
    "/encoders/{slug}/results",
    response_model=Page[ResultOut],
    responses=MISSING,
)
def encoder_results(session: ReadSession, paging: Annotated[Paging, Depends()], slug: str) -> Any:
    """An encoder's results, by domain, task and protocol."""
    return paging.cut(of_encoder(session, known_encoder(session, slug).id))


@router.get("/compare", response_model=CompareOut, responses=MISSING)
def compare(
    request: Request,
    session: ReadSession,
    encoder: Annotated[
        list[str],
        Query(min_length=2, max_length=MOST, description="slugs; the first is the reference"),
    ],
    suite: Annotated[str, Query(max_length=60)] = "",
    protocol: Annotated[str, Query(max_length=40)] = "all",
) -> Any:
    """Paired differences to the first encoder, on the same resamples of the test groups."""
    chosen = [known_encoder(session, slug) for slug in dict.fromkeys(encoder)]
    suite = suite or request.app.state.settings.default_suite
    return {
        "encoders": chosen,
        "domains": compare_domains(session, chosen, suite, protocol),
        "tasks": compare_tasks(session, chosen),
    }


def known_encoder(session: Session, slug: str) -> Encoder:
    """The encoder of a slug, or a 404."""
    found = encoder_by_slug(session, slug)
    if found is None:
        raise Problem(404, f"there is no encoder {slug!r}; /api/v1/encoders lists them")
    return found
