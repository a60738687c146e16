"""What owners and maintainers may decide, by the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from leaderboard.accounts.caller import Caller, Maintainer, Submitter
from leaderboard.db import Submission
from leaderboard.dependencies import PublicId, WriteSession
from leaderboard.submissions import decisions
from leaderboard.submissions.requests import Line, Name
from leaderboard.submissions.views import SubmissionView, view

router = APIRouter(prefix="/api/v1/submissions/{submission_id}", tags=["submissions"])


@dataclass(frozen=True)
class Decision:
    """A submission that the caller may decide about, found for writing."""

    session: Session
    caller: Caller
    submission: Submission

    def view(self) -> SubmissionView:
        return view(self.session, self.submission)


def _own(submission_id: PublicId, caller: Submitter, session: WriteSession) -> Decision:
    return Decision(session, caller, decisions.find_submission(session, caller, submission_id))


def _any(submission_id: PublicId, caller: Maintainer, session: WriteSession) -> Decision:
    return Decision(session, caller, decisions.find_submission(session, caller, submission_id))


OfOwn = Annotated[Decision, Depends(_own)]
OfAny = Annotated[Decision, Depends(_any)]


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
def cancel(of: OfOwn) -> SubmissionView:
    """Stop a submission that has not ended."""
    decisions.cancel(of.session, of.caller, of.submission)
    return of.view()


@router.post("/rename")
def rename(of: OfOwn, asked: Renaming) -> SubmissionView:
    """Give it another name, here and on the leaderboard."""
    decisions.rename(of.session, of.caller, of.submission, asked.name)
    return of.view()


@router.post("/withdraw")
def withdraw(of: OfOwn) -> SubmissionView:
    """Take it back; its results are shown no more."""
    decisions.withdraw(of.session, of.caller, of.submission)
    return of.view()


@router.post("/hide")
def hide(of: OfAny) -> SubmissionView:
    """Maintainers: take its results off the leaderboard."""
    decisions.hide(of.session, of.caller, of.submission)
    return of.view()


@router.post("/count")
def count(of: OfAny) -> SubmissionView:
    """Maintainers: let this one of several submissions of an encoder count."""
    decisions.show(of.session, of.caller, of.submission)
    return of.view()


@router.post("/priority")
def priority(of: OfAny, asked: Priority) -> SubmissionView:
    """Maintainers: its place in the queue; higher comes first."""
    decisions.set_priority(of.session, of.caller, of.submission, asked.priority)
    return of.view()


@router.post("/verify", status_code=201)
def verify(of: OfAny, asked: Verification) -> SubmissionView:
    """Maintainers: queue a re-run; its results replace the submission's."""
    again = decisions.verify(of.session, of.caller, of.submission, asked.upload, asked.architecture)
    return view(of.session, again)
