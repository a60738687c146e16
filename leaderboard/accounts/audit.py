"""The log of who did what; rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request
from sqlalchemy.orm import Session

from leaderboard.db import AuditEvent, User


@dataclass(frozen=True)
class Origin:
    """Where an action comes from."""

    address: str = ""
    request_id: str = ""


COMMAND_LINE = Origin()


def origin_of(request: Request) -> Origin:
    return Origin(
        address=request.client.host[:64] if request.client else "",
        request_id=str(getattr(request.state, "request_id", ""))[:64],
    )


def record(
    session: Session,
    actor: User | None,
    action: str,
    subject_kind: str,
    subject: str,
    origin: Origin = COMMAND_LINE,
    **detail: Any,
) -> None:
    """Add an event in the caller's transaction: it stands if the action does."""
    name = actor.name if actor is not None else "command line" if origin == COMMAND_LINE else "-"
    session.add(
        AuditEvent(
            actor_id=None if actor is None else actor.id,
            actor=name,
            action=action,
            subject_kind=subject_kind,
            subject=subject[:120],
            address=origin.address,
            request_id=origin.request_id,
            detail=detail,
        )
    )
