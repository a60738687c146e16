"""Uploads, submissions, their steps and log, and the workers that do them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from leaderboard.db.accounts import User
from leaderboard.db.base import Base, Text, UtcTime, now, public_id
from leaderboard.db.encoders import Encoder


class Kind(StrEnum):
    CHECKPOINT = "checkpoint"  # safetensors
    ONNX = "onnx"
    RESULTS = "results"  # self-reported


class UploadState(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"  # all bytes are there and the sha256 is the declared one
    REJECTED = "rejected"


class SubmissionState(StrEnum):
    QUEUED = "queued"
    VALIDATING = "validating"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WITHDRAWN = "withdrawn"


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"  # the encoder lacks an output that the protocol needs
    CANCELLED = "cancelled"


class Upload(Base):
    """Bytes on their way in, resumable at `received`; stored by their sha256 when complete."""

    __tablename__ = "upload"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True, default=public_id)
    owner_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    kind: Mapped[Kind] = mapped_column(Text(Kind))
    state: Mapped[UploadState] = mapped_column(Text(UploadState), default=UploadState.OPEN)
    file_name: Mapped[str] = mapped_column(String(255), default="")  # as sent; never a path of ours
    size: Mapped[int] = mapped_column(BigInteger)  # declared, bytes
    received: Mapped[int] = mapped_column(BigInteger, default=0)  # the next offset
    sha256: Mapped[str] = mapped_column(String(64), index=True)  # declared, then checked
    storage_key: Mapped[str | None] = mapped_column(String(200))  # once complete
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)  # what validation found
    reason: Mapped[str] = mapped_column(String(2000), default="")
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
    completed: Mapped[datetime | None] = mapped_column(UtcTime)

    owner: Mapped[User] = relationship()


class Submission(Base):
    __tablename__ = "submission"
    __table_args__ = (
        UniqueConstraint("owner_id", "idempotency_key"),  # a replayed request finds the first
        Index("ix_submission_queue", "state", "priority", "created"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(32), unique=True, default=public_id)
    owner_id: Mapped[int] = mapped_column(ForeignKey("user.id"), index=True)
    upload_id: Mapped[int | None] = mapped_column(ForeignKey("upload.id"))
    encoder_id: Mapped[int | None] = mapped_column(ForeignKey("encoder.id"), index=True)
    verifies_id: Mapped[int | None] = mapped_column(
        ForeignKey("submission.id"), index=True
    )  # the submission whose scores this one re-runs
    kind: Mapped[Kind] = mapped_column(Text(Kind))
    state: Mapped[SubmissionState] = mapped_column(
        Text(SubmissionState), default=SubmissionState.QUEUED
    )
    name: Mapped[str] = mapped_column(String(120))  # of the encoder, as it will be shown
    architecture: Mapped[str] = mapped_column(String(120), default="")  # catalog name
    modality: Mapped[str] = mapped_column(String(32))
    input_options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    suite: Mapped[str] = mapped_column(String(60), default="starter")
    description: Mapped[str] = mapped_column(String(4000), default="")
    licence: Mapped[str] = mapped_column(String(120), default="")
    paper: Mapped[str] = mapped_column(String(500), default="")
    pretraining: Mapped[str] = mapped_column(String(2000), default="")
    pretraining_data: Mapped[list[str]] = mapped_column(JSON, default=list)  # dataset names
    gpu: Mapped[bool] = mapped_column(default=False)  # only for workers with one
    priority: Mapped[int] = mapped_column(default=0)  # higher first
    counts: Mapped[bool] = mapped_column(default=True)  # a maintainer may set another
    idempotency_key: Mapped[str | None] = mapped_column(String(80))
    workflow_id: Mapped[str | None] = mapped_column(String(120), unique=True)
    worker_id: Mapped[str | None] = mapped_column(ForeignKey("worker.id"))
    reason: Mapped[str] = mapped_column(String(4000), default="")  # why it failed, for people
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime] = mapped_column(UtcTime, default=now)
    started: Mapped[datetime | None] = mapped_column(UtcTime)
    finished: Mapped[datetime | None] = mapped_column(UtcTime)

    owner: Mapped[User] = relationship()
    upload: Mapped[Upload | None] = relationship()
    encoder: Mapped[Encoder | None] = relationship()
    steps: Mapped[list[SubmissionStep]] = relationship(
        back_populates="submission", order_by="SubmissionStep.id", cascade="all, delete-orphan"
    )


class SubmissionStep(Base):
    """One (task, protocol) of a submission."""

    __tablename__ = "submission_step"
    __table_args__ = (UniqueConstraint("submission_id", "task", "protocol"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submission.id", ondelete="CASCADE"))
    task: Mapped[str] = mapped_column(String(120))
    protocol: Mapped[str] = mapped_column(String(40))
    state: Mapped[StepState] = mapped_column(Text(StepState), default=StepState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(String(2000), default="")
    worker_id: Mapped[str | None] = mapped_column(ForeignKey("worker.id"))
    started: Mapped[datetime | None] = mapped_column(UtcTime)
    finished: Mapped[datetime | None] = mapped_column(UtcTime)

    submission: Mapped[Submission] = relationship(back_populates="steps")


class SubmissionLog(Base):
    __tablename__ = "submission_log"
    __table_args__ = (Index("ix_submission_log_submission", "submission_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submission.id", ondelete="CASCADE"))
    step_id: Mapped[int | None] = mapped_column(ForeignKey("submission_step.id"))
    at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    level: Mapped[str] = mapped_column(String(10), default="info")
    message: Mapped[str] = mapped_column(String(4000))


class Worker(Base):
    """An evaluation worker; alive while its heartbeat is young."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    host: Mapped[str] = mapped_column(String(120))
    process: Mapped[int]
    device: Mapped[str] = mapped_column(String(120))  # such as "cpu", "cuda (NVIDIA H100)"
    version: Mapped[str] = mapped_column(String(60), default="")
    state: Mapped[str] = mapped_column(String(20), default="idle")
    started: Mapped[datetime] = mapped_column(UtcTime, default=now)
    heartbeat: Mapped[datetime] = mapped_column(UtcTime, default=now)
