"""Between result files and rows: what was sent can be had again, bit for bit in its meaning."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmark.bootstrap import normalised
from benchmark.metrics import higher_is_better
from benchmark.results import Result as ResultFile
from leaderboard.db import Result, ResultPayload, ResultState


def row_of(file: ResultFile, encoder_id: int, state: ResultState) -> Result:
    """A new row, with its payload, for a result that was checked."""
    score, task = file.score, file.task
    low, high = sorted_interval(file)
    document = file.model_dump(mode="json", exclude={"replicates"})
    return Result(
        encoder_id=encoder_id,
        state=state,
        task=task.name,
        task_version=task.version,
        protocol=file.protocol.name,
        protocol_version=file.protocol.version,
        modality=task.modality,
        simulated=task.simulated,
        other_size=bool(task.other_size),
        seed=file.seed,
        identity=file.identity,
        fingerprint=test_fingerprint(file),
        metric=file.metric,
        score=score.value,
        low=score.low,
        high=score.high,
        chance=task.chance,
        ceiling=task.ceiling,
        normalised=_normalised(file, score.value),
        normalised_low=low,
        normalised_high=high,
        checkpoint_sha256=file.encoder.checkpoint_sha256,
        encoder_digest=file.encoder.digest,
        samples_per_second=file.cost.samples_per_second,
        seen_in_pretraining=file.encoder.seen_in_pretraining,
        measured=_time(file.cost.finished),
        payload=ResultPayload(
            document=document, replicates=file.bootstrap().astype("<f4").tobytes()
        ),
    )


def file_of(payload: ResultPayload) -> dict[str, Any]:
    """The result file as it was sent."""
    replicates = base64.b64encode(payload.replicates).decode()
    return ResultFile(**payload.document, replicates=replicates).model_dump(mode="json")


def replicates_of(payload: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(R,) float32."""
    return np.frombuffer(payload, "<f4")


def sorted_interval(file: ResultFile) -> tuple[float | None, float | None]:
    """The chance-normalised interval, lower end first (where lower is better, it turns over)."""
    score = file.score
    if score.low is None or score.high is None:
        return None, None
    ends = sorted((_normalised(file, score.low), _normalised(file, score.high)))
    return ends[0], ends[1]


def test_fingerprint(file: ResultFile) -> str:
    """The data that the score is on: of the test split, or of all where splits are folds."""
    known = file.task.fingerprint
    if "test" in known:
        return known["test"]
    import hashlib

    text = "\n".join(f"{split} {value}" for split, value in sorted(known.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _normalised(file: ResultFile, value: float) -> float:
    return float(normalised(value, file.task.chance, file.task.ceiling, file.metric))


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def better(metric: str, a: float, b: float) -> bool:
    """Whether score a is better than b."""
    return a > b if higher_is_better(metric) else a < b


def finite(value: float | None) -> float | None:
    """None for NaN, as JSON and the database want it."""
    return None if value is None or math.isnan(value) else float(value)
