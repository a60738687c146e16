"""Up to four encoders side by side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from leaderboard.api.encoders import known_encoder
from leaderboard.db import Encoder
from leaderboard.dependencies import ReadSession
from leaderboard.pages.names import DOMAIN_TITLES
from leaderboard.pages.rendering import render
from leaderboard.queries.comparison import MOST, compare_domains, compare_tasks

router = APIRouter()


@router.get("/compare", name="compare")
def compare(
    request: Request,
    session: ReadSession,
    encoder: Annotated[list[str] | None, Query(max_length=20)] = None,
    suite: Annotated[str, Query(max_length=60)] = "",
    protocol: Annotated[str, Query(max_length=40)] = "all",
) -> HTMLResponse:
    """The form, and below it the comparison when two or more are chosen."""
    slugs = [slug for slug in dict.fromkeys(encoder or []) if slug][:MOST]
    chosen = [known_encoder(session, slug) for slug in slugs]
    suite = suite or request.app.state.settings.default_suite
    several = len(chosen) > 1
    everyone = session.scalars(
        select(Encoder).where(Encoder.hidden.is_(False)).order_by(Encoder.name)
    ).all()
    groups = {
        title: [found for found in everyone if found.modality == name]
        for name, title in DOMAIN_TITLES.items()
    }
    return render(
        request,
        "compare.html",
        public=True,
        chosen=chosen,
        groups={title: found for title, found in groups.items() if found},
        most=MOST,
        suite=suite,
        domain_lines=compare_domains(session, chosen, suite, protocol) if several else [],
        task_lines=compare_tasks(session, chosen) if several else [],
    )
