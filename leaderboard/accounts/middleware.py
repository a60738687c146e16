"""Puts the signed-in person on `request.state` (`user`, `csrf`) where a session cookie comes in."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.accounts.web_sessions import SEEN_EVERY, cookie_name, find_session
from leaderboard.db import User, now

WITHOUT = ("/static/", "/api/", "/healthz", "/readyz", "/metrics")  # no page of a person


class SessionMiddleware:
    """Reading visitors, who have no cookie, cost nothing."""

    def __init__(self, app: ASGIApp, site: FastAPI) -> None:
        self.app, self.site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(WITHOUT):
            await self.app(scope, receive, send)
            return
        value = Request(scope).cookies.get(cookie_name(self.site.state.settings), "")
        found = await run_in_threadpool(self._look_up, value) if value else None
        if found is None:
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["user"], state["csrf"], state["session_id"] = found

        async def private(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "private, no-store"
            await send(message)

        await self.app(scope, receive, private)

    def _look_up(self, value: str) -> tuple[User, str, int] | None:
        with self.site.state.sessions() as session:
            found = find_session(session, value)
            if found is None:
                return None
            user, csrf, number = found.user, found.csrf, found.id
            stale = now() - found.last_seen > SEEN_EVERY
        if stale:
            with self.site.state.writing.begin() as session:
                current = find_session(session, value)
                if current is not None:
                    current.last_seen = now()
        return user, csrf, number
