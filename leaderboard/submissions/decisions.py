"""What owners and maintainers decide about a submission."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard.accounts.audit import record
from leaderboard.accounts.caller import Caller
from leaderboard.api.problems import Problem
from leaderboard.db import (
    SHOWN,
    Kind,
    Result,
    ResultState,
    Submission,
    SubmissionState,
    now,
)
from leaderboard.results.publish import bump_generation, refresh
from leaderboard.submissions.submitting import check_name
from leaderboard.submissions.uploads import find_upload

WAITING = (SubmissionState.QUEUED,)
WORKING = (SubmissionState.VALIDATING, SubmissionState.RUNNING)
PRIORITIES = range(-10, 11)


def find_submission(session: Session, caller: Caller, public_id: str) -> Submission:
    """One's own submission, or any for a maintainer.

    Raises:
        Problem: 404: there is none, or it is somebody else's, which is the same.
    """
    wanted = select(Submission).where(Submission.public_id == public_id)
    if session.get_bind().get_execution_options().get("writing"):
        wanted = wanted.with_for_update()  # the worker writes to the same row
    found = session.scalar(wanted)
    if found is None or not (caller.maintains or found.owner_id == caller.user.id):
        raise Problem(404, "there is no such submission of yours")
    return found


def _note(
    session: Session, caller: Caller, submission: Submission, action: str, **more: object
) -> None:
    record(
        session,
        caller.user,
        f"submission.{action}",
        "submission",
        submission.public_id,
        caller.origin,
        **more,
    )


def cancel(session: Session, caller: Caller, submission: Submission) -> None:
    """Stop what has not ended.

    Raises:
        Problem: 409, it has ended.
    """
    if submission.state in WAITING:
        submission.state, submission.finished = SubmissionState.CANCELLED, now()
    elif submission.state not in WORKING:
        raise Problem(409, f"it is {submission.state} already: there is nothing to cancel")
    submission.cancel_requested = True
    _note(session, caller, submission, "cancelled")


def rename(session: Session, caller: Caller, submission: Submission, name: str) -> None:
    """Another name, here and on the leaderboard; addresses stay.

    Raises:
        Problem: 409, the name is taken or the submission withdrawn.
    """
    if submission.state == SubmissionState.WITHDRAWN:
        raise Problem(409, "it is withdrawn: there is nothing to rename")
    check_name(session, submission.owner, name)
    before = submission.name
    submission.name = name
    encoder = submission.encoder
    if encoder is not None and encoder.owner_id == submission.owner_id:
        encoder.name = encoder.title = name
        bump_generation(session)
    _note(session, caller, submission, "renamed", before=before, after=name)


def withdraw(session: Session, caller: Caller, submission: Submission) -> None:
    """Take a submission back: its results are shown no more; again changes nothing."""
    if submission.state == SubmissionState.WITHDRAWN:
        return
    if submission.state in WORKING:
        submission.cancel_requested = True
    submission.state = SubmissionState.WITHDRAWN
    submission.finished = submission.finished or now()
    _hide(session, submission)
    _note(session, caller, submission, "withdrawn")


def hide(session: Session, caller: Caller, submission: Submission) -> None:
    """Take a submission's results off the leaderboard; `show` puts them back."""
    submission.counts = False
    _hide(session, submission)
    _note(session, caller, submission, "hidden")


def show(session: Session, caller: Caller, submission: Submission) -> None:
    """Let a submission's results count, instead of other ones of the same encoder.

    Raises:
        Problem: 409, it is withdrawn or has no results.
    """
    rows = _results(session, submission)
    if submission.state == SubmissionState.WITHDRAWN or not rows:
        raise Problem(409, "it has no results that could count")
    others = select(Submission).where(
        Submission.encoder_id == submission.encoder_id, Submission.id != submission.id
    )
    for other in session.scalars(others):
        other.counts = False
    submission.counts = True
    for row in rows:
        rival = _shown(session, row)
        if rival is not None and rival.id != row.id:
            rival.state = ResultState.SUPERSEDED
            session.flush()
        row.state = _state_of(submission)
        session.flush()
    _show_encoder(session, submission)
    refresh(session, rows)
    _note(session, caller, submission, "counts")


def set_priority(session: Session, caller: Caller, submission: Submission, priority: int) -> None:
    submission.priority = priority
    _note(session, caller, submission, "priority", priority=priority)


def verify(
    session: Session,
    caller: Caller,
    submission: Submission,
    upload_id: str | None = None,
    architecture: str = "",
) -> Submission:
    """Queue a re-run of a submission: of its own file, or, for self-reported results, of a
    checkpoint or ONNX file that the maintainer has uploaded. Its results then replace them.

    Raises:
        Problem: 404, 409, 422.
    """
    running = session.scalar(
        select(Submission.id).where(
            Submission.verifies_id == submission.id,
            Submission.state.in_((*WAITING, *WORKING)),
        )
    )
    if running is not None:
        raise Problem(409, "it is being verified already")
    if submission.state not in (SubmissionState.DONE, SubmissionState.FAILED):
        raise Problem(409, f"it is {submission.state}: only what has ended can be re-run")
    kind, upload = submission.kind, submission.upload
    if upload_id is not None:
        upload = find_upload(session, caller, upload_id)
        kind = upload.kind
    if kind == Kind.RESULTS or upload is None:
        raise Problem(422, "upload: self-reported results need the encoder's file to be re-run")
    again = Submission(
        owner_id=submission.owner_id,
        upload_id=upload.id,
        encoder_id=submission.encoder_id,
        verifies_id=submission.id,
        kind=kind,
        name=submission.name,
        architecture=architecture or submission.architecture,
        modality=submission.modality,
        input_options=submission.input_options,
        suite=submission.suite,
        description=submission.description,
        licence=submission.licence,
        paper=submission.paper,
        pretraining=submission.pretraining,
        pretraining_data=submission.pretraining_data,
        gpu=submission.gpu,
        priority=submission.priority,
    )
    session.add(again)
    session.flush()
    _note(session, caller, submission, "verify", by=again.public_id)
    return again


def differences(session: Session, submission: Submission) -> list[dict[str, object]]:
    """Of a re-run: each score beside the one it re-runs, and whether they agree within a quarter
    of the half-width of the interval, or 1e-4."""
    if submission.verifies_id is None:
        return []
    before = select(Result).where(Result.submission_id == submission.verifies_id)
    known = {(row.task, row.protocol): row for row in session.scalars(before)}
    found: list[dict[str, object]] = []
    for row in _results(session, submission):
        old = known.get((row.task, row.protocol))
        if old is None:
            continue
        width = 0.0 if row.low is None or row.high is None else (row.high - row.low) / 2
        tolerance = max(1e-4, width / 4)
        found.append(
            {
                "task": row.task,
                "protocol": row.protocol,
                "before": old.score,
                "after": row.score,
                "tolerance": tolerance,
                "agrees": abs(old.score - row.score) <= tolerance,
            }
        )
    return found


def _results(session: Session, submission: Submission) -> list[Result]:
    return list(session.scalars(select(Result).where(Result.submission_id == submission.id)))


def _state_of(submission: Submission) -> ResultState:
    """What a submission's results are when they are shown."""
    own = submission.kind == Kind.RESULTS
    return ResultState.SELF_REPORTED if own else ResultState.VERIFIED


def _shown(session: Session, row: Result) -> Result | None:
    return session.scalar(
        select(Result).where(
            Result.encoder_id == row.encoder_id,
            Result.task == row.task,
            Result.protocol == row.protocol,
            Result.state.in_(SHOWN),
        )
    )


def _hide(session: Session, submission: Submission) -> None:
    rows = [row for row in _results(session, submission) if row.state != ResultState.HIDDEN]
    for row in rows:
        row.state = ResultState.HIDDEN
    session.flush()
    changed = rows + _reinstated(session, rows)
    if changed:
        refresh(session, changed)
    _show_encoder(session, submission)


def _reinstated(session: Session, hidden: Iterable[Result]) -> list[Result]:
    """Of each cell that shows nothing now, the newest earlier result of a submission that is not
    withdrawn or hidden, verified ones first."""
    found = []
    for row in hidden:
        if _shown(session, row) is not None:
            continue
        earlier = session.execute(
            select(Result, Submission)
            .join(Submission, Result.submission_id == Submission.id)
            .where(
                Result.encoder_id == row.encoder_id,
                Result.task == row.task,
                Result.protocol == row.protocol,
                Result.task_version == row.task_version,
                Result.protocol_version == row.protocol_version,
                Result.state == ResultState.SUPERSEDED,
                Submission.state != SubmissionState.WITHDRAWN,
            )
            .order_by((Submission.kind == Kind.RESULTS), Result.id.desc())
            .limit(1)
        ).first()
        if earlier is not None:
            earlier.Result.state = _state_of(earlier.Submission)
            session.flush()
            found.append(earlier.Result)
    return found


def _show_encoder(session: Session, submission: Submission) -> None:
    """An encoder of whose results none is shown is not listed."""
    encoder = submission.encoder
    if encoder is None or encoder.owner_id is None:
        return
    session.flush()
    some = session.scalar(
        select(Result.id).where(Result.encoder_id == encoder.id, Result.state.in_(SHOWN)).limit(1)
    )
    encoder.hidden = some is None
    bump_generation(session)
