"""Publication: results become rows, older ones history, and the standings follow.

All of it happens in the caller's transaction, so that readers see all or nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from sqlalchemy import select, text, tuple_, update
from sqlalchemy.orm import Session

from benchmark.catalog import encoder_cards
from benchmark.errors import SslBenchError
from benchmark.results import EncoderInfo
from benchmark.results import Result as ResultFile
from leaderboard.db import SHOWN, Encoder, EncoderSource, Result, ResultState, SiteState
from leaderboard.results.documents import row_of, test_fingerprint
from leaderboard.results.plausible import check_result
from leaderboard.standings.update import update_standings

Sign = Callable[[ResultFile], tuple[str, str]]  # -> (signature, key)


def publish(
    session: Session,
    files: Sequence[ResultFile],
    state: ResultState,
    *,
    encoder: Encoder | None = None,
    submission_id: int | None = None,
    sign: Sign | None = None,
) -> list[Result]:
    """Publish results, of `encoder` or of the encoders that they name; gives their rows.

    Publishing the same again changes nothing. A self-reported result never replaces a verified one:
    it goes into the history.

    Raises:
        SslBenchError: a result that cannot be true, or not be compared with those there are.
    """
    serialise(session)
    rows = []
    cells: dict[tuple[str, str], set[int]] = {}
    for file in files:
        check_result(file)
        _check_comparable(session, file)
        owner = encoder or encoder_for(session, file.encoder)
        known = _known(session, file, owner.id, state, submission_id)
        if known is not None:
            rows.append(known)
            continue
        row = row_of(file, owner.id, state)
        row.submission_id = submission_id
        if sign is not None:
            row.signature, row.signing_key = sign(file)
        _supersede(session, row)
        session.add(row)
        session.flush()
        rows.append(row)
        cells.setdefault((row.task, row.protocol), set()).add(owner.id)
    if cells:
        update_standings(session, cells)
        bump_generation(session)
    return rows


def refresh(session: Session, results: Sequence[Result]) -> None:
    """Follow up on a change of state of `results` (hidden, verified, ...) made by the caller."""
    serialise(session)
    session.flush()
    cells: dict[tuple[str, str], set[int]] = {}
    for row in results:
        cells.setdefault((row.task, row.protocol), set()).add(row.encoder_id)
    update_standings(session, cells)
    bump_generation(session)


def serialise(session: Session) -> None:
    """One publication at a time: standings are made from all results. (SQLite has one writer.)"""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(7309118)"))


def generation(session: Session) -> int:
    """How many publications there have been; what is cached belongs to one."""
    row = session.get(SiteState, "generation")
    return 0 if row is None else int(row.value)


def bump_generation(session: Session) -> None:
    """Tell the caches of all web servers that something that is shown has changed."""
    row = session.get(SiteState, "generation")
    if row is None:
        session.add(SiteState(key="generation", value=1))
    else:
        row.value = int(row.value) + 1
    session.flush()


def encoder_for(
    session: Session, info: EncoderInfo, source: EncoderSource | None = None
) -> Encoder:
    """The encoder that a result file names, made when it is new."""
    found = session.scalar(
        select(Encoder).where(Encoder.name == info.name, Encoder.owner_id.is_(None))
    )
    if found is None:
        known = source or (
            EncoderSource.CATALOG if info.name in encoder_cards() else EncoderSource.RUN
        )
        slug = free_slug(session, info.name)
        found = Encoder(slug=slug, name=info.name, modality=info.modality, source=known)
        session.add(found)
    found.title = info.title[:300]
    found.kind = info.kind
    found.parameters = info.parameters
    found.dimension = info.dimension
    found.licence = info.licence[:120]
    found.paper = info.paper[:500]
    found.pretraining = info.pretraining[:2000]
    found.card = {"weights": info.weights, "digest": info.digest, "input": info.input}
    session.flush()
    return found


def free_slug(session: Session, name: str) -> str:
    """A slug for URLs that no encoder has: `name`, with a number where it is taken."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:100] or "encoder"
    slug, number = base, 1
    while session.scalar(select(Encoder.id).where(Encoder.slug == slug)) is not None:
        number += 1
        slug = f"{base}-{number}"
    return slug


def _known(
    session: Session,
    file: ResultFile,
    encoder_id: int,
    state: ResultState,
    submission_id: int | None,
) -> Result | None:
    """A row that this publication would only repeat."""
    cell = select(Result).where(
        Result.task == file.task.name, Result.protocol == file.protocol.name
    )
    if submission_id is not None:
        return session.scalar(cell.where(Result.submission_id == submission_id))
    return session.scalar(
        cell.where(
            Result.encoder_id == encoder_id,
            Result.identity == file.identity,
            Result.state == state,
        )
    )


def _supersede(session: Session, row: Result) -> None:
    shown = session.scalar(
        select(Result).where(
            Result.encoder_id == row.encoder_id,
            Result.task == row.task,
            Result.protocol == row.protocol,
            Result.state.in_(SHOWN),
        )
    )
    if shown is None:
        return
    if shown.state == ResultState.VERIFIED and row.state == ResultState.SELF_REPORTED:
        row.state = ResultState.SUPERSEDED
    else:
        shown.state = ResultState.SUPERSEDED
        session.flush()


def _check_comparable(session: Session, file: ResultFile) -> None:
    """All results that count in a cell are of one version, on the same data, with one seed."""
    versions = (file.task.version, file.protocol.version)
    cell = (
        Result.task == file.task.name,
        Result.protocol == file.protocol.name,
        Result.state.in_(SHOWN),
    )
    outdated = tuple_(Result.task_version, Result.protocol_version) != versions
    session.execute(update(Result).where(*cell, outdated).values(state=ResultState.SUPERSEDED))
    other = session.execute(
        select(Result.fingerprint, Result.seed, Result.metric).where(*cell).limit(1)
    ).first()
    if other is None:
        return
    name = f"{file.encoder.name} on {file.task.name} / {file.protocol.name}"
    if other.fingerprint != test_fingerprint(file):
        raise SslBenchError(
            f"{name}: task.fingerprint: the test data is not the one that the other results of the "
            "leaderboard are on; get the dataset again, unchanged, and evaluate again"
        )
    if other.seed != file.seed:
        raise SslBenchError(
            f"{name}: seed: {file.seed}, the leaderboard's results have {other.seed} and are "
            f"compared on its resamples; evaluate with --seed {other.seed}"
        )
    if other.metric != file.metric:
        raise SslBenchError(
            f"{name}: metric: {file.metric}, the leaderboard has {other.metric}; evaluate again "
            "with this version of ssl-bench"
        )
