"""Results with their history, and the aggregates that publication keeps up to date."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from leaderboard.db.base import Base, Text, UtcTime, now, public_id
from leaderboard.db.encoders import Encoder


class ResultState(StrEnum):
    SELF_REPORTED = "self-reported"
    VERIFIED = "verified"  # computed by this server, or re-run by it within tolerance
    HIDDEN = "hidden"  # taken out by a maintainer or withdrawn by its owner
    SUPERSEDED = "superseded"  # another result of the same cell counts


SHOWN = (ResultState.SELF_REPORTED, ResultState.VERIFIED)
_SHOWN_SQL = text("state IN ('self-reported', 'verified')")


class Result(Base):
    """One (encoder, task, protocol) score. Narrow: what is large stands in `ResultPayload`."""

    __tablename__ = "result"
    __table_args__ = (
        # one result counts per cell; the others are history
        Index(
            "uq_result_shown", "encoder_id", "task", "protocol",
            unique=True, sqlite_where=_SHOWN_SQL, postgresql_where=_SHOWN_SQL,
        ),
        # a submission publishes a cell once, however often its worker is killed
        UniqueConstraint("submission_id", "task", "protocol", name="uq_result_submission_cell"),
        Index("ix_result_cell", "task", "protocol", "state"),
        Index("ix_result_created", "created"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True, default=public_id)
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id"), index=True)
    submission_id: Mapped[int | None] = mapped_column(ForeignKey("submission.id"), index=True)
    state: Mapped[ResultState] = mapped_column(Text(ResultState))

    task: Mapped[str] = mapped_column(String(120))
    task_version: Mapped[int]
    protocol: Mapped[str] = mapped_column(String(40))
    protocol_version: Mapped[int]
    modality: Mapped[str] = mapped_column(String(32))  # of the task
    simulated: Mapped[bool]
    # whether the data holds another number of examples than were published
    other_size: Mapped[bool] = mapped_column(default=False)
    seed: Mapped[int]
    identity: Mapped[str] = mapped_column(String(128), index=True)  # of all the score depends on
    fingerprint: Mapped[str] = mapped_column(String(128))  # of the test split

    metric: Mapped[str] = mapped_column(String(60))
    score: Mapped[float]
    low: Mapped[float | None]  # 95% interval; none where the test split has a single group
    high: Mapped[float | None]
    chance: Mapped[float]
    ceiling: Mapped[float]
    normalised: Mapped[float]  # (score - chance) / (ceiling - chance)
    normalised_low: Mapped[float | None]
    normalised_high: Mapped[float | None]
    rank_low: Mapped[int | None]  # among the results of its cell that are shown
    rank_high: Mapped[int | None]

    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))
    encoder_digest: Mapped[str] = mapped_column(String(128))
    samples_per_second: Mapped[float | None]
    seen_in_pretraining: Mapped[bool] = mapped_column(default=False)
    measured: Mapped[datetime] = mapped_column(UtcTime)  # when the evaluation ended
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)  # when it came to the site
    signature: Mapped[str | None] = mapped_column(String(128))  # base64 Ed25519
    signing_key: Mapped[str | None] = mapped_column(String(64))  # which key: see the signer

    encoder: Mapped[Encoder] = relationship()
    payload: Mapped[ResultPayload] = relationship(
        back_populates="result", cascade="all, delete-orphan", single_parent=True
    )


class ResultPayload(Base):
    """The whole result file: its JSON without the replicates, and these as bytes."""

    __tablename__ = "result_payload"

    result_id: Mapped[int] = mapped_column(
        ForeignKey("result.id", ondelete="CASCADE"), primary_key=True
    )
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    replicates: Mapped[bytes] = mapped_column(LargeBinary)  # little-endian float32, (R,)

    result: Mapped[Result] = relationship(back_populates="payload")


class Standing(Base):
    """An encoder's place on a board: a suite, a protocol (or all), a domain (or overall)."""

    __tablename__ = "standing"
    __table_args__ = (
        UniqueConstraint("suite", "protocol", "domain", "encoder_id"),
        Index("ix_standing_encoder", "encoder_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    suite: Mapped[str] = mapped_column(String(60))
    protocol: Mapped[str] = mapped_column(String(40))  # "all": every protocol but zero-shot
    domain: Mapped[str] = mapped_column(String(32))  # "overall": the mean over six domains
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id", ondelete="CASCADE"))
    score: Mapped[float | None]  # chance-normalised mean; none where cells are missing
    low: Mapped[float | None]
    high: Mapped[float | None]
    rank_low: Mapped[int | None]
    rank_high: Mapped[int | None]
    borda: Mapped[float | None]
    cells: Mapped[int]  # how many of the board's cells the encoder has
    missing: Mapped[list[Any]] = mapped_column(JSON, default=list)  # [[task, protocol], ...]
    verified: Mapped[bool]  # every result behind it is
    simulated: Mapped[int]  # tasks on simulated data
    other_size: Mapped[int] = mapped_column(default=0)  # tasks on data of another size
    tasks: Mapped[int]
    samples_per_second: Mapped[float | None]
    seen_in_pretraining: Mapped[bool]
    measured: Mapped[datetime | None] = mapped_column(UtcTime)  # the newest result behind it
    # little-endian float32, (R,): the score on every resample; large, so read where it is needed
    replicates: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    # little-endian float64, (C,): chance-normalised scores in the order of the board's cells, those
    # of the domains one after another where it is over all; where no cell is missing
    values: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)


class Board(Base):
    """The cells that a board's mean is over: what any encoder has is expected of all."""

    __tablename__ = "board"
    __table_args__ = (UniqueConstraint("suite", "protocol", "domain"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    suite: Mapped[str] = mapped_column(String(60))
    protocol: Mapped[str] = mapped_column(String(40))
    domain: Mapped[str] = mapped_column(String(32))
    cells: Mapped[list[list[str]]] = mapped_column(JSON, default=list)  # [[task, protocol], ...]


class SiteState(Base):
    """Small facts of the site. `generation` counts publications: caches are valid for one."""

    __tablename__ = "site_state"

    key: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
