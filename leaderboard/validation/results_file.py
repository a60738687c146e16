"""Self-reported results: `{"results": [...]}`, each as the engine wrote it, nothing impossible."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from benchmark.errors import SslBenchError
from benchmark.protocols.contract import RESAMPLES
from benchmark.results import Metric, Result
from leaderboard.results.documents import test_fingerprint
from leaderboard.results.plausible import check_result
from leaderboard.validation.content import HEAD, refuse_other_content
from leaderboard.validation.refusal import Refusal, shown
from leaderboard.validation.strict_json import parse_json

if TYPE_CHECKING:
    from benchmark.task import TaskCard

MAX_BYTES = 64 * 2**20
MAX_RESULTS = 2_000
MAX_TEXT = 4_000
MAX_ENTRIES = 5_000  # of any list or mapping in a result
EVALUATE = "evaluate again with this version of ssl-bench and send the files unchanged"
SLACK = 1e-6
RANGES = {
    "r2": (-math.inf, 1.0),
    "mae": (0.0, math.inf),
    "pearson": (-1.0, 1.0),
    "spearman": (-1.0, 1.0),
    "min_dcf": (0.0, math.inf),
}  # every other metric lies in [0, 1]
Fingerprints = Mapping[str, str]  # task -> hash of its test data, as this server knows it


def check_results(data: bytes, name: str, fingerprints: Fingerprints | None = None) -> list[Result]:
    """The results of one encoder in a file.

    Raises:
        Refusal: not results of this version of the benchmark, or numbers that cannot be.
    """
    refuse_other_content(data[:HEAD], name, "a results file", EVALUATE)
    document = parse_json(data, name, "content", EVALUATE, max_bytes=MAX_BYTES, max_depth=12)
    entries = document.get("results") if isinstance(document, dict) else None
    if (
        not isinstance(entries, list)
        or not entries
        or set(document) - {"results", "schema_version"}
    ):
        raise Refusal(name, "content", 'it is not {"results": [...]} with at least one', EVALUATE)
    if len(entries) > MAX_RESULTS:
        raise Refusal(name, "results", f"{len(entries):,}, at most {MAX_RESULTS:,}", "send fewer")
    results = [_parse(entry, f"results[{i}]", name) for i, entry in enumerate(entries)]
    for i, result in enumerate(results):
        _Check(result, f"results[{i}] {result.task.name}/{result.protocol.name}", name).all(
            (fingerprints or {}).get(result.task.name)
        )
    _check_together(results, name)
    return results


def _parse(entry: Any, where: str, name: str) -> Result:
    _check_bounds(entry, where, name)
    try:
        return Result.model_validate(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise Refusal(name, f"{where}.{field}", problem["msg"], EVALUATE) from None


def _check_bounds(value: Any, where: str, name: str) -> None:
    """No text, list or mapping beyond what a result can hold."""
    if isinstance(value, str):
        if len(value) > (8 * RESAMPLES if where.endswith(".replicates") else MAX_TEXT):
            raise Refusal(name, where, f"a text of {len(value):,} characters", EVALUATE)
    elif isinstance(value, float | int) and not isinstance(value, bool):
        if abs(value) > 1e15:
            raise Refusal(name, where, f"{value:g} is beyond any score or count", EVALUATE)
    elif isinstance(value, dict | list):
        if len(value) > MAX_ENTRIES:
            raise Refusal(name, where, f"{len(value):,} entries", EVALUATE)
        pairs: Iterable[tuple[Any, Any]]
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            if isinstance(key, str) and len(key) > 300:
                raise Refusal(name, where, "a name of more than 300 characters", EVALUATE)
            _check_bounds(part, f"{where}.{shown(key, 60)}", name)


def _check_together(results: list[Result], name: str) -> None:
    """One encoder, every (task, protocol) once."""
    first = results[0].encoder
    cells = set()
    for result in results:
        encoder = result.encoder
        if (encoder.name, encoder.digest) != (first.name, first.digest):
            raise Refusal(
                name,
                "results",
                f"two encoders, {shown(first.name)} and {shown(encoder.name)} (or two digests)",
                "send one encoder at a time",
            )
        cell = (result.task.name, result.protocol.name)
        if cell in cells:
            raise Refusal(name, "results", f"{'/'.join(cell)} stands twice", "send it once")
        cells.add(cell)


class _Check:
    """What one result says, against the catalog and against itself."""

    def __init__(self, result: Result, where: str, name: str) -> None:
        self.result, self.where, self.name = result, where, name

    def refuse(self, field: str, problem: str, remedy: str = EVALUATE) -> Refusal:
        return Refusal(self.name, f"{self.where}: {field}", problem, remedy)

    def all(self, fingerprint: str | None) -> None:
        card = self.catalog()
        self.data(fingerprint)
        for key, metric in self.result.metrics.items():
            self.metric(key, metric)
        self.replicates()
        self.confusion(len(card.target.classes))
        self.numbers()

    def catalog(self) -> TaskCard:
        """What publication checks too, and whether encoder, task and protocol go together."""
        from benchmark.catalog import task_card
        from benchmark.known import protocol_targets

        given = self.result
        try:
            check_result(given)
        except SslBenchError as error:
            problem, _, remedy = str(error).partition("; ")
            field, _, told = problem.rpartition(" / ")[2].partition(": ")[2].partition(": ")
            if not told:  # no such task or protocol
                field, told = "task or protocol", problem
            raise self.refuse(field, told, remedy or EVALUATE) from None
        card = task_card(given.task.name)
        if given.encoder.modality != card.modality:
            raise self.refuse("encoder.modality", f"the task is of {card.modality}")
        if card.target.kind not in protocol_targets(given.protocol.name):
            raise self.refuse(
                "protocol.name",
                f"{given.protocol.name} does not apply to {card.target.kind} targets",
            )
        return card

    def data(self, known: str | None) -> None:
        if not self.result.task.fingerprint:
            raise self.refuse("task.fingerprint", "it is empty")
        if known is not None and test_fingerprint(self.result) != known:
            raise self.refuse(
                "task.fingerprint",
                "the data are not those of this site",
                "get the dataset again (`ssl-bench data fetch`) and evaluate again",
            )

    def metric(self, key: str, metric: Metric) -> None:
        """Within the metric's range, inside its interval."""
        base = key.partition("@")[0].partition(" ")[0]
        low, high = RANGES.get(base, (0.0, 1.0))
        for field, value in (("value", metric.value), ("low", metric.low), ("high", metric.high)):
            if value is not None and not low - SLACK <= value <= high + SLACK:
                raise self.refuse(
                    f"metrics.{shown(key, 60)}.{field}",
                    f"{value:g} is outside [{low:g}, {high:g}], the range of {shown(base, 60)}",
                )
        if metric.low is not None and metric.high is not None:
            # A percentile interval of a metric with a ceiling may lie a little beside its score.
            width = metric.high - metric.low
            if not metric.low - width <= metric.value <= metric.high + width:
                raise self.refuse(
                    f"metrics.{shown(key, 60)}",
                    f"{metric.value:g} is not in its interval {metric.low:g} to {metric.high:g}",
                )

    def replicates(self) -> None:
        """The main score's interval is that of its replicates."""
        score = self.result.score
        try:
            base64.b64decode(self.result.replicates, validate=True)
        except (binascii.Error, ValueError):
            raise self.refuse("replicates", "not base64 of float32") from None
        if score.low is None or score.high is None:
            return
        values = self.result.bootstrap().astype(np.float64)
        tolerance = 1e-3 * max(1.0, abs(score.low), abs(score.high))
        if abs(np.percentile(values, [2.5, 97.5]) - [score.low, score.high]).max() > tolerance:
            raise self.refuse(
                f"metrics.{shown(self.result.metric, 60)}",
                "its interval is not that of its replicates",
            )

    def confusion(self, number: int) -> None:
        rows = self.result.confusion
        if rows is not None and (
            len(rows) != number
            or any(len(row) != number or min(row, default=0) < 0 for row in rows)
        ):
            raise self.refuse("confusion", f"it is not {number} x {number} counts")

    def numbers(self) -> None:
        """Counts and costs that can be, a date that has been."""
        cost = self.result.cost
        if any(count < 0 for count in self.result.counts.values()):
            raise self.refuse("counts", "a negative count")
        parameters = self.result.encoder.parameters
        if self.result.encoder.dimension < 1 or (parameters is not None and parameters < 0):
            raise self.refuse("encoder.dimension", "not positive")
        spent = (cost.embed_seconds, cost.probe_seconds, cost.peak_memory_mib)
        if not all(math.isfinite(x) and x >= 0 for x in (*spent, cost.samples_per_second or 0.0)):
            raise self.refuse("cost", "a number that is negative or not finite")
        try:
            finished = datetime.fromisoformat(cost.finished)
        except ValueError:
            raise self.refuse("cost.finished", "not an ISO 8601 time") from None
        finished = finished if finished.tzinfo else finished.replace(tzinfo=UTC)
        if finished > datetime.now(UTC) + timedelta(days=1):
            raise self.refuse("cost.finished", "it lies in the future", "set your clock")
