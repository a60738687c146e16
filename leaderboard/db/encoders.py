"""Encoders, as the site lists them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from leaderboard.db.base import Base, Text, UtcTime, now


class EncoderSource(StrEnum):
    CATALOG = "catalog"  # ships with the project
    RUN = "run"  # loaded from a run's results by an administrator
    SUBMISSION = "submission"


class Encoder(Base):
    __tablename__ = "encoder"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(120), unique=True)  # in URLs; never changes
    name: Mapped[str] = mapped_column(String(120))
    title: Mapped[str] = mapped_column(String(300), default="")
    modality: Mapped[str] = mapped_column(String(32), index=True)
    kind: Mapped[str] = mapped_column(String(16))  # features, control, pretrained, adapter
    source: Mapped[EncoderSource] = mapped_column(Text(EncoderSource))
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    dimension: Mapped[int | None]
    licence: Mapped[str] = mapped_column(String(120), default="")
    paper: Mapped[str] = mapped_column(String(500), default="")
    pretraining: Mapped[str] = mapped_column(String(2000), default="")
    card: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id"), index=True)
    hidden: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
