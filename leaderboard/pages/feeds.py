"""What goes to other places: the Atom feed of new results, badges for READMEs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from benchmark.modalities import MODALITIES
from leaderboard.api.encoders import known_encoder
from leaderboard.api.reading import PUBLIC
from leaderboard.db import Encoder, Result
from leaderboard.dependencies import ReadSession, board_of
from leaderboard.pages.formats import rank
from leaderboard.pages.names import SHORT_TITLES
from leaderboard.pages.rendering import base_url
from leaderboard.queries.results import newest
from leaderboard.queries.table import TableQuery

router = APIRouter()
ENTRIES = 50
RESULTS_READ = 1000
CHARACTER = 6.6  # pixels of a character of 11 px text, on average


@dataclass
class Entry:
    """Results of one encoder that came on one day."""

    encoder: Encoder
    updated: datetime
    results: list[Result]


@router.get("/feed.atom", name="feed")
def feed(request: Request, session: ReadSession) -> Response:
    """New results, one entry per encoder and day."""
    entries: dict[tuple[int, str], Entry] = {}
    for result in newest(session, RESULTS_READ):
        key = (result.encoder_id, result.created.date().isoformat())
        entry = entries.setdefault(key, Entry(result.encoder, result.created, []))
        entry.results.append(result)
    chosen = list(entries.values())[:ENTRIES]
    xml = request.app.state.templates.get_template("feed.xml").render(
        entries=chosen,
        updated=max((entry.updated for entry in chosen), default=datetime(2026, 1, 1, tzinfo=UTC)),
        base_url=base_url(request),
    )
    return Response(xml, media_type="application/atom+xml", headers={"Cache-Control": PUBLIC})


@router.get("/badges/{slug}.svg", name="badge")
def badge(request: Request, session: ReadSession, slug: str) -> Response:
    """The encoder's place in its own domain, or overall."""
    return _badge(request, session, slug, None)


@router.get("/badges/{slug}/{domain}.svg", name="domain_badge")
def domain_badge(request: Request, session: ReadSession, slug: str, domain: str) -> Response:
    """The encoder's place in one domain."""
    if domain not in MODALITIES:
        raise HTTPException(404, f"there is no domain {domain!r}")
    return _badge(request, session, slug, domain)


def _badge(request: Request, session: ReadSession, slug: str, domain: str | None) -> Response:
    found = known_encoder(session, slug)
    row = next((r for r in board_of(request, TableQuery()) if r.slug == slug), None)
    place = row.main(domain) if row is not None else None
    if row is None or place is None or place.score is None:
        value = "incomplete"
    else:
        name = SHORT_TITLES[row.main_domain(domain)].rstrip(".")
        reported = "" if place.verified else " (self-reported)"
        value = (
            f"{name} #{rank(place.rank_low, place.rank_high)} · {100 * place.score:.1f}{reported}"
        )
    svg = request.app.state.templates.get_template("badge.svg").render(
        label="ssl-bench",
        value=value,
        verified=place is not None and place.verified,
        **_widths(("ssl-bench", value)),
        name=found.name,
    )
    headers = {"Cache-Control": PUBLIC, "Cross-Origin-Resource-Policy": "cross-origin"}
    return Response(svg, media_type="image/svg+xml", headers=headers)


def _widths(texts: Sequence[str]) -> dict[str, int]:
    left, right = (round(CHARACTER * len(text) + 14) for text in texts)
    return {"left": left, "right": right, "width": left + right}
