"""People, what they may do, and what they did."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from leaderboard.db.base import Base, Text, UtcTime, now, public_id


class Role(StrEnum):
    SUBMITTER = "submitter"
    MAINTAINER = "maintainer"
    ADMIN = "admin"


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)  # the handle, shown
    display_name: Mapped[str] = mapped_column(String(120), default="")
    email: Mapped[str | None] = mapped_column(String(254), unique=True)  # never shown
    password_hash: Mapped[str | None] = mapped_column(String(200))  # argon2; none: tokens alone
    role: Mapped[Role] = mapped_column(Text(Role), default=Role.SUBMITTER)
    active: Mapped[bool] = mapped_column(default=True)
    quota: Mapped[int | None]  # submissions per day; none: the server's default
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Invitation(Base):
    __tablename__ = "invitation"

    id: Mapped[int] = mapped_column(primary_key=True)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)  # sha256
    role: Mapped[Role] = mapped_column(Text(Role), default=Role.SUBMITTER)
    note: Mapped[str] = mapped_column(String(200), default="")
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    used_by_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"))
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
    expires: Mapped[datetime] = mapped_column(UtcTime)
    used: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcTime)


class Token(Base):
    """A bearer token. It has 256 random bits, so one sha256 keeps it safe; never stored itself."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True, default=public_id)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(80), default="")
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON, default=list)  # submit, maintain
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
    expires: Mapped[datetime | None] = mapped_column(UtcTime)
    last_used: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked: Mapped[datetime | None] = mapped_column(UtcTime)

    user: Mapped[User] = relationship()


class WebSession(Base):
    """A signed-in browser: the cookie's value is stored hashed, as a token is."""

    __tablename__ = "web_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    token_id: Mapped[int | None] = mapped_column(
        ForeignKey("token.id", ondelete="CASCADE")
    )  # signed in with this token: ends when it is revoked
    csrf: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(300), default="")
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
    expires: Mapped[datetime] = mapped_column(UtcTime)
    last_seen: Mapped[datetime] = mapped_column(UtcTime, default=now)

    user: Mapped[User] = relationship()


class AuditEvent(Base):
    """Who did what, when, to which thing. Rows are only ever added."""

    __tablename__ = "audit_event"
    __table_args__ = (Index("ix_audit_event_subject", "subject_kind", "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"), index=True)
    actor: Mapped[str] = mapped_column(String(60))  # name then; "command line", "worker"
    action: Mapped[str] = mapped_column(String(60))  # such as "token.created"
    subject_kind: Mapped[str] = mapped_column(String(30))  # such as "submission"
    subject: Mapped[str] = mapped_column(String(120))  # its public identifier
    address: Mapped[str] = mapped_column(String(64), default="")
    request_id: Mapped[str] = mapped_column(String(64), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
