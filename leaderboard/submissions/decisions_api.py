"""What owners and maintainers may decide, by the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from leaderboard.accounts.caller import Maintainer, Submitter
from leaderboard.dependencies import PublicId, WriteSession
from leaderboard.submissions import decisions
from leaderboard.submissions.requests import Line, Name
from leaderboard.submissions.views import SubmissionView, view

router = APIRouter(prefix="/api/v1/submissions/{submission_id}", tags=["submissions"])


class Renaming(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Name


class Priority(BaseModel):
    model_config = ConfigDict(extra="forbid")
    priority: int = Field(ge=decisions.PRIORITIES[0], le=decisions.PRIORITIES[-1])


class Verification(BaseModel):
    """The file to re-run, where the submission has none of its own."""

    model_config = ConfigDict(extra="forbid")
    upload: Annotated[str, Field(pattern="^[0-9a-f]{24}$")] | None = None
    architecture: Line = Field("", max_length=120)


@router.post("/cancel")
def cancel(submission_id: PublicId, caller: Submitter, session: WriteSession) -> SubmissionView:
    """Stop a submission that has not ended."""
    found = decisions.find_submission(session, caller, submission_id)
    decisions.cancel(session, caller, found)
    return view(session, found)


@router.post("/rename")
def rename(
    submission_id: PublicId, asked: Renaming, caller: Submitter, session: WriteSession
) -> SubmissionView:
    """Give it another name, here and on the leaderboard."""
    found = decisions.find_submission(session, caller, submission_id)
    decisions.rename(session, caller, found, asked.name)
    return view(session, found)


@router.post("/withdraw")
def withdraw(submission_id: PublicId, caller: Submitter, session: WriteSession) -> SubmissionView:
    """Take it back; its results are shown no more."""
    found = decisions.find_submission(session, caller, submission_id)
    decisions.withdraw(session, caller, found)
    return view(session, found)


@router.post("/hide")
def hide(submission_id: PublicId, caller: Maintainer, session: WriteSession) -> SubmissionView:
    """Maintainers: take its results off the leaderboard."""
    found = decisions.find_submission(session, caller, submission_id)
    decisions.hide(session, caller, found)
    return view(session, found)


@router.post("/count")
def count(submission_id: PublicId, caller: Maintainer, session: WriteSession) -> SubmissionView:
    """Maintainers: let this one of several submissions of an encoder count."""
    found = decisions.find_submission(session, caller, submission_id)
    decisions.show(session, caller, found)
    return view(session, found)


@router.post("/priority")
def priority(
    submission_id: PublicId, asked: Priority, caller: Maintainer, session: WriteSession
) -> SubmissionView:
    """Maintainers: its place in the queue; higher comes first."""
    found = decisions.find_submission(session, caller, submission_id)
    decisions.set_priority(session, caller, found, asked.priority)
    return view(session, found)


@router.post("/verify", status_code=201)
def verify(
    submission_id: PublicId, asked: Verification, caller: Maintainer, session: WriteSession
) -> SubmissionView:
    """Maintainers: queue a re-run; its results replace the submission's."""
    found = decisions.find_submission(session, caller, submission_id)
    again = decisions.verify(session, caller, found, asked.upload, asked.architecture)
    return view(session, again)
