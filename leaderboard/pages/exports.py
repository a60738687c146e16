"""Every table as CSV, JSON or Parquet: full precision, one row per line of the table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from leaderboard.api.encoders import known_encoder
from leaderboard.api.reading import PUBLIC
from leaderboard.api.tasks import known_task, task_out
from leaderboard.db import Result
from leaderboard.dependencies import ReadSession, board_of
from leaderboard.queries.boards import BoardRow
from leaderboard.queries.catalog import cards, suite_names
from leaderboard.queries.comparison import MOST, compare_tasks
from leaderboard.queries.results import of_encoder, of_task, per_task, shown
from leaderboard.queries.table import Domain, TableQuery, make_table

router = APIRouter(prefix="/export")
Kind = Literal["csv", "json", "parquet"]
KINDS = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would compute what begins so


@router.get("/leaderboard.{kind}", name="export_leaderboard")
def leaderboard(request: Request, kind: Kind, query: Annotated[TableQuery, Query()]) -> Response:
    """The overall table with the filters of its page: one row per encoder and domain."""
    table = make_table(
        board_of(request, query), query.model_copy(update={"page": 1, "per_page": 100_000})
    )
    rows = [line for row in (*table.rows, *table.incomplete) for line in _board_lines(row, query)]
    return export("leaderboard", kind, rows)


@router.get("/tasks.{kind}", name="export_tasks")
def tasks(session: ReadSession, kind: Kind) -> Response:
    """The list of tasks."""
    counted = per_task(session)
    return export("tasks", kind, [_flat(task_out(card, counted)) for card in cards().values()])


@router.get("/tasks/{name}.{kind}", name="export_task")
def task(session: ReadSession, name: str, kind: Kind) -> Response:
    """A task's results."""
    card = known_task(name)
    return export(card.name, kind, [result_line(r) for r in of_task(session, card.name)])


@router.get("/domains/{domain}.{kind}", name="export_domain")
def domain(
    session: ReadSession, domain: Domain, kind: Kind, protocol: str = "all", suite: str = "all"
) -> Response:
    """Every result of a domain, in a suite and a protocol or in all."""
    tasks = suite_names().get(suite, [])
    where = [Result.modality == domain, Result.task.in_(tasks)]
    where += [Result.protocol == protocol] if protocol != "all" else []
    order = (Result.task, Result.protocol, Result.normalised.desc())
    rows = session.scalars(shown(*where).order_by(*order))
    return export(domain, kind, [result_line(row) for row in rows])


@router.get("/encoders/{slug}.{kind}", name="export_encoder")
def encoder(session: ReadSession, slug: str, kind: Kind) -> Response:
    """An encoder's results."""
    found = known_encoder(session, slug)
    return export(found.slug, kind, [result_line(r) for r in of_encoder(session, found.id)])


@router.get("/compare.{kind}", name="export_compare")
def compare(
    session: ReadSession,
    kind: Kind,
    encoder: Annotated[list[str], Query(min_length=2, max_length=MOST)],
) -> Response:
    """Paired differences to the first encoder."""
    chosen = [known_encoder(session, slug) for slug in dict.fromkeys(encoder)]
    rows = [
        {
            "task": line.name, "protocol": line.protocol, "metric": line.metric,
            "simulated": line.simulated, "other_size": line.other_size,
            "reference": chosen[0].name, "encoder": other.name,
            "reference_score": line.scores[0], "score": score,
            "difference": None if difference is None else difference.value,
            "low": None if difference is None else difference.low,
            "high": None if difference is None else difference.high,
            "p": None if difference is None else difference.p,
            "real": None if difference is None else difference.real,
        }
        for line in compare_tasks(session, chosen)
        for other, score, difference in zip(
            chosen[1:], line.scores[1:], line.differences, strict=True
        )
    ]  # fmt: skip
    return export("compare", kind, rows)


def _board_lines(row: BoardRow, query: TableQuery) -> list[dict[str, Any]]:
    return [
        {
            "encoder": row.name, "slug": row.slug, "kind": row.kind, "modality": row.modality,
            "parameters": row.parameters, "licence": row.licence, "domain": domain,
            "score": place.score, "low": place.low, "high": place.high,
            "rank_low": place.rank_low, "rank_high": place.rank_high, "borda": place.borda,
            "cells": place.cells, "missing": " ".join("/".join(cell) for cell in place.missing),
            "verified": place.verified, "simulated_tasks": place.simulated, "tasks": place.tasks,
            "other_size_tasks": place.other_size,
            "samples_per_second": place.samples_per_second,
            "seen_in_pretraining": place.seen_in_pretraining, "measured": place.measured,
        }
        for domain, place in sorted(row.places.items())
        if query.domain in (None, domain)
    ]  # fmt: skip


_RESULT = (
    "public_id", "modality", "task", "task_version", "protocol", "protocol_version", "state",
    "metric", "score", "low", "high", "chance", "ceiling", "normalised", "normalised_low",
    "normalised_high", "rank_low", "rank_high", "simulated", "other_size", "seen_in_pretraining",
    "seed", "samples_per_second", "checkpoint_sha256", "encoder_digest", "fingerprint", "identity",
    "measured",
)  # fmt: skip


def result_line(result: Result) -> dict[str, Any]:
    """A result as a flat row."""
    own = {name: getattr(result, name) for name in _RESULT}
    own["state"] = str(result.state)
    return {"encoder": result.encoder.name, "slug": result.encoder.slug, **own}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {k: " ".join(v) if isinstance(v, list | tuple) else v for k, v in row.items()}


def export(name: str, kind: Kind, rows: Sequence[dict[str, Any]]) -> Response:
    """The rows as a file to download."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{kind}"',
        "Cache-Control": PUBLIC,
    }
    if kind == "json":
        plain = [{k: _text_time(v) for k, v in row.items()} for row in rows]
        return JSONResponse(plain, headers=headers)
    if kind == "csv":
        return Response(_csv(rows), media_type=KINDS[kind], headers=headers)
    return Response(_parquet(rows), media_type=KINDS[kind], headers=headers)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _spreadsheet_safe(_text_time(value)) for key, value in row.items()})
    return buffer.getvalue()


def _spreadsheet_safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _text_time(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
    found: bytes = buffer.getvalue().to_pybytes()
    return found
