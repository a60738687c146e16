"""Self-reported results that cannot be, and honest ones."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from leaderboard.validation.refusal import Refusal
from leaderboard.validation.results_file import check_results


def honest() -> dict[str, Any]:
    """A result of `mock-audio` as the engine writes it."""
    from benchmark.catalog import task_card

    card = task_card("oneshot-family")
    drawn = np.random.default_rng(0).normal(0.6, 0.03, 1000).astype("<f4")
    low, high = np.percentile(drawn.astype(np.float64), [2.5, 97.5])
    number = len(card.target.classes)
    return {
        "schema_version": 1,
        "identity": "0" * 32,
        "encoder": {
            "name": "mine", "title": "Mine", "kind": "pretrained", "modality": "audio",
            "weights": "own", "digest": "a" * 64, "dimension": 8,
        },
        "task": {
            "name": card.name, "title": card.title, "version": card.version, "modality": "audio",
            "target": card.target.kind, "classes": list(card.target.classes),
            "simulated": card.simulated, "chance": card.chance, "ceiling": card.ceiling,
            "published": card.published, "examples": card.published,
            "fingerprint": {"train": "1", "validation": "2", "test": "3"},
        },
        "protocol": {"name": "linear-probe", "version": 1},
        "metric": card.metric,
        "metrics": {card.metric: {"value": 0.6, "low": float(low), "high": float(high)}},
        "per_class": {card.target.classes[0]: {"recall": 0.5}},
        "confusion": [[1] * number] * number,
        "counts": {"test": 300},
        "seed": 0,
        "replicates": base64.b64encode(drawn.tobytes()).decode(),
        "environment": {
            "device": "cpu", "precision": "float32", "threads": 1, "batch_size": 32,
            "python": "3.11", "platform": "linux", "packages": {},
        },
        "cost": {
            "embed_seconds": 1.0, "samples_per_second": 10.0, "probe_seconds": 1.0,
            "peak_memory_mib": 100.0, "finished": "2026-01-01T00:00:00+00:00",
        },
    }  # fmt: skip


def changed(path: str, value: Any) -> dict[str, Any]:
    """An honest result with one field changed; METRIC stands for the main metric."""
    result = copy.deepcopy(honest())
    *parents, last = path.replace("METRIC", result["metric"]).split(".")
    place: Any = result
    for parent in parents:
        place = place[parent]
    place[last] = value
    return result


CASES = {  # name -> (results, words of the refusal)
    "score above 1": ([changed("metrics.METRIC.value", 1.5)], "out of range"),
    "another score above 1": (
        [changed("metrics", {**honest()["metrics"], "made_up": {"value": 7, "low": 6, "high": 8}})],
        "outside [0, 1]",
    ),
    "score below 0": ([changed("metrics.METRIC.value", -0.1)], "out of range"),
    "interval above 1": ([changed("metrics.METRIC.high", 2.0)], "out of range"),
    "outside its interval": ([changed("metrics.METRIC.value", 0.99)], "not in its interval"),
    "interval inside out": ([changed("metrics.METRIC.low", 0.9)], "ends before it begins"),
    "half an interval": ([changed("metrics.METRIC.low", None)], "one end of an interval"),
    "another interval": ([changed("metrics.METRIC.low", 0.4)], "not that of its replicates"),
    "no replicates": ([changed("replicates", "")], "1000 are needed"),
    "letters beside base64": (
        [changed("replicates", "\n<b>" + honest()["replicates"])], "cannot be decoded",
    ),
    "replicates are no base64": ([changed("replicates", "<script>")], "cannot be decoded"),
    "replicates of NaN": (
        [changed("replicates", base64.b64encode(np.full(1000, np.nan, "<f4")).decode())],
        "has NaN among them",
    ),
    "endless replicates": ([changed("replicates", "A" * 1_000_000)], "1,000,000 characters"),
    "main metric missing": ([changed("metric", "accuracy@7")], "not among the metrics"),
    "unknown task": ([changed("task.name", "oneshot-famly")], "Did you mean 'oneshot-family'"),
    "path as a task": ([changed("task.name", "../../etc/passwd")], "there is no task"),
    "SQL as a task": ([changed("task.name", "x'; DROP TABLE user; --")], "there is no task"),
    "task version": ([changed("task.version", 99)], "task.version: is 99"),
    "protocol version": ([changed("protocol.version", 0)], "protocol.version: is 0"),
    "unknown protocol": ([changed("protocol.name", "magic")], "no protocol 'magic'"),
    "protocol of other targets": ([changed("protocol.name", "verification")], "does not apply"),
    "other classes": ([changed("task.classes", ["a"])], "task.classes"),
    "real instead of simulated": ([changed("task.simulated", True)], "task.simulated"),
    "modality of the encoder": ([changed("encoder.modality", "ecg")], "encoder.modality"),
    "no fingerprint": ([changed("task.fingerprint", {})], "task.fingerprint"),
    "other data": ([changed("task.fingerprint", {"test": "other"})], "not those of this site"),
    "unknown field": ([changed("encoder.code", "import os")], "encoder.code"),
    "schema of the future": ([changed("schema_version", 2)], "schema_version"),
    "negative count": ([changed("counts", {"test": -1})], "negative count"),
    "huge number": ([changed("counts", {"test": 10**30})], "beyond any"),
    "confusion": ([changed("confusion", [[1]])], "confusion"),
    "speed": ([changed("cost.embed_seconds", -1.0)], "negative"),
    "future": ([changed("cost.finished", "2999-01-01T00:00:00+00:00")], "future"),
    "no date": ([changed("cost.finished", "soon")], "ISO 8601"),
    "endless title": ([changed("encoder.title", "x" * 100_000)], "100,000 characters"),
    "endless packages": (
        [changed("environment.packages", {str(i): "1" for i in range(6_000)})], "6,000 entries",
    ),
    "twice": ([honest(), honest()], "stands twice"),
    "two encoders": ([honest(), changed("encoder.name", "other")], "two encoders"),
    "none": ([], "at least one"),
}  # fmt: skip
KNOWN = {"oneshot-family": "3"}


@pytest.mark.parametrize("case", CASES)
def test_impossible_results_are_refused(case: str, refused: Callable[..., str]) -> None:
    results, words = CASES[case]
    data = json.dumps({"results": results}).encode()
    assert words in refused("results", data, fingerprints=KNOWN)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"results": [NaN]}', "NaN is not JSON"),
        (b'{"results": [], "results": []}', "stands twice"),
        (b'{"results": 7}', "at least one"),
        (b"\x80\x04N.", "a Python pickle"),
        (b'{"results": [1' + b"0" * 5_000 + b"]}", "not JSON"),
        (b'{"results": [1e999]}', "schema"),
        (b"[" + b"0," * 3_000_000 + b"0]", "more than 2,000,000 values"),
    ],
)
def test_what_is_no_results_file_is_refused(
    data: bytes, words: str, refused: Callable[..., str]
) -> None:
    if words == "schema":
        words = "model.file: results[0]"
    assert words in refused("results", data)


def test_honest_results_are_accepted() -> None:
    (result,) = check_results(json.dumps({"results": [honest()]}).encode(), "r.json", KNOWN)
    assert result.encoder.name == "mine"


def test_an_unbounded_metric_may_leave_zero_and_one() -> None:
    result = honest()
    result["metrics"]["r2"] = {"value": -3.0, "low": -4.0, "high": -2.0}
    check_results(json.dumps({"results": [result]}).encode(), "r.json")
    result["metrics"]["r2"]["high"] = 1.5
    with pytest.raises(Refusal, match="out of range"):
        check_results(json.dumps({"results": [result]}).encode(), "r.json")
