"""What the overall table's template needs: the rows in groups, and links that keep the state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from benchmark.modalities import MODALITIES
from leaderboard.dependencies import board_of
from leaderboard.pages.formats import query as query_string
from leaderboard.pages.names import KINDS, SHORT_TITLES, SIZE_TITLES
from leaderboard.queries.boards import BoardRow
from leaderboard.queries.catalog import protocol_names, suite_names
from leaderboard.queries.table import COLUMNS, DESCENDING, Table, TableQuery, make_table
from leaderboard.standings.update import ALL

TITLES = {
    "mean": "Mean",
    "borda": "Borda",
    "parameters": "Parameters",
    "speed": "Samples/s",
    "date": "Date",
    "status": "Status",
    "licence": "Licence",
}
HIDDEN_AT_FIRST = ("licence",)


@dataclass(frozen=True)
class Column:
    """A column of the table that is shown."""

    key: str
    title: str
    link: str | None  # sorts by it
    order: str  # "", "ascending" or "descending", as `aria-sort` has it


@dataclass(frozen=True)
class Group:
    """Rows below one heading."""

    domain: str
    rows: Sequence[BoardRow]


@dataclass(frozen=True)
class BoardView:
    query: TableQuery
    table: Table
    groups: Sequence[Group]
    columns: Sequence[Column]
    rank_column: Column
    encoder_column: Column
    all_columns: Sequence[tuple[str, str, bool]]  # key, title, whether it is shown
    sizes: dict[int, int]
    suite: str
    suites: Sequence[str]
    protocols: Sequence[str]
    licences: Sequence[str]
    total_in_rank: dict[str, int]  # domain -> encoders ranked in it
    previous: str | None
    following: str | None
    path: str
    exports: dict[str, str]
    active: bool  # some filter is set

    kinds = KINDS
    size_titles = SIZE_TITLES
    incomplete_shown = 100  # of the encoders without a mean; the search finds the others


def board_view(request: Request, query: TableQuery, path: str) -> BoardView:
    """The table of `query`, with everything around it."""
    board = board_of(request, query)
    table = make_table(board, query)
    chosen = [key for key in request.query_params.getlist("col") if key in COLUMNS]
    visible = chosen or [key for key in COLUMNS if key not in HIDDEN_AT_FIRST]
    keys = [key for key in COLUMNS if query.domain is None or key not in MODALITIES]
    links = _Links(query, chosen, path)
    return BoardView(
        query=query,
        table=table,
        groups=_groups(table.rows, query),
        columns=[links.column(key) for key in keys if key in visible],
        rank_column=links.column("rank"),
        encoder_column=links.column("encoder"),
        all_columns=[(key, _title(key), key in visible) for key in keys],
        sizes={},
        suite=query.suite or request.app.state.settings.default_suite,
        suites=list(suite_names()),
        protocols=protocol_names(),
        licences=sorted({row.licence for row in board if row.licence}),
        total_in_rank=_ranked(board),
        previous=links.page(query.page - 1) if query.page > 1 else None,
        following=links.page(query.page + 1) if query.page < table.pages else None,
        path=path,
        exports={
            kind: f"/export/leaderboard.{kind}" + links.state(page=None, domain=query.domain)
            for kind in ("csv", "json", "parquet")
        },
        active=bool(links.state(sort=None, page=None, col=None)),
    )


class _Links:
    """Addresses of the same table in another state."""

    def __init__(self, query: TableQuery, columns: list[str], path: str) -> None:
        defaults = TableQuery()
        self.query, self.path = query, path
        self.values: dict[str, Any] = {
            key: value
            for key, value in query.model_dump().items()
            if value != getattr(defaults, key)
        }
        if columns:
            self.values["col"] = columns
        if path != "/":
            self.values.pop("domain", None)  # the path says it

    def state(self, **changes: Any) -> str:
        """The query string with some values changed; None takes one out."""
        values = {**self.values, **changes}
        return query_string(
            **{key: str(v).lower() if isinstance(v, bool) else v for key, v in values.items()}
        )

    def page(self, number: int) -> str:
        return self.path + self.state(page=number if number > 1 else None)

    def column(self, key: str) -> Column:
        if key in ("status", "licence"):
            return Column(key, _title(key), None, "")
        current = self.query.sort.removeprefix("-")
        turned = self.query.sort.startswith("-")
        order = ""
        if current == key:
            order = "descending" if (key in DESCENDING) != turned else "ascending"
        wanted = f"-{key}" if current == key and not turned else key
        link = self.path + self.state(sort=None if wanted == "rank" else wanted, page=None)
        return Column(key, _title(key), link, order)


def _title(key: str) -> str:
    return {"rank": "Rank", "encoder": "Encoder", **SHORT_TITLES, **TITLES}[key]


def _groups(rows: Sequence[BoardRow], query: TableQuery) -> list[Group]:
    """By domain where the order is by rank: ranks of different domains say nothing together."""
    if query.sort not in ("rank", "-rank") or query.domain is not None:
        return [Group("", rows)] if rows else []
    groups: dict[str, list[BoardRow]] = {}
    for row in rows:
        groups.setdefault(row.main_domain(None), []).append(row)
    return [Group(domain, found) for domain, found in groups.items()]


def _ranked(board: Sequence[BoardRow]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for row in board:
        for domain, place in row.places.items():
            counted[domain] = counted.get(domain, 0) + (place.score is not None)
    return counted


def protocol_title(protocol: str) -> str:
    return "all protocols" if protocol == ALL else protocol
