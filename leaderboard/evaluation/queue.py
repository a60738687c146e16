"""The queue is the submission table itself: a web server adds to it by writing a row, in the same
transaction as the rest, and needs neither DBOS nor a second place to keep in step.

Order: priority; then the submitter with the fewest running, then the one who was served longest
ago (round robin); then the oldest. A submitter never has more than `quota` running.
"""

from __future__ import annotations

import secrets

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session, aliased

from leaderboard.db import Submission, SubmissionState, now
from leaderboard.evaluation.heartbeats import AT_WORK

CLAIMS = 7309119  # the advisory lock of those who take from the queue


def claim(session: Session, worker_id: str, *, gpu: bool, quota: int) -> Submission | None:
    """Take the next submission, in a writing session; None where there is nothing to do.

    A worker without a GPU leaves what needs one; one with a GPU takes these first.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        session.execute(text(f"SELECT pg_advisory_xact_lock({CLAIMS})"))
    running, served = _running(), _last_served()
    query = (
        select(Submission)
        .where(Submission.state == SubmissionState.QUEUED, Submission.cancel_requested.is_(False))
        .where(running < quota)
        .order_by(
            *([Submission.gpu.desc()] if gpu else []),
            Submission.priority.desc(),
            running,
            func.coalesce(served, "1970-01-01 00:00:00+00:00")
            if session.get_bind().dialect.name == "sqlite"
            else served.asc().nulls_first(),
            Submission.created,
            Submission.id,
        )
        .limit(1)
    )
    if not gpu:
        query = query.where(Submission.gpu.is_(False))
    found = session.scalar(query)
    if found is None:
        return None
    found.state = SubmissionState.VALIDATING
    found.worker_id = worker_id
    found.workflow_id = f"{found.public_id}-{secrets.token_hex(4)}"
    found.started = now()
    found.finished = None
    found.reason = ""
    session.flush()
    return found


def _running():  # type: ignore[no-untyped-def]
    other = aliased(Submission)
    return (
        select(func.count(other.id))
        .where(other.owner_id == Submission.owner_id, other.state.in_(AT_WORK))
        .correlate(Submission)
        .scalar_subquery()
    )


def _last_served():  # type: ignore[no-untyped-def]
    other = aliased(Submission)
    return (
        select(func.max(other.started))
        .where(other.owner_id == Submission.owner_id)
        .correlate(Submission)
        .scalar_subquery()
    )


def adopt(session: Session, lost: list[str], worker_id: str, *, gpu: bool) -> Submission | None:
    """Take over a submission of a worker that is gone; None where there is none."""
    query = select(Submission).where(Submission.state.in_(AT_WORK), Submission.worker_id.in_(lost))
    if not gpu:
        query = query.where(Submission.gpu.is_(False))
    found = session.scalar(query.order_by(Submission.priority.desc(), Submission.started).limit(1))
    if found is None:
        return None
    taken = session.execute(
        update(Submission)
        .where(Submission.id == found.id, Submission.worker_id == found.worker_id)
        .values(worker_id=worker_id)
    )
    return found if taken.rowcount == 1 else None  # type: ignore[attr-defined]


def settle_cancelled(session: Session) -> int:
    """Close what was cancelled before any worker took it."""
    found = session.execute(
        update(Submission)
        .where(Submission.state == SubmissionState.QUEUED, Submission.cancel_requested.is_(True))
        .values(state=SubmissionState.CANCELLED, finished=now())
    )
    return int(found.rowcount)  # type: ignore[attr-defined]
