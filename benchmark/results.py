"""The result file: one JSON per (encoder, task, protocol), with full provenance."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from benchmark.errors import SslBenchError
from benchmark.paths import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _absent(value: Any) -> Any:
    """None for NaN, which JSON does not have."""
    return None if isinstance(value, float) and isnan(value) else value


def _without_absent(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if _absent(v) is not None} for row in rows]


_End = Annotated[float | None, BeforeValidator(_absent)]


class EncoderInfo(_Strict):
    """Which encoder, to the bit."""

    name: str
    title: str
    kind: Literal["features", "control", "pretrained", "adapter"]
    modality: str
    weights: Literal["none", "random", "published", "checkpoint", "own"]
    digest: str
    checkpoint_sha256: str | None = None
    revision: str | None = None  # commit of the hub's repository that the weights come from
    parameters: int | None = None
    dimension: int
    input: dict[str, Any] = {}
    licence: str = ""
    paper: str = ""
    pretraining: str = ""
    seen_in_pretraining: bool = False


class TaskInfo(_Strict):
    """Which task, on which data."""

    name: str
    title: str
    version: int
    modality: str
    target: str
    classes: tuple[str, ...] = ()
    simulated: bool
    chance: float
    ceiling: float
    fingerprint: dict[str, str]  # split -> hash of inputs and targets
    examples: dict[str, int] = {}  # split -> how many, counted where a published size is known
    published: dict[str, int] = {}  # how many were published: by split, or `all`

    @property
    def other_size(self) -> str:
        """How the size of the data differs from the published one; "" where it does not."""
        from benchmark.published import other_size

        return other_size(self.examples, self.published)


class ProtocolInfo(_Strict):
    name: str
    version: int


class Metric(_Strict):
    """A score with its 95% interval; none where the test split has a single group."""

    value: float
    low: _End
    high: _End


class Environment(_Strict):
    """Where the numbers come from."""

    device: str
    precision: str
    threads: int  # per worker process; sums are in another order with another number
    batch_size: int
    store_dtype: str = "float32"  # at which embeddings were stored
    python: str
    platform: str
    packages: dict[str, str]
    revision: str | None = None  # git revision of ssl-bench, "+" for local changes


class Cost(_Strict):
    """What it took; the only part that differs between two runs of the same thing."""

    embed_seconds: float
    samples_per_second: float | None
    probe_seconds: float
    peak_memory_mib: float
    finished: str  # UTC, ISO 8601


class Result(_Strict):
    """One score with its interval and its provenance."""

    schema_version: Literal[1] = 1
    identity: str  # hash of all that the score depends on
    encoder: EncoderInfo
    task: TaskInfo
    protocol: ProtocolInfo
    metric: str
    metrics: dict[str, Metric]
    per_class: dict[str, dict[str, float]] = {}
    confusion: list[list[int]] | None = None
    curve: Annotated[list[dict[str, float]], BeforeValidator(_without_absent)] = []
    hyperparameters: dict[str, Any] = {}
    counts: dict[str, int] = {}
    seed: int
    replicates: str  # base64 of little-endian float32, the main metric on shared resamples
    environment: Environment
    cost: Cost

    @property
    def score(self) -> Metric:
        """The main metric."""
        return self.metrics[self.metric]

    @property
    def file_name(self) -> str:
        """`<encoder>--<task>--<protocol>.json`, safe on every file system."""
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in self.encoder.name)
        return f"{safe}--{self.task.name}--{self.protocol.name}.json"

    def bootstrap(self) -> NDArray[np.float32]:
        """The main metric on every resample, (R,) float32."""
        import numpy as np

        return np.frombuffer(base64.b64decode(self.replicates), "<f4")


def pack(replicates: NDArray[Any]) -> str:
    """Replicates as they stand in a result file."""
    return base64.b64encode(replicates.astype("<f4").tobytes()).decode()


def write_result(result: Result, folder: Path, name: str | None = None) -> Path:
    """Write one result file atomically; returns its path."""
    path = folder / (name or result.file_name)
    text = json.dumps(result.model_dump(mode="json"), indent=1, allow_nan=False)
    with _writable(path), replacing(path) as scratch:
        scratch.write_text(text)
    return path


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    """One clear error where a file of a run cannot be written."""
    try:
        yield
    except OSError as error:
        raise SslBenchError(
            f"cannot write {path}: {error.strerror}; free the disk or choose another --out"
        ) from error


def read_result(path: Path) -> Result:
    """Read one result file.

    Raises:
        SslBenchError: not there, not JSON, or not a result of this schema; names the field.
    """
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SslBenchError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise SslBenchError(
            f"{path} is not a result of schema {SCHEMA_VERSION}: {field}: {problem['msg']}; "
            "evaluate again with this version of ssl-bench"
        ) from None


def read_run(path: Path) -> list[Result]:
    """All results of a run: its folder (or its `results` folder), or one result file.

    Raises:
        SslBenchError: nothing there, no result in it, or a damaged result.
    """
    if path.is_file():
        return [read_result(path)]
    folder = path / "results" if (path / "results").is_dir() else path
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise SslBenchError(
            f"{path} holds no results: give a run's folder, as `ssl-bench eval --out` wrote it"
        )
    return [read_result(file) for file in files]


def write_cells(folder: Path, cells: Iterable[tuple[str, str, str]]) -> None:
    """Note in `run.json` which (modality, task, protocol) a run is made of, beside those it had:
    an encoder that lacks one of them is incomplete."""
    known = sorted({*read_cells(folder), *cells})
    path = folder / "run.json"
    with _writable(path), replacing(path) as scratch:
        scratch.write_text(json.dumps({"schema_version": SCHEMA_VERSION, "cells": known}, indent=1))


def read_cells(folder: Path) -> list[tuple[str, str, str]]:
    """What `write_cells` noted; empty where there is nothing readable."""
    try:
        cells = json.loads((folder / "run.json").read_text())["cells"]
        return [(str(a), str(b), str(c)) for a, b, c in cells]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def by_cell(results: Iterable[Result]) -> dict[tuple[str, str], dict[str, Result]]:
    """(task, protocol) -> encoder name -> result."""
    cells: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        cell = cells.setdefault((result.task.name, result.protocol.name), {})
        cell[result.encoder.name] = result
    return cells
