"""Errors as problem+json (RFC 9457): raise `Problem` anywhere below /api."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException


class Problem(HTTPException):
    """An error that says what is wrong and how to mend it; other fields go along with it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        type: str = "about:blank",
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> None:
        super().__init__(status, detail, headers)
        self.type = type
        self.fields = fields


def problem_response(
    status: int,
    detail: str,
    *,
    type: str = "about:blank",
    instance: str = "",
    headers: Any = None,
    **fields: Any,
) -> JSONResponse:
    """An RFC 9457 answer."""
    body = {"type": type, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if instance:
        body["instance"] = instance
    return JSONResponse(
        {**body, **fields}, status, headers=headers, media_type="application/problem+json"
    )


def install_problems(app: FastAPI) -> None:
    """Errors below /api are problem+json, elsewhere a page."""
    app.add_exception_handler(HTTPException, http_problem)
    app.add_exception_handler(RequestValidationError, validation_problem)


def wants_page(request: Request) -> bool:
    """Whether the error is for a person."""
    return not request.url.path.startswith("/api/")


async def error_response(request: Request, status: int, detail: str) -> Response:
    """An error of ours, in the form that the reader can use."""
    if wants_page(request):
        from leaderboard.pages.errors import error_page

        return error_page(request, status, detail)
    return problem_response(status, detail, instance=request.url.path)


async def http_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if wants_page(request):
        from leaderboard.pages.errors import error_page

        return error_page(request, error.status_code, str(error.detail), error.headers)
    fields = error.fields if isinstance(error, Problem) else {}
    return problem_response(
        error.status_code,
        str(error.detail),
        type=error.type if isinstance(error, Problem) else "about:blank",
        instance=request.url.path,
        headers=error.headers,
        **fields,
    )


async def validation_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"field": ".".join(str(part) for part in problem["loc"]), "detail": problem["msg"]}
        for problem in jsonable_encoder(error.errors(), exclude={"ctx", "input", "url"})
    ]
    first = errors[0] if errors else {"field": "the request", "detail": "is not valid"}
    if wants_page(request):
        from leaderboard.pages.errors import error_page

        return error_page(request, 422, f"{first['field']}: {first['detail']}")
    return problem_response(
        422, f"{first['field']}: {first['detail']}", instance=request.url.path, errors=errors
    )
