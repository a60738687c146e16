"""Sign-in, sign-up by invitation, and the page of tokens; all work without JavaScript."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import select

from benchmark.errors import SslBenchError
from leaderboard.accounts.audit import origin_of, record
from leaderboard.accounts.caller import Caller
from leaderboard.accounts.csrf import check_form, keep_visitor_token, visitor_token
from leaderboard.accounts.passwords import hash_password, needs_rehash, password_fits
from leaderboard.accounts.people import (
    NAME,
    create_token,
    revoke_token,
    scopes_of,
    set_password,
    sign_up,
    tokens_of,
)
from leaderboard.accounts.rates import Rates, address_key
from leaderboard.accounts.web_sessions import (
    close_session,
    cookie_name,
    drop_cookie,
    open_session,
    set_cookie,
)
from leaderboard.db import Token, User, now
from leaderboard.dependencies import PublicId, ReadSession, SettingsDep, WriteSession
from leaderboard.pages.rendering import render

router = APIRouter(include_in_schema=False)
WRONG = "The name or the password is wrong."  # the same for a name that nobody has

Text = Annotated[str, Form(max_length=300)]
Csrf = Annotated[str, Form(alias="csrf", max_length=100)]


def signed_in(request: Request) -> Caller:
    """The person whose page it is; others are sent to sign in."""
    user: User | None = getattr(request.state, "user", None)
    if user is None:
        target = quote(request.url.path, safe="/") if request.method == "GET" else "/"
        raise HTTPException(303, "sign in first", headers={"Location": f"/login?next={target}"})
    rates: Rates = request.app.state.rates
    rates.count_request(f"session {request.state.session_id}")
    return Caller(user, scopes_of(user.role), origin_of(request))


PageCaller = Annotated[Caller, Depends(signed_in)]


def local_path(target: str) -> str:
    """A path on this site to go on to; anything else becomes the list of submissions."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith("//") and "\\" not in target
    printable = target.isprintable() and not parts.scheme and not parts.netloc
    return target if plain and printable and len(target) < 500 else "/submissions"


def visitor_page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page with a form for people who are not signed in."""
    token = getattr(request.state, "csrf", "") or visitor_token(request)
    headers = {"Cache-Control": "private, no-store"}
    context = {"form_token": token, "error": "", **context}
    page = render(request, template, status=status, headers=headers, **context)
    keep_visitor_token(page, request.app.state.settings, token)
    return page


@router.get("/login")
def login_page(request: Request, next: Annotated[str, Query(max_length=500)] = "") -> Response:
    return visitor_page(request, "accounts/login.html", next=local_path(next), name="")


@router.post("/login")
def login(
    request: Request,
    settings: SettingsDep,
    csrf: Csrf = "",
    name: Text = "",
    password: Text = "",
    next: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    check_form(request, csrf)
    origin = origin_of(request)
    rates: Rates = request.app.state.rates
    name = name.strip().lower()
    counted = (f"address {address_key(origin.address)}", f"name {name[:60]}")
    rates.count_attempt(*counted)
    with request.app.state.sessions() as session:
        possible = NAME.fullmatch(name) is not None
        user = session.scalar(select(User).where(User.name == name)) if possible else None
    fits = password_fits(user.password_hash if user else None, password)
    if user is None or not fits or not user.active:
        with request.app.state.writing.begin() as session:
            record(session, None, "session.refused", "user", name if user else "unknown", origin)
        return visitor_page(
            request, "accounts/login.html", 401, error=WRONG, name=name, next=local_path(next)
        )
    rates.forgive(*counted)
    with request.app.state.writing.begin() as session:
        user = session.get_one(User, user.id)
        if user.password_hash is not None and needs_rehash(user.password_hash):
            user.password_hash = hash_password(password, user.name)
        close_session(session, request.cookies.get(cookie_name(settings), ""))
        value = open_session(session, request, user)
        record(session, user, "session.opened", "user", user.name, origin)
    answer = RedirectResponse(local_path(next), 303)
    set_cookie(answer, settings, value)
    return answer


@router.post("/logout")
def logout(
    request: Request, settings: SettingsDep, session: WriteSession, csrf: Csrf = ""
) -> Response:
    check_form(request, csrf)
    close_session(session, request.cookies.get(cookie_name(settings), ""))
    answer = RedirectResponse("/", 303)
    drop_cookie(answer, settings)
    return answer


@router.get("/join")
def join_page(request: Request, code: Annotated[str, Query(max_length=100)] = "") -> Response:
    return visitor_page(request, "accounts/join.html", code=code, name="", display_name="")


@router.post("/join")
def join(
    request: Request,
    settings: SettingsDep,
    csrf: Csrf = "",
    code: Text = "",
    name: Text = "",
    display_name: Text = "",
    password: Text = "",
) -> Response:
    check_form(request, csrf)
    origin = origin_of(request)
    request.app.state.rates.count_attempt(f"address {address_key(origin.address)}")
    try:
        with request.app.state.writing.begin() as session:
            user = sign_up(session, code, name, password, display_name, origin)
            value = open_session(session, request, user)
    except SslBenchError as error:
        return visitor_page(
            request,
            "accounts/join.html",
            422,
            error=str(error),
            code=code,
            name=name,
            display_name=display_name,
        )
    answer = RedirectResponse("/account/tokens", 303)
    set_cookie(answer, settings, value)
    return answer


@router.get("/account")
def account_page(request: Request, caller: PageCaller) -> HTMLResponse:
    return render(request, "accounts/account.html")


@router.get("/account/tokens")
def tokens_page(request: Request, caller: PageCaller, session: ReadSession) -> HTMLResponse:
    return _tokens(request, caller, session)


def _tokens(
    request: Request, caller: Caller, session: ReadSession, status: int = 200, **more: str
) -> HTMLResponse:
    context: dict[str, Any] = {"error": "", "fresh": "", **more}
    return render(
        request,
        "accounts/tokens.html",
        status=status,
        tokens=tokens_of(session, caller.user),
        scopes=sorted(caller.scopes, reverse=True),
        longest=request.app.state.settings.token_days,
        moment=now(),
        **context,
    )


@router.post("/account/tokens")
def make_token(
    request: Request,
    caller: PageCaller,
    session: WriteSession,
    settings: SettingsDep,
    csrf: Csrf = "",
    name: Annotated[str, Form(max_length=80)] = "",
    days: Annotated[int, Form(ge=1, le=100_000)] = 90,
    scopes: Annotated[list[str] | None, Form()] = None,
) -> HTMLResponse:
    """The only page that shows a token's text, and once."""
    check_form(request, csrf)
    days = min(days, settings.token_days)
    user = session.get_one(User, caller.user.id)
    try:
        _, text = create_token(session, user, name, scopes or [], days, origin=caller.origin)
    except SslBenchError as error:
        return _tokens(request, caller, session, 422, error=str(error))
    return _tokens(request, caller, session, fresh=text)


@router.post("/account/tokens/{token_id}/revoke")
def revoke(
    request: Request, token_id: PublicId, caller: PageCaller, session: WriteSession, csrf: Csrf = ""
) -> Response:
    check_form(request, csrf)
    token = session.scalar(
        select(Token).where(Token.public_id == token_id, Token.user_id == caller.user.id)
    )
    if token is None:
        _not_found()
    revoke_token(session, token, caller.user, caller.origin)
    return RedirectResponse("/account/tokens", 303)


@router.post("/account/password")
def change_password(
    request: Request,
    caller: PageCaller,
    session: WriteSession,
    settings: SettingsDep,
    csrf: Csrf = "",
    old: Text = "",
    new: Text = "",
) -> Response:
    """Another password: signs out every browser but this one."""
    check_form(request, csrf)
    rates: Rates = request.app.state.rates
    rates.count_attempt(f"name {caller.user.name}")
    user = session.get_one(User, caller.user.id)
    if not password_fits(user.password_hash, old):
        return _tokens(request, caller, session, 422, error="The old password is wrong.")
    try:
        set_password(session, user, new, user, caller.origin)
    except SslBenchError as error:
        return _tokens(request, caller, session, 422, error=str(error))
    answer = RedirectResponse("/account/tokens", 303)
    set_cookie(answer, settings, open_session(session, request, user))
    return answer


def _not_found() -> NoReturn:
    raise HTTPException(404, "there is no such thing of yours")
