"""What the API answers with. Scores are fractions; times are UTC, ISO 8601."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Item = TypeVar("Item")


class _Model(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Interval(_Model):
    """A score with its 95% bootstrap interval; no ends where the test split has one group."""

    score: float
    low: float | None
    high: float | None


class PlaceOut(_Model):
    """An encoder's place on a board."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "score": 0.534, "low": 0.468, "high": 0.598, "rank_low": 1, "rank_high": 2,
                    "borda": 1.5, "cells": 5, "missing": [], "verified": True, "simulated": 0,
                    "other_size": 0, "tasks": 1, "samples_per_second": 210.4,
                    "seen_in_pretraining": False, "measured": "2026-11-25T12:00:00Z",
                }
            ]
        }
    )  # fmt: skip
    score: float | None = Field(description="chance-normalised mean; null where cells are missing")
    low: float | None
    high: float | None
    rank_low: int | None = Field(description="best rank that the data allow")
    rank_high: int | None = Field(description="worst rank that the data allow")
    borda: float | None = Field(description="mean number of encoders beaten per cell")
    cells: int
    missing: list[tuple[str, str]] = Field(description="(task, protocol) pairs that others have")
    verified: bool
    simulated: int = Field(description="how many of the tasks are on simulated data")
    other_size: int = Field(description="how many have another number of examples than published")
    tasks: int
    samples_per_second: float | None
    seen_in_pretraining: bool
    measured: datetime | None


class EncoderOut(_Model):
    slug: str = Field(examples=["mfcc"])
    name: str = Field(examples=["mfcc"])
    title: str
    kind: str = Field(examples=["features"])
    modality: str = Field(examples=["audio"])
    source: str = Field(examples=["catalog"])
    parameters: int | None
    dimension: int | None
    licence: str


class EncoderDetail(EncoderOut):
    paper: str
    pretraining: str
    created: datetime


class RowOut(_Model):
    """One encoder of the overall table."""

    encoder: EncoderOut
    complete: bool
    verified: bool
    seen_in_pretraining: bool
    places: dict[str, PlaceOut] = Field(description="by domain, and `overall`")


class ResultOut(_Model):
    """One (encoder, task, protocol) score."""

    id: str = Field(validation_alias="public_id", examples=["0a1b2c3d4e5f60718293a4b5"])
    encoder: EncoderOut
    task: str = Field(examples=["esc50"])
    task_version: int
    protocol: str = Field(examples=["linear-probe"])
    protocol_version: int
    modality: str
    state: str = Field(examples=["verified"])
    metric: str = Field(examples=["accuracy"])
    score: float = Field(examples=[0.81])
    low: float | None = Field(examples=[0.78])
    high: float | None = Field(examples=[0.84])
    chance: float
    ceiling: float
    normalised: float
    normalised_low: float | None
    normalised_high: float | None
    rank_low: int | None
    rank_high: int | None
    simulated: bool
    other_size: bool = Field(description="another number of examples than were published")
    seen_in_pretraining: bool
    seed: int
    identity: str
    fingerprint: str = Field(description="hash of the test data")
    checkpoint_sha256: str | None
    encoder_digest: str
    samples_per_second: float | None
    measured: datetime
    created: datetime
    signature: str | None
    signing_key: str | None


class ResultDetail(ResultOut):
    reproduce: str = Field(description="the command that computes it again")
    file: str = Field(description="address of the whole result file")


class ReferenceOut(_Model):
    encoder: str
    protocol: str
    metric: str
    value: float
    source: str


class TaskOut(_Model):
    name: str = Field(examples=["esc50"])
    title: str
    version: int
    modality: str
    target: str = Field(examples=["multiclass"])
    metric: str = Field(examples=["accuracy"])
    protocols: list[str]
    suites: list[str]
    simulated: bool
    access: str = Field(examples=["download"])
    licence: str
    encoders: int = Field(description="how many have a result")


class TaskDetail(TaskOut):
    chance: float
    ceiling: float
    classes: list[str]
    split: str
    grouping: str
    citation: str
    homepage: str
    size: str
    published: dict[str, int] = Field(description="examples as published, by split or `all`")
    description: str = Field(description="Markdown")
    reference_scores: list[ReferenceOut]


class DomainOut(_Model):
    name: str
    title: str
    tasks: int
    encoders: int
    simulated_tasks: int


class DifferenceOut(_Model):
    value: float
    low: float | None
    high: float | None
    p: float
    real: bool = Field(description="p < 0.05, not corrected for the number of comparisons")
    better: bool


class ComparisonOut(_Model):
    name: str
    protocol: str
    modality: str
    metric: str
    simulated: bool
    other_size: bool = Field(description="another number of examples than were published")
    scores: list[float | None]
    lows: list[float | None]
    highs: list[float | None]
    differences: list[DifferenceOut | None] = Field(
        description="of each encoder but the first, to the first"
    )


class CompareOut(_Model):
    encoders: list[EncoderOut]
    domains: list[ComparisonOut]
    tasks: list[ComparisonOut]


class ProblemOut(_Model):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next` is the address of the following one."""

    items: list[Item]
    total: int
    page: int
    pages: int
    next: str | None = None


PageNumber = Annotated[int, Field(ge=1, le=100_000)]
PerPage = Annotated[int, Field(ge=1, le=500)]
Document = dict[str, Any]
