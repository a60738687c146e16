"""Single results: of a task, of an encoder, by identifier; and what made them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, contains_eager

from benchmark.catalog import task_card
from benchmark.errors import SslBenchError
from leaderboard.db import SHOWN, Encoder, Result, ResultPayload, ResultState


def shown(*where: Any) -> Select[Result]:
    """Results that count, with their encoders; those of hidden encoders are left out."""
    return (
        select(Result)
        .join(Result.encoder)
        .options(contains_eager(Result.encoder))
        .where(Result.state.in_(SHOWN), Encoder.hidden.is_(False), *where)
    )


def of_task(session: Session, task: str, protocol: str | None = None) -> list[Result]:
    """A task's results, best first within a protocol."""
    where = [Result.task == task, *([Result.protocol == protocol] if protocol else [])]
    order = (Result.protocol, Result.normalised.desc(), Encoder.name)
    return list(session.scalars(shown(*where).order_by(*order)))


def of_encoder(session: Session, encoder_id: int) -> list[Result]:
    """An encoder's results, by task and protocol."""
    order = (Result.modality, Result.task, Result.protocol)
    return list(session.scalars(shown(Result.encoder_id == encoder_id).order_by(*order)))


def by_public_id(session: Session, public_id: str) -> Result | None:
    """A result by its permanent identifier; also one of the history, never a hidden one."""
    return session.scalar(
        select(Result)
        .join(Result.encoder)
        .options(contains_eager(Result.encoder))
        .where(
            Result.public_id == public_id,
            Result.state != ResultState.HIDDEN,
            Encoder.hidden.is_(False),
        )
    )


def encoder_by_slug(session: Session, slug: str) -> Encoder | None:
    return session.scalar(select(Encoder).where(Encoder.slug == slug, Encoder.hidden.is_(False)))


def newest(session: Session, limit: int) -> list[Result]:
    """The results that came last."""
    return list(
        session.scalars(shown().order_by(Result.created.desc(), Result.id.desc()).limit(limit))
    )


def counts(session: Session) -> dict[str, int]:
    """Figures for the head of the home page."""
    where = (Result.state.in_(SHOWN), Encoder.hidden.is_(False))
    row = session.execute(
        select(
            func.count(Result.id),
            func.count(func.distinct(Result.encoder_id)),
            func.count(func.distinct(Result.task)),
        )
        .join(Encoder)
        .where(*where)
    ).one()
    return dict(zip(("results", "encoders", "tasks"), row, strict=True))


def per_task(session: Session) -> dict[str, int]:
    """Task -> number of encoders with a result."""
    rows = session.execute(
        select(Result.task, func.count(func.distinct(Result.encoder_id)))
        .where(Result.state.in_(SHOWN))
        .group_by(Result.task)
    )
    return dict(rows.tuples().all())


def documents(session: Session, results: Sequence[Result]) -> dict[int, dict[str, Any]]:
    """Result id -> its file without the replicates."""
    rows = session.execute(
        select(ResultPayload.result_id, ResultPayload.document).where(
            ResultPayload.result_id.in_([result.id for result in results])
        )
    )
    return dict(rows.tuples().all())


def reproduce(document: dict[str, Any]) -> str:
    """The command that computes a result again, from the file that came with it."""
    encoder, environment = document["encoder"], document["environment"]
    name = encoder["name"]
    words = ["ssl-bench", "eval"]
    base, _, bracket = name.removesuffix(")").rpartition(" (")
    if encoder["weights"] == "checkpoint":
        words += ["--model", base or name, "--checkpoint", f"{bracket or 'weights'}.safetensors"]
    elif encoder["weights"] == "random" and encoder["kind"] != "control" and base:
        words += ["--model", base, "--init", "random"]
    else:
        words += ["--model", name]
    words += ["--task", document["task"]["name"], "--protocol", document["protocol"]["name"]]
    try:
        if task_card(document["task"]["name"]).access != "embedded":
            words += ["--data-dir", "data"]
    except SslBenchError:
        pass
    precision = environment["precision"].removesuffix("-compiled")
    words += ["--precision", precision, "--seed", str(document["seed"])]
    return shlex.join(words)
