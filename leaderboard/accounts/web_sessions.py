"""Signed-in browsers: a cookie that scripts cannot read, and a token in every form."""

from __future__ import annotations

import secrets
from datetime import timedelta

from fastapi import Request, Response
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from leaderboard.accounts.audit import origin_of
from leaderboard.accounts.secret_texts import SESSION, digest, new_secret
from leaderboard.db import Token, User, WebSession, now
from leaderboard.settings import Settings

SEEN_EVERY = timedelta(minutes=10)


def cookie_name(settings: Settings) -> str:
    """With HTTPS, a name that browsers accept only from this very host."""
    return "__Host-ssl_bench_session" if settings.https else "ssl_bench_session"


def open_session(session: Session, request: Request, user: User, token: Token | None = None) -> str:
    """A new session; gives the cookie's value. Expired ones are removed by the way."""
    settings: Settings = request.app.state.settings
    session.execute(delete(WebSession).where(WebSession.expires < now()))
    value = new_secret(SESSION)
    session.add(
        WebSession(
            hash=digest(value),
            user_id=user.id,
            token_id=None if token is None else token.id,
            csrf=secrets.token_urlsafe(32),
            address=origin_of(request).address,
            agent=request.headers.get("user-agent", "")[:300],
            expires=now() + timedelta(hours=settings.session_hours),
        )
    )
    return value


def find_session(session: Session, value: str) -> WebSession | None:
    """The session of a cookie, while it lasts and its person may come in."""
    found = session.scalar(select(WebSession).where(WebSession.hash == digest(value)))
    if found is None or found.expires <= now() or not found.user.active:
        return None
    return found


def close_session(session: Session, value: str) -> None:
    session.execute(delete(WebSession).where(WebSession.hash == digest(value)))


def set_cookie(response: Response, settings: Settings, value: str) -> None:
    response.set_cookie(
        cookie_name(settings),
        value,
        max_age=round(settings.session_hours * 3600),
        path="/",
        secure=settings.https,
        httponly=True,
        samesite="lax",
    )


def drop_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(
        cookie_name(settings), path="/", secure=settings.https, httponly=True, samesite="lax"
    )
