"""Can this result be true? What a result file claims is checked against the catalogue."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from benchmark.catalog import task_card
from benchmark.errors import SslBenchError
from benchmark.metrics import METRICS, higher_is_better
from benchmark.protocols.contract import RESAMPLES
from benchmark.results import Metric, Result

_RATES = frozenset({"recall", "precision", "f1", "auroc", "ap", "iou", "map"})
SLACK = 1e-6  # sums in float32 end a little beside 1


def check_result(result: Result) -> None:
    """Refuse a result that no evaluation by this version can have given.

    Raises:
        SslBenchError: which result, which field, and the remedy.
    """
    name = f"{result.encoder.name} on {result.task.name} / {result.protocol.name}"
    for field, problem in _problems(result):
        raise SslBenchError(
            f"{name}: {field}: {problem}; evaluate again with this version of ssl-bench"
        )


def _problems(result: Result) -> list[tuple[str, str]]:
    card = task_card(result.task.name)  # unknown: its own error
    found = []
    task, protocol = result.task, result.protocol
    for field, said, known in (
        ("task.version", task.version, card.version),
        ("task.modality", task.modality, card.modality),
        ("task.target", task.target, card.target.kind),
        ("task.simulated", task.simulated, card.simulated),
        ("task.published", task.published, card.published),
        ("task.classes", task.classes, card.target.classes),
        ("protocol.version", protocol.version, protocol_version(protocol.name)),
    ):
        if said != known:
            found.append((field, f"is {said!r}, the catalogue says {known!r}"))
    if card.published and not task.examples:
        found.append(("task.examples", "the numbers of examples are missing"))
    if result.metric not in result.metrics:
        found.append(("metric", f"{result.metric!r} is not among the metrics"))
        return found
    higher = higher_is_better(result.metric)
    if task.chance == task.ceiling or (task.ceiling > task.chance) != higher:
        found.append(("task.ceiling", f"{task.ceiling:g} and chance {task.chance:g} do not order"))
    for key, metric in result.metrics.items():
        found += [(f"metrics.{key}", problem) for problem in _metric_problems(key, metric)]
    for label, scores in result.per_class.items():
        for key, value in scores.items():
            if not _within(key, value):
                found.append((f"per_class.{label}.{key}", f"{value:g} is out of range"))
    found += [("replicates", problem) for problem in _replicate_problems(result)]
    return found


def _metric_problems(key: str, metric: Metric) -> list[str]:
    values = [metric.value, *(end for end in (metric.low, metric.high) if end is not None)]
    if not all(_within(key, value) for value in values):
        return [f"{', '.join(f'{value:g}' for value in values)} is out of range"]
    if (metric.low is None) != (metric.high is None):
        return ["has one end of an interval only"]
    if metric.low is not None and metric.high is not None and metric.low > metric.high:
        return ["its interval ends before it begins"]
    return []


def _replicate_problems(result: Result) -> list[str]:
    try:
        drawn = result.bootstrap()
    except ValueError:
        return ["cannot be decoded"]
    if drawn.shape != (RESAMPLES,):
        return [f"{drawn.size} values, {RESAMPLES} are needed"]
    if np.isnan(drawn).any():  # a single test group: no interval, no comparison
        return [] if np.isnan(drawn).all() and result.score.low is None else ["has NaN among them"]
    if not all(_within(result.metric, float(end)) for end in (drawn.min(), drawn.max())):
        return ["a value is out of range"]
    if result.score.low is None:
        return ["are there although the score has no interval"]
    return []


def _within(key: str, value: float) -> bool:
    """Whether a metric can have this value; of metrics that we do not know, any finite one."""
    base = key.partition("@")[0].partition(" ")[0]
    if not math.isfinite(value):
        return False
    if base == "mae":
        return value >= 0
    if base == "r2":
        return value <= 1 + SLACK
    if base in ("spearman", "pearson"):
        return abs(value) <= 1 + SLACK
    return base not in {*METRICS, *_RATES} or -SLACK <= value <= 1 + SLACK


@cache
def protocol_version(name: str) -> int:
    """This version's version of a protocol.

    Raises:
        SslBenchError: no such protocol.
    """
    from benchmark.protocols import protocol

    return int(protocol(name).version)
