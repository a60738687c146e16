"""ETag, 304, gzip, and a cache of whole answers.

Answers to anonymous GET requests that say `Cache-Control: public` are kept until something is
published. A page that several readers ask for at once is made once, and few pages are made at a
time, so that answers that are kept go out in between. While it is busy, the server answers with the
page before the newest publication for some seconds, and makes the new one behind it.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COMPRESSED = (
    "text/",
    "application/json",
    "application/problem+json",
    "application/atom+xml",
    "image/svg+xml",
)
SMALLEST = 500  # bytes: below, gzip gains nothing
LARGEST = 4 << 20  # of an answer that is kept
AT_A_TIME = 2  # pages in the making
LEFT_ALONE = ("/static/", "/metrics", "/healthz", "/readyz")


@dataclass
class Answer:
    """A whole answer, ready to be sent to anybody."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    zipped: bytes | None
    etag: bytes
    public: bool
    route: Any = None
    generation: int = -1  # the publication that it shows
    outdated: float | None = None  # since when, seconds

    @property
    def size(self) -> int:
        return len(self.body) + len(self.zipped or b"") + 1000


Place = tuple[Any, ...]  # scheme, host, path, query


class CacheMiddleware:
    """One cache per process."""

    def __init__(self, app: ASGIApp, site: FastAPI) -> None:
        self.app = app
        self.generation = site.state.generation
        self.capacity = site.state.settings.cache_mib << 20
        self.stale_seconds = site.state.settings.cache_stale_seconds
        self.kept: OrderedDict[Place, Answer] = OrderedDict()
        self.bytes = 0
        self.making: dict[Place, asyncio.Task[Answer | None]] = {}
        self.turns = asyncio.Semaphore(AT_A_TIME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        readable = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if not readable or scope["path"].startswith(LEFT_ALONE):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "cookie" in headers or "authorization" in headers:
            made = await self._make(scope, receive, send)
        else:
            made = await self._shared(scope, receive, send, headers.get("host", ""))
        if made is not None:
            scope["route"] = made.route
            await _send(made, scope, headers, send)

    async def _shared(self, scope: Scope, receive: Receive, send: Send, host: str) -> Answer | None:
        place = (scope.get("scheme"), host, scope["path"], scope["query_string"])
        generation = await self.generation()
        known = self._get(place)
        if known is not None and known.generation == generation:
            return known
        if known is not None:
            known.outdated = known.outdated or time.monotonic()
            young = time.monotonic() - known.outdated < self.stale_seconds
            if young and (place in self.making or len(self.making) >= AT_A_TIME):
                if place not in self.making:
                    apart = {**scope, "state": dict(scope.get("state", {}))}
                    self._begin(place, generation, apart, _no_body, _nowhere)
                return known
        if place in self.making:
            made = await asyncio.shield(self.making[place])
            if made is not None and made.public:
                return made
            return await self._make(scope, receive, send)  # not for everybody, or a stream
        return await asyncio.shield(self._begin(place, generation, scope, receive, send))

    def _begin(
        self, place: Place, generation: int, scope: Scope, receive: Receive, send: Send
    ) -> asyncio.Task[Answer | None]:
        """Make an answer in a task of its own: a reader who leaves does not stop it."""

        async def work() -> Answer | None:
            try:
                async with self.turns:
                    made = await self._make(scope, receive, send)
                if made is not None and made.public and made.size <= LARGEST:
                    made.generation = generation
                    self._keep(place, made)
                return made
            finally:
                self.making.pop(place, None)

        task = asyncio.create_task(work())
        task.add_done_callback(_tell)
        self.making[place] = task
        return task

    async def _make(self, scope: Scope, receive: Receive, send: Send) -> Answer | None:
        """The application's answer; None when it was a stream and is sent already."""
        start: Message | None = None
        streamed = False
        chunks: list[bytes] = []

        async def collect(message: Message) -> None:
            nonlocal start, streamed
            if message["type"] == "http.response.start":
                streamed = "content-length" not in Headers(raw=message["headers"])
                if streamed:
                    await send(message)
                else:
                    start = message
            elif streamed:
                await send(message)
            else:
                chunks.append(message.get("body", b""))

        inner = {**scope, "method": "GET"}  # the same answer serves HEAD
        await self.app(inner, receive, collect)
        scope["route"] = inner.get("route")
        if streamed or start is None:
            return None
        return _answer(start, b"".join(chunks), scope["route"])

    def _get(self, key: Place) -> Answer | None:
        known = self.kept.get(key)
        if known is not None:
            self.kept.move_to_end(key)
        return known

    def _keep(self, place: Place, made: Answer) -> None:
        older = self.kept.pop(place, None)
        self.kept[place] = made
        self.bytes += made.size - (older.size if older else 0)
        while self.bytes > self.capacity and self.kept:
            _, oldest = self.kept.popitem(last=False)
            self.bytes -= oldest.size


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(message: Message) -> None:
    """What is made behind a reader's back is kept, not sent."""


def _tell(task: asyncio.Task[Any]) -> None:
    """A failure that nobody waits for goes to the log."""
    if not task.cancelled() and task.exception() is not None:
        structlog.get_logger("ssl_bench").debug("a page failed", error=repr(task.exception()))


def _answer(start: Message, body: bytes, route: Any) -> Answer:
    headers = MutableHeaders(raw=list(start["headers"]))
    kind = headers.get("content-type", "")
    etag = b""
    if start["status"] == 200:
        etag = b'"' + hashlib.blake2b(body, digest_size=12).hexdigest().encode() + b'"'
        headers["ETag"] = etag.decode()
    zipped = None
    if kind.startswith(COMPRESSED) and "content-encoding" not in headers and len(body) >= SMALLEST:
        zipped = gzip.compress(body, 5, mtime=0)
        headers.add_vary_header("Accept-Encoding")
    public = start["status"] == 200 and headers.get("cache-control", "").startswith("public")
    return Answer(start["status"], headers.raw, body, zipped, etag, public, route)


async def _send(answer: Answer, scope: Scope, asked: Headers, send: Send) -> None:
    headers = MutableHeaders(raw=list(answer.headers))
    body, status = answer.body, answer.status
    if answer.etag and _matches(asked.get("if-none-match", ""), answer.etag.decode()):
        status, body = 304, b""
        del headers["content-length"]
        del headers["content-type"]
    else:
        if answer.zipped is not None and "gzip" in asked.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = answer.zipped
        headers["Content-Length"] = str(len(body))
    await send({"type": "http.response.start", "status": status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _matches(asked: str, etag: str) -> bool:
    given = [part.strip().removeprefix("W/") for part in asked.split(",")]
    return etag in given or "*" in given
