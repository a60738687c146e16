"""An encoder's page, and the permanent page of a result."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from benchmark.modalities import MODALITIES
from benchmark.published import other_size
from leaderboard.api.encoders import known_encoder
from leaderboard.api.results import known_result
from leaderboard.db import Standing, Submission
from leaderboard.dependencies import ReadSession
from leaderboard.pages.rendering import render
from leaderboard.queries.results import documents, of_encoder, reproduce
from leaderboard.standings.update import ALL

router = APIRouter()


@router.get("/encoders/{slug}", name="encoder")
def encoder(request: Request, session: ReadSession, slug: str) -> HTMLResponse:
    """One encoder."""
    found = known_encoder(session, slug)
    results = of_encoder(session, found.id)
    files = documents(session, results)
    suite = request.app.state.settings.default_suite
    standings = session.scalars(
        select(Standing).filter_by(encoder_id=found.id, protocol=ALL, suite=suite)
    ).all()
    order = ("overall", *MODALITIES)
    return render(
        request,
        "encoder.html",
        public=True,
        encoder=found,
        results=results,
        files=files,
        commands={key: reproduce(file) for key, file in files.items()},
        standings=sorted(standings, key=lambda row: order.index(row.domain)),
        suite=suite,
        hashes=sorted({r.checkpoint_sha256 for r in results if r.checkpoint_sha256}),
        submission=_submission(session, found.id),
    )


@router.get("/results/{id}", name="result")
def result(request: Request, session: ReadSession, id: str) -> HTMLResponse:
    """One result, for good, with all of its provenance."""
    row = known_result(session, id)
    task = row.payload.document["task"]
    return render(
        request,
        "result.html",
        public=True,
        result=row,
        file=row.payload.document,
        differs=other_size(task.get("examples", {}), task.get("published", {})),
        command=reproduce(row.payload.document),
        submission=_submission(session, row.encoder_id),
    )


def _submission(session: ReadSession, encoder_id: int) -> Submission | None:
    """The newest submission behind an encoder."""
    return session.scalar(
        select(Submission)
        .where(Submission.encoder_id == encoder_id)
        .order_by(Submission.id.desc())
        .limit(1)
    )
