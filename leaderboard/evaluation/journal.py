"""What a worker writes down about a submission: states, progress, log.

Every write is fenced: once another worker has taken over, nothing of the first one counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from leaderboard.db import (
    StepState,
    Submission,
    SubmissionLog,
    SubmissionState,
    SubmissionStep,
    now,
)

Cell = tuple[str, str]  # task, protocol
ENDED = (SubmissionState.CANCELLED, SubmissionState.WITHDRAWN)


class Abandoned(BaseException):
    """This process has no more say in the submission: another worker took it over, or it shuts
    down itself. No `Exception`, so that DBOS does not keep it as the outcome of a step: the
    workflow stays as it is, for whoever goes on."""


class CancelledError(Exception):
    """The submission was cancelled or withdrawn."""


@dataclass
class Journal:
    """One worker's pen for one submission."""

    reading: sessionmaker[Session]
    writing: sessionmaker[Session]
    submission_id: int
    worker_id: str
    _looked: float = field(default=0.0)
    _wanted: bool = field(default=True)

    @contextmanager
    def entry(self) -> Iterator[tuple[Session, Submission]]:
        """A transaction on the submission, while it is this worker's.

        Raises:
            Abandoned: it is not.
        """
        with self.writing.begin() as session:
            query = select(Submission).where(Submission.id == self.submission_id)
            submission = session.scalars(query.with_for_update()).one()
            if submission.worker_id != self.worker_id:
                raise Abandoned
            yield session, submission

    def still_wanted(self, every: float = 1.0) -> bool:
        """Whether this worker should go on; asks the database once in `every` seconds. While the
        database is away, what was known last holds."""
        if time.monotonic() - self._looked < every:
            return self._wanted
        self._looked = time.monotonic()
        query = select(Submission.worker_id, Submission.cancel_requested, Submission.state)
        with suppress(DBAPIError), self.reading() as session:
            owner, cancelled, state = session.execute(
                query.where(Submission.id == self.submission_id)
            ).one()
            self._wanted = owner == self.worker_id and not cancelled and state not in ENDED
        return self._wanted

    def check(self) -> None:
        """Raises: CancelledError, Abandoned."""
        with self.entry() as (_, submission):
            if submission.cancel_requested or submission.state in ENDED:
                raise CancelledError

    def plan(self, cells: Iterable[Cell], absent: Iterable[tuple[str, str, str]] = ()) -> None:
        """Enter the steps: those to do, and those (task, protocol, why) that cannot be done."""
        with self.entry() as (session, submission):
            known = {(step.task, step.protocol): step for step in submission.steps}
            for task, protocol in cells:
                step = known.get((task, protocol)) or SubmissionStep(task=task, protocol=protocol)
                if step.state not in (None, StepState.DONE):
                    step.state, step.message, step.attempts = StepState.PENDING, "", 0
                if step not in submission.steps:
                    submission.steps.append(step)
            for task, protocol, why in absent:
                step = known.get((task, protocol)) or SubmissionStep(task=task, protocol=protocol)
                step.state, step.message, step.finished = StepState.SKIPPED, why[:2000], now()
                if step not in submission.steps:
                    submission.steps.append(step)
            submission.state = SubmissionState.RUNNING
            session.flush()

    def begin(self, cell: Cell) -> int:
        """Enter that a step begins; returns how often it was begun."""
        with self.entry() as (session, submission):
            step = _step(session, submission, cell)
            step.state, step.started, step.finished = StepState.RUNNING, now(), None
            step.attempts += 1
            step.worker_id, step.message = self.worker_id, ""
            return step.attempts

    def progress(self, cell: Cell, message: str) -> None:
        with self.entry() as (session, submission):
            _step(session, submission, cell).message = message[:2000]

    def end(self, cell: Cell, state: StepState, message: str = "") -> None:
        with self.entry() as (session, submission):
            step = _step(session, submission, cell)
            step.state, step.message, step.finished = state, message[:2000], now()
            level = "error" if state == StepState.FAILED else "info"
            text = f"{cell[0]} / {cell[1]}: {message or state}"
            _log(session, submission, text, level, step.id)

    def close(self, state: SubmissionState, reason: str = "") -> None:
        """Enter how it ended."""
        with self.entry() as (session, submission):
            finish(session, submission, state, reason)

    def log(self, message: str, level: str = "info") -> None:
        with self.entry() as (session, submission):
            _log(session, submission, message, level)


def finish(
    session: Session, submission: Submission, state: SubmissionState, reason: str = ""
) -> None:
    """End a submission, and the steps that are not ended."""
    if submission.state not in ENDED:
        submission.state = state
    submission.reason, submission.finished = reason[:4000], now()
    for step in submission.steps:
        if step.state in (StepState.PENDING, StepState.RUNNING):
            step.state, step.finished = StepState.CANCELLED, now()
    level = "error" if state == SubmissionState.FAILED else "info"
    _log(session, submission, reason or f"{submission.state}", level)


def _step(session: Session, submission: Submission, cell: Cell) -> SubmissionStep:
    return session.scalars(
        select(SubmissionStep).where(
            SubmissionStep.submission_id == submission.id,
            SubmissionStep.task == cell[0],
            SubmissionStep.protocol == cell[1],
        )
    ).one()


def _log(
    session: Session, submission: Submission, message: str, level: str, step: int | None = None
) -> None:
    session.add(
        SubmissionLog(
            submission_id=submission.id, step_id=step, level=level, message=message[:4000]
        )
    )


def log_differences(session: Session, submission: Submission) -> None:
    """Of a re-run: how its scores stand to those that it verifies."""
    from leaderboard.submissions.decisions import differences

    for row in differences(session, submission):
        text = (
            f"{row['task']} / {row['protocol']}: {row['after']:.4f}, before {row['before']:.4f}, "
            f"tolerance {row['tolerance']:.4f}: {'agrees' if row['agrees'] else 'differs'}"
        )
        _log(session, submission, text, "info" if row["agrees"] else "warning")
