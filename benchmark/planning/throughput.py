"""The throughput table: how long embedding, scoring and getting ready took, as runs measured it.

One JSON object to a line of `throughput.jsonl` in the cache folder; lines are added as they are
measured, and only the newest of each kind count.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal

from benchmark.paths import cache_root

What = Literal["embed", "size", "score", "load", "prepare", "start"]
NEWEST = 20  # measurements of a kind that count
LINES = 20_000  # of the table that are read


@dataclass(frozen=True)
class Measurement:
    """What took so many `seconds`; what does not apply is left empty."""

    what: What
    seconds: float = 0.0
    encoder: str = ""
    source: str = ""  # embed, size, prepare (there a task); start: the executor
    task: str = ""  # score
    detail: str = ""  # kind of output, or protocol
    device: str = ""
    threads: int = 0
    examples: int = 0
    bytes: int = 0  # size: of what is stored for the examples


_collecting: list[list[Measurement]] = []


def record(measurement: Measurement) -> None:
    """Add a measurement to the table; that it cannot be written is no reason to stop."""
    if _collecting:
        _collecting[-1].append(measurement)
        return
    path = table_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({k: v for k, v in asdict(measurement).items() if v}) + "\n"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, line.encode())  # in one piece: several processes add to it
        finally:
            os.close(file)


@contextmanager
def collected() -> Iterator[list[Measurement]]:
    """What is recorded inside the block, kept back from the table."""
    taken: list[Measurement] = []
    _collecting.append(taken)
    try:
        yield taken
    finally:
        _collecting.remove(taken)


def table_path() -> Path:
    """Where the table is kept."""
    return cache_root() / "throughput.jsonl"


@dataclass(frozen=True)
class Estimate:
    """Seconds, and whether they were measured on the very same work."""

    seconds: float
    exact: bool


class Throughput:
    """The table, read once."""

    def __init__(self, measurements: list[Measurement]) -> None:
        self._newest_first = measurements[::-1]

    @classmethod
    def read(cls) -> Throughput:
        """The table of this cache; damaged lines are passed over."""
        found = []
        try:
            lines = table_path().read_text().splitlines()[-LINES:]
        except OSError:
            lines = []
        for line in lines:
            with suppress(ValueError, TypeError):
                found.append(Measurement(**json.loads(line)))
        return cls(found)

    def embed(
        self, encoder: str, source: str, kind: str, device: str, threads: int, examples: int
    ) -> Estimate | None:
        """How long embedding so many examples takes: as it did on the same source, else on
        another one, else with another number of threads."""
        exact: dict[str, object] = {"encoder": encoder, "detail": kind, "device": device}
        for facts in ({"source": source, "threads": threads}, {"threads": threads}, {}):
            found = self._newest("embed", **exact, **facts)
            count = sum(m.examples for m in found)
            if count:
                seconds = sum(m.seconds for m in found) * examples / count
                return Estimate(seconds, len(facts) == 2)
        return None

    def bytes(self, encoder: str, source: str, kind: str, examples: int) -> int | None:
        """How much is stored for so many examples."""
        exact: dict[str, object] = {"encoder": encoder, "detail": kind}
        for facts in ({"source": source}, {}):
            found = [m for m in self._newest("size", **exact, **facts) if m.examples]
            if found:
                return found[0].bytes * examples // found[0].examples
        return None

    def score(
        self, encoder: str, task: str, protocol: str, device: str, threads: int
    ) -> Estimate | None:
        """How long a protocol takes: with this encoder, else as a rule with others."""
        exact: dict[str, object] = {"detail": protocol, "device": device}
        same: dict[str, object] = {"task": task, "threads": threads}
        for facts in ({**same, "encoder": encoder}, same, {"task": task}, {}):
            found = self._newest("score", **exact, **facts)
            if found:
                return Estimate(median(m.seconds for m in found), len(facts) == 3)
        return None

    def load(self, encoder: str) -> Estimate | None:
        """How long loading an encoder takes."""
        for facts in ({"encoder": encoder}, dict[str, str]()):
            found = self._newest("load", **facts)
            if found:
                return Estimate(median(m.seconds for m in found), bool(facts))
        return None

    def prepare(self, task: str) -> Estimate | None:
        """How long preparing the source of a task took."""
        found = self._newest("prepare", source=task)
        return Estimate(median(m.seconds for m in found), True) if found else None

    def start(self, executor: str) -> Estimate | None:
        """How long it takes until an executor's first worker is at work."""
        found = self._newest("start", source=executor)
        return Estimate(median(m.seconds for m in found), True) if found else None

    def _newest(self, what: What, **facts: object) -> list[Measurement]:
        found: list[Measurement] = []
        for measurement in self._newest_first:
            if measurement.what == what and all(
                getattr(measurement, name) == value for name, value in facts.items()
            ):
                found.append(measurement)
                if len(found) == NEWEST:
                    break
        return found
