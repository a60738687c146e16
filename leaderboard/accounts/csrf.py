"""Forms that only our own pages can send.

Signed in: the hidden field `csrf` holds the session's token. Not signed in (sign-in, sign-up): it
holds the value of a cookie set with the form. Besides, a browser that says the request comes from
another site is refused.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from fastapi import HTTPException, Request, Response

from leaderboard.accounts.secret_texts import same
from leaderboard.settings import Settings

OUTDATED = "the form is out of date or comes from elsewhere: go back, load the page again and retry"


def form_cookie(settings: Settings) -> str:
    return "__Host-ssl_bench_form" if settings.https else "ssl_bench_form"


def visitor_token(request: Request) -> str:
    """The form token of a browser that is not signed in; `keep_visitor_token` sets it."""
    known = request.cookies.get(form_cookie(request.app.state.settings), "")
    return known if len(known) == 43 else secrets.token_urlsafe(32)


def keep_visitor_token(response: Response, settings: Settings, token: str) -> None:
    response.set_cookie(
        form_cookie(settings),
        token,
        max_age=24 * 3600,
        path="/",
        secure=settings.https,
        httponly=True,
        samesite="strict",
    )


def check_form(request: Request, given: str) -> None:
    """Raises: HTTPException (403) where a form does not come from one of our pages."""
    check_origin(request)
    expected = getattr(request.state, "csrf", "") or request.cookies.get(
        form_cookie(request.app.state.settings), ""
    )
    if not expected or not same(expected, given):
        raise HTTPException(403, OUTDATED)


def check_origin(request: Request) -> None:
    """Raises: HTTPException (403) where the browser says that another site sent the request."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, OUTDATED)
    origin = request.headers.get("origin")
    if origin is None:
        return
    settings: Settings = request.app.state.settings
    allowed = {request.headers.get("host", "")}
    if settings.base_url:
        allowed.add(urlsplit(settings.base_url).netloc)
    if urlsplit(origin).netloc not in allowed:
        raise HTTPException(403, OUTDATED)
