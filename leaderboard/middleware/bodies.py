"""Request bodies: small and prompt, but for those handlers that take files in as they arrive."""

from __future__ import annotations

import asyncio
import re
import time

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.api.problems import error_response

LARGEST = 1 << 20  # bytes
SECONDS = 30.0  # for a whole body
STREAMED = re.compile(r"PATCH /api/v1/uploads/[^/]*|POST /submit")  # these have limits of their own
READING = ("GET", "HEAD", "OPTIONS")


class BodyError(Exception):
    """The body is not taken any further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class BodyMiddleware:
    """What is larger or slower is cut off, before anything of it is kept in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (
            b"%00" in scope["query_string"] or "\x00" in scope["path"]
        ):  # PostgreSQL has no such text
            response = await error_response(Request(scope), 400, "the address holds a NUL")
            await response(scope, receive, send)
            return
        streamed = scope["type"] == "http" and STREAMED.fullmatch(
            f"{scope['method']} {scope['path']}"
        )
        if scope["type"] != "http" or scope["method"] in READING or streamed:
            await self.app(scope, receive, send)
            return
        try:
            body = await _whole(scope, receive)
        except BodyError as error:
            response = await error_response(Request(scope), error.status, str(error))
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


async def _whole(scope: Scope, receive: Receive) -> bytes:
    """The body, within the limits.

    Raises:
        BodyError: it is too large (413), too slow (408), or the client is gone (400).
    """
    too_large = BodyError(413, f"the request has more than {LARGEST:,} bytes")
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdecimal() or int(length) > LARGEST:
        raise too_large
    deadline = time.monotonic() + SECONDS
    body = bytearray()
    while True:
        try:
            message = await asyncio.wait_for(receive(), deadline - time.monotonic())
        except TimeoutError:
            raise BodyError(408, f"the request did not arrive within {SECONDS:g} s") from None
        if message["type"] == "http.disconnect":
            raise BodyError(400, "the request ended early")
        body += message.get("body", b"")
        if len(body) > LARGEST:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)
