"""The pieces that a run is cut into, and what comes back of each. They travel between machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmark.events import Event
from benchmark.needs import Need
from benchmark.plan import EncoderRef, Unit
from benchmark.planning.throughput import Measurement


@dataclass(frozen=True)
class Prepare:
    """Prepare the source of one task."""

    task: str
    encoder: EncoderRef | None = None

    def __str__(self) -> str:
        return f"preparing {self.task}"


@dataclass(frozen=True)
class Survey:
    """Find out which embeddings a unit needs, and which of their shards are missing."""

    unit: Unit

    @property
    def encoder(self) -> EncoderRef:
        return self.unit.encoder

    def __str__(self) -> str:
        return f"{self.encoder.name} on {', '.join(task for task, _ in self.unit.jobs)}"


@dataclass(frozen=True)
class Embed:
    """Compute some shards of what is needed."""

    encoder: EncoderRef
    need: Need
    task: str  # any of the source
    shards: tuple[int, ...]
    again: bool = False  # a worker was lost with them: some may be done

    def __str__(self) -> str:
        return f"{self.encoder.name}: embedding {self.need.split} of {self.need.source}"


@dataclass(frozen=True)
class Seal:
    """See that every shard is whole and write the manifest."""

    encoder: EncoderRef
    need: Need
    task: str

    def __str__(self) -> str:
        return f"{self.encoder.name}: completing {self.need.split} of {self.need.source}"


@dataclass(frozen=True)
class Score:
    """Run protocols on embeddings that are there."""

    encoder: EncoderRef
    task: str
    protocols: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.encoder.name} on {self.task}: {', '.join(self.protocols)}"


Job = Prepare | Survey | Embed | Seal | Score


@dataclass(frozen=True)
class Stock:
    """How much of what is needed the store has."""

    task: str  # any of the source
    examples: int
    shards: int
    size: int  # examples to a shard
    missing: tuple[int, ...]
    complete: bool


@dataclass(frozen=True)
class Surveyed:
    """What a unit needs: its cells with the embeddings that each reads, and the stock of those."""

    cells: tuple[tuple[str, str, tuple[Need, ...]], ...]  # task, protocol, needs
    stock: dict[Need, Stock]


@dataclass(frozen=True)
class Answer:
    """What a worker made of a job: `value`, or the `failure` to tell the user."""

    value: Any = None  # Surveyed; Embed: Pace; Seal: missing shards; Score: events
    failure: str = ""
    seconds: float = 0.0
    notices: tuple[Event, ...] = ()  # warnings, for the terminal
    measured: tuple[Measurement, ...] = ()  # for the throughput table
