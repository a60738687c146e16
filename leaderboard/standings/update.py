"""Bring the standings up to date after a publication.

Three levels: ranks within a cell (task, protocol); a domain's board (mean over the cells of a suite
and a protocol, or of all protocols); the overall board (mean over the six domains). A board keeps
the replicates of every encoder's mean, so that a new result costs one encoder's mean and one
ranking, not the reading of all results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session, undefer

from benchmark.bootstrap import borda, rank_intervals
from benchmark.catalog import task_card, task_cards
from benchmark.metrics import higher_is_better
from benchmark.modalities import MODALITIES
from leaderboard.db import SHOWN, Board, Encoder, Result, ResultPayload, Standing
from leaderboard.results.documents import replicates_of
from leaderboard.standings.means import Row, fill, summed_up, values_to_bytes

Cell = tuple[str, str]
OVERALL = "overall"
ALL = "all"  # of suites: every task; of protocols: every one but zero-shot
NOT_AVERAGED = "zero-shot"  # only encoders with a text tower can have it
_CHUNK = 50  # encoders whose replicates are in memory at a time


def update_standings(session: Session, changed: Mapping[Cell, set[int]]) -> None:
    """Follow a change of the results of some encoders (by id) in some cells."""
    session.flush()
    boards: dict[tuple[str, str, str], set[int]] = {}
    for (task, protocol), encoders in changed.items():
        rank_cell(session, task, protocol)
        card = task_card(task)
        averaged = [ALL] if protocol != NOT_AVERAGED else []
        for suite in (*card.suites, ALL):
            for name in (*averaged, protocol):
                boards.setdefault((suite, name, card.modality), set()).update(encoders)
    overall: dict[tuple[str, str], set[int]] = {}
    for (suite, protocol, domain), encoders in boards.items():
        anew = update_board(session, suite, protocol, domain, encoders)
        overall.setdefault((suite, protocol), set()).update(anew)
    for (suite, protocol), encoders in overall.items():
        update_overall(session, suite, protocol, encoders)


def rebuild(session: Session) -> int:
    """Compute all standings anew, from the results alone; gives the number of cells."""
    session.execute(delete(Standing))
    session.execute(delete(Board))
    cells: dict[Cell, set[int]] = {}
    for task, protocol, encoder in session.execute(
        select(Result.task, Result.protocol, Result.encoder_id).where(*_shown())
    ):
        cells.setdefault((task, protocol), set()).add(encoder)
    update_standings(session, cells)
    return len(cells)


def rank_cell(session: Session, task: str, protocol: str) -> None:
    """Rank intervals of the results that are shown in one cell."""
    rows = session.execute(
        select(
            Result.id,
            Result.score,
            Result.metric,
            Result.rank_low,
            Result.rank_high,
            ResultPayload.replicates,
        )
        .join(ResultPayload)
        .where(Result.task == task, Result.protocol == protocol, *_shown())
    ).all()
    if not rows:
        return
    ranks = rank_intervals(
        [row.score for row in rows],
        np.stack([replicates_of(row.replicates) for row in rows]),
        higher_is_better(rows[0].metric),
    )
    changed = [
        {"id": row.id, "rank_low": low, "rank_high": high}
        for row, (low, high) in zip(rows, ranks, strict=True)
        if (row.rank_low, row.rank_high) != (low, high)
    ]
    if changed:
        session.execute(update(Result), changed)


def update_board(
    session: Session, suite: str, protocol: str, domain: str, changed: Iterable[int]
) -> set[int]:
    """One domain's board: means of the encoders that changed, then everybody's rank. Gives the
    encoders whose means were computed: all of them where the board has other cells now."""
    tasks = [c.name for c in task_cards() if c.modality == domain and suite in (*c.suites, ALL)]
    chosen = Result.protocol == protocol if protocol != ALL else Result.protocol != NOT_AVERAGED
    where = (Result.task.in_(tasks), chosen, *_shown())
    cells = sorted(
        (task, name)
        for task, name in session.execute(
            select(Result.task, Result.protocol).where(*where).distinct()
        )
    )
    place = {"suite": suite, "protocol": protocol, "domain": domain}
    board = session.scalar(select(Board).filter_by(**place))
    if board is None:
        board = Board(**place, cells=[])
        session.add(board)
    known = [(task, name) for task, name in board.cells]
    encoders = set(changed)
    if known != cells:  # the mean is over other cells now, for everybody
        board.cells = [list(cell) for cell in cells]
        encoders |= set(session.scalars(select(Result.encoder_id).where(*where).distinct()))
        encoders |= set(session.scalars(select(Standing.encoder_id).filter_by(**place)))
    session.execute(delete(Standing).filter_by(**place).where(Standing.encoder_id.in_(encoders)))
    ordered = sorted(encoders)
    for start in range(0, len(ordered), _CHUNK):
        _write_means(session, place, cells, where, ordered[start : start + _CHUNK])
    session.flush()
    _rank_board(session, place, cells)
    return encoders


def _write_means(
    session: Session,
    place: Mapping[str, str],
    cells: Sequence[Cell],
    where: Sequence[ColumnElement[bool]],
    encoders: Sequence[int],
) -> None:
    columns = [getattr(Result, name) for name in Row._fields if name != "replicates"]
    found: dict[int, list[Row]] = {}
    for row in session.execute(
        select(*columns, ResultPayload.replicates)
        .join(ResultPayload)
        .where(*where, Result.encoder_id.in_(encoders))
    ):
        found.setdefault(row.encoder_id, []).append(Row._make(row))
    for encoder, rows in found.items():
        session.add(fill(Standing(**place, encoder_id=encoder), cells, rows))


def _rank_board(session: Session, place: Mapping[str, str], cells: Sequence[Cell]) -> None:
    complete = session.execute(
        select(
            Standing.id,
            Standing.encoder_id,
            Standing.score,
            Standing.rank_low,
            Standing.rank_high,
            Standing.borda,
            Standing.replicates,
            Standing.values,
        )
        .filter_by(**place)
        .where(Standing.score.is_not(None))
        .order_by(Standing.encoder_id)
    ).all()
    if not complete:
        return
    ranks = rank_intervals(
        [row.score for row in complete],
        np.stack([replicates_of(row.replicates) for row in complete]),
    )
    values = {row.encoder_id: np.frombuffer(row.values or b"", "<f8") for row in complete}
    lacking = {row.encoder_id: row.id for row in complete if row.values is None}
    if lacking:  # made by an older version
        found = _values(session, list(lacking), cells)
        values |= dict(zip(lacking, found, strict=True))
        kept = [
            {"id": lacking[encoder], "values": values_to_bytes(values[encoder])}
            for encoder in lacking
        ]
        session.execute(update(Standing), kept)
    points, _ = borda(np.stack([values[row.encoder_id] for row in complete]))
    changed = [
        {"id": row.id, "rank_low": low, "rank_high": high, "borda": float(point)}
        for row, (low, high), point in zip(complete, ranks, points, strict=True)
        if (row.rank_low, row.rank_high, row.borda) != (low, high, float(point))
    ]
    if changed:
        session.execute(update(Standing), changed)


def _values(session: Session, encoders: Sequence[int], cells: Sequence[Cell]) -> np.ndarray:  # type: ignore[type-arg]
    """(encoders, cells) chance-normalised scores; every one is there."""
    rows = {encoder: index for index, encoder in enumerate(encoders)}
    columns = {cell: index for index, cell in enumerate(cells)}
    table = np.full((len(rows), len(columns)), np.nan)
    for encoder, task, protocol, value in session.execute(
        select(Result.encoder_id, Result.task, Result.protocol, Result.normalised).where(
            Result.task.in_({task for task, _ in cells}),
            Result.encoder_id.in_(encoders),
            *_shown(),
        )
    ):
        if (task, protocol) in columns:
            table[rows[encoder], columns[task, protocol]] = value
    return table


def update_overall(session: Session, suite: str, protocol: str, changed: Iterable[int]) -> None:
    """The board over all six domains, of the encoders that are complete in each."""
    place = {"suite": suite, "protocol": protocol, "domain": OVERALL}
    encoders = list(changed)
    mine = Standing.encoder_id.in_(encoders)
    session.execute(delete(Standing).filter_by(**place).where(mine))
    domains: dict[int, list[Standing]] = {}
    for standing in session.scalars(
        select(Standing)
        .filter_by(suite=suite, protocol=protocol)
        .where(Standing.score.is_not(None), mine)
        .options(undefer(Standing.replicates), undefer(Standing.values))
        .order_by(Standing.domain)
    ):
        domains.setdefault(standing.encoder_id, []).append(standing)
    for encoder, standings in domains.items():
        if len(standings) == len(MODALITIES):
            session.add(summed_up(Standing(**place, encoder_id=encoder), standings))
    session.flush()
    boards = session.scalars(
        select(Board).filter_by(suite=suite, protocol=protocol).order_by(Board.domain)
    )
    _rank_board(session, place, [(task, name) for board in boards for task, name in board.cells])


def _shown() -> tuple[ColumnElement[bool], ...]:
    hidden = select(Encoder.id).where(Encoder.hidden)
    return Result.state.in_(SHOWN), Result.encoder_id.not_in(hidden)
