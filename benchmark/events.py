"""How a run is done, and what it tells while it is carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.results import Result

COMPILED = "+compile"  # after a precision: the encoder runs through torch.compile


@dataclass(frozen=True)
class RunOptions:
    """How a run is done."""

    out: Path | None  # where results are written; None: only in the cache, the caller does the rest
    data_dir: Path | str | None = None  # a folder or a URL
    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 32
    threads: int = 1  # per worker process
    seed: int = 0
    fresh: bool = False
    store: str | None = None  # folder or URL of the embedding store; None: this machine's cache
    store_dtype: str = "float32"  # at which embeddings are stored
    embedded: bool = False  # what embeddings there are belong to this run, also to a fresh one


@dataclass(frozen=True)
class Pace:
    """Seconds in which an encoder waited for data, and in which it computed."""

    waiting: float = 0.0
    computing: float = 0.0


@dataclass(frozen=True)
class Event:
    """What is told while a plan is carried out: `phase` is prepare, prepared, embed, pace, score,
    result, skip, failure or notice."""

    phase: str
    encoder: str
    task: str
    detail: str = ""
    done: int = 0
    total: int = 0
    result: Result | None = None
    reused: bool = False
    pace: Pace | None = None


Tell = Callable[[Event], None]
