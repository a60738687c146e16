"""What all reading addresses share: caching, errors in the documentation, pages of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from leaderboard.api.schemas import Page, ProblemOut

PUBLIC = "public, max-age=0, must-revalidate"
Item = TypeVar("Item")


def problem(description: str) -> dict[str, Any]:
    """An error in the OpenAPI description."""
    schema = {"$ref": "#/components/schemas/ProblemOut"}
    return {
        "description": description,
        "model": ProblemOut,
        "content": {"application/problem+json": {"schema": schema}},
    }


def cacheable(request: Request, response: Response) -> None:
    """Anonymous answers may be kept until something is published."""
    anonymous = "cookie" not in request.headers and "authorization" not in request.headers
    response.headers["Cache-Control"] = PUBLIC if anonymous else "private, no-cache"


def reading_router(tag: str) -> APIRouter:
    """A router whose answers can be cached and whose errors are documented."""
    return APIRouter(
        tags=[tag],
        dependencies=[Depends(cacheable)],
        responses={422: problem("a parameter is not valid")},
    )


class Paging:
    """`page` and `per_page`, and the links they give."""

    def __init__(
        self,
        request: Request,
        response: Response,
        page: Annotated[int, Query(ge=1, le=100_000)] = 1,
        per_page: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> None:
        self.request, self.response = request, response
        self.page, self.per_page = page, per_page

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.per_page

    def of(self, items: Sequence[Any], total: int) -> Page[Any]:
        """The page of a list whose items of this page are given."""
        return paged(self.request, self.response, items, total, self.page, self.per_page)

    def cut(self, items: Sequence[Item]) -> Page[Any]:
        """The page of a whole list."""
        return self.of(items[self.offset : self.offset + self.per_page], len(items))


def paged(
    request: Request, response: Response, items: Sequence[Any], total: int, page: int, size: int
) -> Page[Any]:
    """A page, with `Link: rel="next"` where one follows."""
    pages = max(1, -(-total // size))
    following = None
    if page < pages:
        following = str(request.url.include_query_params(page=page + 1))
        response.headers["Link"] = f'<{following}>; rel="next"'
    return Page(items=list(items), total=total, page=page, pages=pages, next=following)
