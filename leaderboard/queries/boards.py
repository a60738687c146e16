"""The overall table: encoders × domains of one suite and protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from benchmark.modalities import MODALITIES
from leaderboard.db import Encoder, Standing
from leaderboard.queries.results import counts
from leaderboard.standings.update import OVERALL


class Place(NamedTuple):
    """An encoder's place on one domain's board, or on the overall one."""

    score: float | None
    low: float | None
    high: float | None
    rank_low: int | None
    rank_high: int | None
    borda: float | None
    cells: int
    missing: Sequence[Sequence[str]]  # (task, protocol) pairs
    verified: bool
    simulated: int
    other_size: int
    tasks: int
    samples_per_second: float | None
    seen_in_pretraining: bool
    measured: datetime | None

    @property
    def expected(self) -> int:
        return self.cells + len(self.missing)


@dataclass(frozen=True)
class BoardRow:
    """One encoder."""

    slug: str
    name: str
    title: str
    kind: str
    modality: str
    source: str
    parameters: int | None
    dimension: int | None
    licence: str
    places: dict[str, Place] = field(hash=False)

    @property
    def overall(self) -> Place | None:
        return self.places.get(OVERALL)

    def main(self, domain: str | None) -> Place | None:
        """The place that counts in a view of `domain`, or of all: overall, else its own domain's,
        else the first with a score."""
        if domain is not None:
            return self.places.get(domain)
        own = self.places.get(OVERALL) or self.places.get(self.modality)
        if own is not None and own.score is not None:
            return own
        scored = (p for d in MODALITIES if (p := self.places.get(d)) and p.score is not None)
        return next(scored, own or next(iter(self.places.values()), None))

    def main_domain(self, domain: str | None) -> str:
        """The domain, or `overall`, of `main`."""
        main = self.main(domain)
        return next((name for name, place in self.places.items() if place is main), OVERALL)

    @property
    def verified(self) -> bool:
        return all(place.verified for place in self.places.values())

    @property
    def seen_in_pretraining(self) -> bool:
        return any(place.seen_in_pretraining for place in self.places.values())


_ENCODER = ("slug", "name", "title", "kind", "modality", "source", "parameters", "dimension")


def read_board(session: Session, suite: str, protocol: str) -> list[BoardRow]:
    """Every encoder that has a result on this board, by name."""
    columns = [getattr(Standing, name) for name in Place._fields]
    places: dict[int, dict[str, Place]] = {}
    for encoder, domain, *values in session.execute(
        select(Standing.encoder_id, Standing.domain, *columns).filter_by(
            suite=suite, protocol=protocol
        )
    ):
        places.setdefault(encoder, {})[domain] = Place._make(values)
    names = (*_ENCODER, "licence")
    rows = session.execute(
        select(Encoder.id, *(getattr(Encoder, name) for name in names)).order_by(Encoder.name)
    )
    return [
        BoardRow(**dict(zip(names, values, strict=True)), places=places[encoder])
        for encoder, *values in rows
        if encoder in places
    ]


class Boards:
    """Boards, and the figures of the home page, in memory: read once per publication."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        lock = Lock()  # who comes second waits for the first instead of reading the same

        @lru_cache(maxsize=64)
        def board(generation: int, suite: str, protocol: str) -> Sequence[BoardRow]:
            with sessions() as session:
                return tuple(read_board(session, suite, protocol))

        @lru_cache(maxsize=2)
        def figures(generation: int) -> dict[str, int]:
            with sessions() as session:
                return counts(session)

        self._lock, self._board, self._figures = lock, board, figures

    def read(self, generation: int, suite: str, protocol: str) -> Sequence[BoardRow]:
        """The rows of a board."""
        with self._lock:
            return self._board(generation, suite, protocol)

    def counts(self, generation: int) -> dict[str, int]:
        """How many results, encoders and tasks are shown."""
        with self._lock:
            return self._figures(generation)
