"""The pages of those who submit: the form, the list, one submission and its progress."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from benchmark.catalog import task_cards
from benchmark.modalities import MODALITIES
from leaderboard.accounts.caller import Caller
from leaderboard.accounts.csrf import check_form
from leaderboard.accounts.pages import Csrf, PageCaller
from leaderboard.api.problems import Problem
from leaderboard.db import Submission, SubmissionState
from leaderboard.dependencies import PublicId, ReadSession, WriteSession
from leaderboard.pages.rendering import render
from leaderboard.submissions import decisions
from leaderboard.submissions.form import TEXTS, FormError, submit_form
from leaderboard.submissions.requests import Name
from leaderboard.submissions.views import detail, view
from leaderboard.validation.architecture import submittable

router = APIRouter(include_in_schema=False)
PER_PAGE = 50


@router.get("/submit")
def form_page(request: Request, caller: PageCaller) -> Response:
    return _form(request)


def _form(
    request: Request, status: int = 200, error: str = "", fields: dict[str, str] | None = None
) -> Response:
    filled = {**dict.fromkeys(TEXTS, ""), "gpu": "", "kind": "checkpoint", "suite": "starter"}
    filled |= {name: value for name, value in (fields or {}).items() if value}
    filled["key"] = secrets.token_urlsafe(32) if not fields else filled["key"]
    return render(
        request,
        "submissions/submit.html",
        status=status,
        error=error,
        fields=filled,
        architectures=sorted(submittable().values(), key=lambda card: (card.modality, card.name)),
        modalities=MODALITIES,
        suites=sorted({suite for card in task_cards() for suite in card.suites} | {"all"}),
    )


@router.post("/submit")
async def submit(request: Request, caller: PageCaller) -> Response:
    try:
        submission = await submit_form(request, caller)
    except FormError as error:
        return _form(request, error.status, str(error), getattr(error, "fields", None))
    return RedirectResponse(f"/submissions/{submission.public_id}", 303)


@router.get("/submissions")
def list_page(
    request: Request,
    caller: PageCaller,
    session: ReadSession,
    everybody: Annotated[bool, Query()] = False,
    state: Annotated[SubmissionState | Literal[""], Query()] = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:
    wanted = select(Submission)
    everybody = everybody and caller.maintains
    if not everybody:
        wanted = wanted.where(Submission.owner_id == caller.user.id)
    if state:
        wanted = wanted.where(Submission.state == state)
    total = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
    rows = session.scalars(
        wanted.order_by(Submission.id.desc()).limit(PER_PAGE).offset((page - 1) * PER_PAGE)
    )
    return render(
        request,
        "submissions/list.html",
        submissions=[view(session, row) for row in rows],
        states=list(SubmissionState),
        state=state,
        everybody=everybody,
        maintains=caller.maintains,
        page=page,
        pages=max(1, -(-total // PER_PAGE)),
    )


@router.get("/submissions/{submission_id}")
def submission_page(
    request: Request, submission_id: PublicId, caller: PageCaller, session: ReadSession
) -> Response:
    return _page(request, caller, session, submission_id)


@router.get("/submissions/{submission_id}/progress")
def progress(
    request: Request, submission_id: PublicId, caller: PageCaller, session: ReadSession
) -> Response:
    """The part of the page that changes, fetched again and again until it has ended."""
    found = decisions.find_submission(session, caller, submission_id)
    return render(request, "submissions/progress.html", submission=detail(session, found))


def _page(
    request: Request,
    caller: Caller,
    session: Session,
    submission_id: str,
    status: int = 200,
    error: str = "",
) -> Response:
    found = decisions.find_submission(session, caller, submission_id)
    return render(
        request,
        "submissions/submission.html",
        status=status,
        submission=detail(session, found),
        maintains=caller.maintains,
        error=error,
    )


Decision = Callable[[Session, Caller, Submission], Any]
OWNER: dict[str, Decision] = {"cancel": decisions.cancel, "withdraw": decisions.withdraw}
MAINTAINER: dict[str, Decision] = {
    "hide": decisions.hide,
    "count": decisions.show,
    "verify": decisions.verify,
}


@router.post("/submissions/{submission_id}/{action}")
def decide(
    request: Request,
    submission_id: PublicId,
    action: str,
    caller: PageCaller,
    session: WriteSession,
    csrf: Csrf = "",
    name: Annotated[str, Form(max_length=500)] = "",
    priority: Annotated[int, Form(ge=-10, le=10)] = 0,
) -> Response:
    check_form(request, csrf)
    found = decisions.find_submission(session, caller, submission_id)
    if action in (*MAINTAINER, "priority") and not caller.maintains:
        raise HTTPException(403, "only maintainers may do this")
    try:
        with session.begin_nested():
            target = _decide(session, caller, found, action, name, priority)
    except Problem as problem:
        session.expire_all()
        return _page(request, caller, session, submission_id, problem.status_code, problem.detail)
    return RedirectResponse(f"/submissions/{target.public_id}", 303)


def _decide(
    session: Session, caller: Caller, found: Submission, action: str, name: str, priority: int
) -> Submission:
    if action == "rename":
        try:
            name = TypeAdapter(Name).validate_python(name)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise Problem(422, f"name: {message}") from None
        decisions.rename(session, caller, found, name)
    elif action == "priority":
        decisions.set_priority(session, caller, found, priority)
    elif action in OWNER or action in MAINTAINER:
        made = {**OWNER, **MAINTAINER}[action](session, caller, found)
        return made if isinstance(made, Submission) else found
    else:
        raise HTTPException(404, "there is no such action")
    return found
