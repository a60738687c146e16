"""A submission as owners and maintainers see it, on pages and by the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.db import (
    Kind,
    Result,
    ResultState,
    StepState,
    Submission,
    SubmissionLog,
    SubmissionState,
    Worker,
    now,
)
from leaderboard.submissions.decisions import differences

ENDED = (
    SubmissionState.DONE,
    SubmissionState.FAILED,
    SubmissionState.CANCELLED,
    SubmissionState.WITHDRAWN,
)
STEP_ENDED = (StepState.DONE, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED)


class StepView(BaseModel):
    """One (task, protocol)."""

    task: str
    protocol: str
    state: StepState
    attempts: int
    message: str
    started: datetime | None
    finished: datetime | None


class WorkerView(BaseModel):
    """Who evaluates it."""

    device: str
    heartbeat: datetime
    silent_seconds: float = Field(description="since its last sign of life")


class ResultView(BaseModel):
    """A result that came of it."""

    id: str
    task: str
    protocol: str
    metric: str
    score: float
    low: float | None
    high: float | None
    state: ResultState


class SubmissionView(BaseModel):
    """What is known of a submission."""

    id: str
    name: str
    kind: Kind
    state: SubmissionState
    ended: bool
    owner: str
    architecture: str
    modality: str
    suite: str
    description: str
    licence: str
    paper: str
    pretraining: str
    pretraining_data: list[str]
    gpu: bool
    priority: int
    counts: bool
    cancel_requested: bool
    reason: str
    encoder: str | None = Field(description="its slug on the site, once it is published")
    verifies: str | None = Field(description="the submission that this one re-runs")
    file_name: str
    size: int | None
    sha256: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    ahead: int | None = Field(description="submissions before it in the queue")
    done: int = Field(description="steps that have ended")
    total: int
    steps: list[StepView]
    worker: WorkerView | None


class LogLine(BaseModel):
    id: int
    at: datetime
    level: str
    message: str


class SubmissionDetail(SubmissionView):
    """The same with results and the newest lines of its log."""

    results: list[ResultView]
    log: list[LogLine]
    differences: list[dict[str, Any]] = Field(description="of a re-run, from the scores before")


def view(session: Session, found: Submission) -> SubmissionView:
    return SubmissionView(**_fields(session, found))


def detail(session: Session, found: Submission, lines: int = 200) -> SubmissionDetail:
    results = session.scalars(
        select(Result)
        .where(Result.submission_id == found.id)
        .order_by(Result.task, Result.protocol)
    )
    return SubmissionDetail(
        **_fields(session, found),
        results=[
            ResultView(
                id=row.public_id,
                task=row.task,
                protocol=row.protocol,
                metric=row.metric,
                score=row.score,
                low=row.low,
                high=row.high,
                state=row.state,
            )
            for row in results
        ],
        log=log_lines(session, found, lines),
        differences=differences(session, found),
    )


def log_lines(session: Session, found: Submission, most: int, after: int = 0) -> list[LogLine]:
    """The newest lines behind number `after`, the oldest of them first."""
    rows = session.scalars(
        select(SubmissionLog)
        .where(SubmissionLog.submission_id == found.id, SubmissionLog.id > after)
        .order_by(SubmissionLog.id.desc())
        .limit(most)
    ).all()
    return [
        LogLine(id=row.id, at=row.at, level=row.level, message=row.message)
        for row in reversed(rows)
    ]


def _fields(session: Session, found: Submission) -> dict[str, Any]:
    worker = session.get(Worker, found.worker_id) if found.worker_id else None
    at_work = found.state in (SubmissionState.VALIDATING, SubmissionState.RUNNING)
    steps = [
        StepView(
            task=step.task,
            protocol=step.protocol,
            state=step.state,
            attempts=step.attempts,
            message=step.message,
            started=step.started,
            finished=step.finished,
        )
        for step in found.steps
    ]
    verified = session.get(Submission, found.verifies_id) if found.verifies_id else None
    upload = found.upload
    same = (
        "name", "kind", "state", "architecture", "modality", "suite", "description", "licence",
        "paper", "pretraining", "pretraining_data", "gpu", "priority", "counts",
        "cancel_requested", "reason", "created", "started", "finished",
    )  # fmt: skip
    return {
        **{name: getattr(found, name) for name in same},
        "id": found.public_id,
        "ended": found.state in ENDED,
        "owner": found.owner.name,
        "encoder": found.encoder.slug if found.encoder is not None else None,
        "verifies": None if verified is None else verified.public_id,
        "file_name": "" if upload is None else upload.file_name,
        "size": None if upload is None else upload.size,
        "sha256": None if upload is None else upload.sha256,
        "ahead": _ahead(session, found),
        "done": sum(step.state in STEP_ENDED for step in steps),
        "total": len(steps),
        "steps": steps,
        "worker": WorkerView(
            device=worker.device,
            heartbeat=worker.heartbeat,
            silent_seconds=max(0.0, (now() - worker.heartbeat).total_seconds()),
        )
        if worker is not None and at_work
        else None,
    }


def _ahead(session: Session, found: Submission) -> int | None:
    if found.state != SubmissionState.QUEUED:
        return None
    earlier = (Submission.priority == found.priority) & (Submission.created < found.created)
    return session.scalar(
        select(func.count(Submission.id)).where(
            Submission.state == SubmissionState.QUEUED,
            (Submission.priority > found.priority) | earlier,
        )
    )
