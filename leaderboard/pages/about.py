"""About, methodology, and the documentation of the API, made from its OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from leaderboard.pages.rendering import render
from leaderboard.queries.catalog import cards, suite_names

router = APIRouter()


@dataclass(frozen=True)
class Operation:
    """One address of the API."""

    method: str
    path: str
    summary: str
    description: str
    parameters: Sequence[Mapping[str, Any]]
    body: str
    answers: Sequence[tuple[str, str, str]]  # status, description, schema
    secured: bool


@router.get("/about", name="about")
def about(request: Request) -> HTMLResponse:
    """What is measured, how, and how to read it."""
    return render(
        request,
        "about.html",
        public=True,
        tasks=len(cards()),
        suites={name: len(found) for name, found in suite_names().items()},
    )


@router.get("/docs/api", name="api_docs")
def api_docs(request: Request) -> HTMLResponse:
    """Every address of the API."""
    description = request.app.openapi()
    groups: dict[str, list[Operation]] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, operation))
    return render(request, "api_docs.html", public=True, groups=groups, tag_id=_tag_id)


def _tag_id(tag: str) -> str:
    return tag.replace(" ", "-")


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Operation:
    body = operation.get("requestBody", {}).get("content", {})
    return Operation(
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        parameters=[
            {
                "name": parameter["name"],
                "place": parameter["in"],
                "required": parameter.get("required", False),
                "kind": _schema(parameter.get("schema", {})),
                "description": parameter.get("description", "")
                or parameter.get("schema", {}).get("description", ""),
            }
            for parameter in operation.get("parameters", [])
        ],
        body=", ".join(f"{kind}: {_schema(c.get('schema', {}))}" for kind, c in body.items()),
        answers=[
            (status, answer.get("description", ""), _answer_schema(answer))
            for status, answer in operation.get("responses", {}).items()
        ],
        secured=bool(operation.get("security")),
    )


def _answer_schema(answer: Mapping[str, Any]) -> str:
    contents = answer.get("content", {})
    return ", ".join(sorted({_schema(c.get("schema", {})) for c in contents.values()} - {""}))


def _schema(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        kinds = [_schema(part) for part in schema["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind != "null"))
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_schema(schema.get('items', {})) or 'values'}"
    return str(schema.get("type", ""))
