"""Pages for what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Request
from fastapi.responses import HTMLResponse

from leaderboard.pages.rendering import render


def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A page that says what is wrong and where to go on."""
    phrase = HTTPStatus(status).phrase
    return render(
        request,
        "error.html",
        status=status,
        headers={**(headers or {}), "Cache-Control": "no-store"},
        code=status,
        phrase=phrase,
        detail="" if detail == phrase else detail,
    )
