"""Filter, sort and page the overall table. All of it stands in the address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from benchmark.modalities import MODALITIES
from leaderboard.queries.boards import BoardRow, Place
from leaderboard.standings.update import ALL, OVERALL

SIZES: dict[str, tuple[float, float]] = {  # parameters, from and below
    "none": (0, 1),
    "under-1m": (1, 1e6),
    "1m-10m": (1e6, 1e7),
    "10m-100m": (1e7, 1e8),
    "over-100m": (1e8, float("inf")),
}
SORTS = ("rank", "encoder", *MODALITIES, "mean", "borda", "parameters", "speed", "date")
DESCENDING = (*MODALITIES, "mean", "borda", "speed", "date")  # best or newest first by default
COLUMNS = (*MODALITIES, "mean", "borda", "parameters", "speed", "date", "status", "licence")
Domain = Literal["audio", "pointcloud", "echo", "ecg", "histopathology", "astronomy"]


class TableQuery(BaseModel):
    """The state of the overall table."""

    model_config = ConfigDict(extra="ignore")

    suite: str = Field(default="", max_length=60, description="empty: the site's default")
    protocol: str = Field(
        default=ALL, max_length=40, description="`all`: every protocol but zero-shot"
    )
    domain: Domain | None = Field(default=None, description="only this domain's board")
    size: Literal["none", "under-1m", "1m-10m", "10m-100m", "over-100m"] | None = Field(
        default=None, description="parameters of the encoder"
    )
    kind: Literal["features", "control", "pretrained", "adapter"] | None = None
    licence: str | None = Field(default=None, max_length=120)
    verified: bool | None = Field(default=None, description="only verified, or only self-reported")
    q: str = Field(default="", max_length=100, description="text in the name or title")
    sort: str = Field(
        default="rank", max_length=30, description=f"{', '.join(SORTS)}; `-` turns it over"
    )
    page: int = Field(default=1, ge=1, le=100_000)
    per_page: int = Field(default=50, ge=1, le=500)

    @field_validator("domain", "size", "kind", "licence", "verified", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return None if value == "" else value  # what an untouched form field sends

    @field_validator("sort")
    @classmethod
    def _known(cls, value: str) -> str:
        if value.removeprefix("-") not in SORTS:
            raise ValueError(f"sort by one of {', '.join(SORTS)}")
        return value


@dataclass(frozen=True)
class Table:
    """One page of the table."""

    rows: Sequence[BoardRow]  # with a score in the view
    incomplete: Sequence[BoardRow]  # of all pages
    total: int
    pages: int


def make_table(board: Sequence[BoardRow], query: TableQuery) -> Table:
    """The rows that `query` asks for, in its order."""
    found = [row for row in board if _wanted(row, query)]
    complete: list[BoardRow] = []
    incomplete: list[BoardRow] = []
    for row in found:
        main = row.main(query.domain)
        (complete if main is not None and main.score is not None else incomplete).append(row)
    ordered = _sorted(complete, query)
    begin = (query.page - 1) * query.per_page
    pages = max(1, -(-len(ordered) // query.per_page))
    return Table(
        ordered[begin : begin + query.per_page],
        sorted(incomplete, key=lambda row: row.name.lower()),
        len(ordered),
        pages,
    )


def _wanted(row: BoardRow, query: TableQuery) -> bool:
    if query.domain is not None and query.domain not in row.places:
        return False
    if query.verified is not None and row.verified != query.verified:
        return False
    if query.kind is not None and row.kind != query.kind:
        return False
    if query.licence is not None and row.licence != query.licence:
        return False
    if query.size is not None:
        low, high = SIZES[query.size]
        if not low <= (row.parameters or 0) < high:
            return False
    text = query.q.strip().lower()
    return not text or text in f"{row.name} {row.title}".lower()


def _sorted(rows: list[BoardRow], query: TableQuery) -> list[BoardRow]:
    column = query.sort.removeprefix("-")
    by_rank = sorted(rows, key=lambda row: _rank_key(row, query.domain))
    key = _keys(query.domain).get(column)
    if key is None:
        return by_rank[::-1] if query.sort == "-rank" else by_rank
    down = (column in DESCENDING) != query.sort.startswith("-")
    known = [row for row in by_rank if key(row) is not None]
    rest = [row for row in by_rank if key(row) is None]
    return sorted(known, key=key, reverse=down) + rest


def _rank_key(row: BoardRow, domain: str | None) -> tuple[Any, ...]:
    place = row.main(domain)
    assert place is not None
    assert place.score is not None
    where = row.main_domain(domain)
    order = -1 if where == OVERALL else MODALITIES.index(where)
    return order, place.rank_low or 0, place.rank_high or 0, -place.score, row.name


def _keys(domain: str | None) -> dict[str, Callable[[BoardRow], Any]]:
    def main(field: str) -> Callable[[BoardRow], Any]:
        return lambda row: getattr(row.main(domain), field)

    def score(name: str) -> Callable[[BoardRow], Any]:
        return lambda row: _score(row.places.get(name))

    keys: dict[str, Callable[[BoardRow], Any]] = {name: score(name) for name in MODALITIES}
    return keys | {
        "encoder": lambda row: row.name.lower(),
        "mean": score(OVERALL if domain is None else domain),
        "borda": main("borda"),
        "parameters": lambda row: row.parameters,
        "speed": main("samples_per_second"),
        "date": main("measured"),
    }


def _score(place: Place | None) -> float | None:
    return None if place is None else place.score
