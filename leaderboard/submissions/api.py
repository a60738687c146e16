"""`/api/v1/submissions`: send, list, look at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy import func, select

from leaderboard.accounts.caller import Submitter
from leaderboard.db import Submission, SubmissionState
from leaderboard.dependencies import PublicId, ReadSession
from leaderboard.submissions.decisions import find_submission
from leaderboard.submissions.requests import SubmissionRequest
from leaderboard.submissions.submitting import Submitting
from leaderboard.submissions.views import (
    LogLine,
    SubmissionDetail,
    SubmissionView,
    detail,
    log_lines,
    view,
)

router = APIRouter(prefix="/api/v1", tags=["submissions"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern="^[A-Za-z0-9_-]{8,80}$",
        description="the same for every try to send the same submission",
    ),
]


class Page(BaseModel):
    """Some of a list."""

    items: list[SubmissionView]
    total: int
    page: int
    pages: int


def submitting(request: Request) -> Submitting:
    state = request.app.state
    return Submitting(
        state.sessions,
        state.writing,
        state.settings,
        state.storage,
        state.screening,
        state.rates,
    )


@router.post("/submissions", status_code=201)
def submit(
    asked: SubmissionRequest,
    request: Request,
    response: Response,
    caller: Submitter,
    idempotency_key: Key = None,
) -> SubmissionView:
    """Queue an uploaded file for evaluation, once it has been checked. Self-reported results are
    shown at once, as such. A repeated request with the same Idempotency-Key gives the first one."""
    found, new = submitting(request).submit(caller, asked, idempotency_key)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/v1/submissions/{found.public_id}"
    with request.app.state.sessions() as session:
        return view(session, find_submission(session, caller, found.public_id))


@router.get("/submissions")
def mine(
    caller: Submitter,
    session: ReadSession,
    state: Annotated[SubmissionState | None, Query()] = None,
    everybody: Annotated[bool, Query(description="for maintainers: not only one's own")] = False,
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page:
    """The caller's submissions, the newest first."""
    wanted = select(Submission)
    if not (everybody and caller.maintains):
        wanted = wanted.where(Submission.owner_id == caller.user.id)
    if state is not None:
        wanted = wanted.where(Submission.state == state)
    total = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
    rows = session.scalars(
        wanted.order_by(Submission.id.desc()).limit(per_page).offset((page - 1) * per_page)
    )
    items = [view(session, row) for row in rows]
    return Page(items=items, total=total, page=page, pages=max(1, -(-total // per_page)))


@router.get("/submissions/{submission_id}")
def show(submission_id: PublicId, caller: Submitter, session: ReadSession) -> SubmissionDetail:
    """One submission: its state, steps, results, log."""
    return detail(session, find_submission(session, caller, submission_id))


@router.get("/submissions/{submission_id}/log")
def log(
    submission_id: PublicId,
    caller: Submitter,
    session: ReadSession,
    after: Annotated[
        int, Query(ge=0, le=2**31 - 1, description="number of the last line known")
    ] = 0,
    most: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[LogLine]:
    """The newest lines of a submission's log."""
    return log_lines(session, find_submission(session, caller, submission_id), most, after)
