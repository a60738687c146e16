"""Each request gets an identifier, a line in the log, a place in the metrics, and a clean 500."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.api.problems import error_response

GIVEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
QUIET = ("/static/", "/healthz", "/readyz", "/metrics")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class RequestMeters:
    """Prometheus meters of the web server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ["method", "route"]
        self.requests = Counter(
            "ssl_bench_requests", "Requests answered", [*labels, "status"], registry=registry
        )
        self.seconds = Histogram(
            "ssl_bench_request_seconds",
            "Time to the first byte",
            labels,
            buckets=BUCKETS,
            registry=registry,
        )


class RequestMiddleware:
    """Outside of everything that may fail."""

    def __init__(self, app: ASGIApp, site: FastAPI) -> None:
        self.app = app
        self.meters: RequestMeters = site.state.meters
        self.log = structlog.get_logger("ssl_bench.requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if GIVEN.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                seconds = time.perf_counter() - began
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["Server-Timing"] = f"app;dur={1000 * seconds:.2f}"
                self._count(scope, status, seconds)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            self.log.exception("request failed", method=scope["method"], path=scope["path"])
            if status:  # half an answer is sent: the connection has to end
                raise
            response = await error_response(Request(scope), 500, "something went wrong on our side")
            await response(scope, receive, noted)
        if not scope["path"].startswith(QUIET):
            self.log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(1000 * (time.perf_counter() - began), 2),
                address=(scope.get("client") or ("",))[0],
            )

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None) or "other"
        self.meters.requests.labels(scope["method"], route, status).inc()
        self.meters.seconds.labels(scope["method"], route).observe(seconds)
