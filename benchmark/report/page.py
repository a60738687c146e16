"""The HTML report: one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmark import __version__
from benchmark.bootstrap import rank_intervals
from benchmark.catalog import task_card
from benchmark.errors import SslBenchError
from benchmark.metrics import higher_is_better
from benchmark.modalities import MODALITIES, TITLES
from benchmark.paths import replacing
from benchmark.report import figures
from benchmark.report.summary import Cell, Row, Summary, normalised_score, summarise
from benchmark.results import Result, by_cell
from benchmark.task import ProtocolName, ReferenceScore


@dataclass(frozen=True)
class Line:
    """One result in a task's table."""

    result: Result
    rank: str
    low: float  # chance-normalised interval and value in %, cut to [0, 100] for the bar
    value: float
    high: float


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix with row-normalised shares for the shading."""

    result: Result
    rows: list[tuple[str, list[tuple[int, float]]]]


def write_page(
    results: Sequence[Result],
    path: Path,
    title: str,
    expected: Sequence[tuple[str, str, str]] = (),
) -> Path:
    """Render the report of some results.

    Raises:
        SslBenchError: results that do not go together, or the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    html = environment.get_template("page.html.j2").render(**context(results, title, expected))
    try:
        with replacing(path) as scratch:
            scratch.write_text(html, encoding="utf-8")
    except OSError as error:
        raise SslBenchError(
            f"cannot write {path}: {error.strerror}; choose another --out"
        ) from error
    return path


def context(
    results: Sequence[Result], title: str, expected: Sequence[tuple[str, str, str]] = ()
) -> dict[str, Any]:
    """Everything the template shows."""
    summary = summarise(results, expected)
    cells = by_cell(results)
    curves = [
        [r for r in encoders.values() if r.curve]
        for (_, protocol), encoders in sorted(cells.items())
        if protocol == "label-efficiency"
    ]
    newest = max(result.cost.finished for result in results)
    return {
        "title": title,
        "version": __version__,
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "newest": newest,
        "count": len(results),
        "domains": MODALITIES,
        "titles": TITLES,
        "rows": [{"row": row, "cells": _domain_cells(row, summary)} for row in summary.rows],
        "any_simulated": any(count for count, _ in summary.simulated.values()),
        "any_other_size": any(summary.other_size.values()),
        "any_total": any(row.total for row in summary.rows),
        "tables": {
            domain: [_task_table(cells[cell]) for cell in summary.cells[domain] if cell in cells]
            for domain in summary.cells
        },
        "mute": {cell: _without_zero_shot(cells, cell) for cell in cells},
        "published": {cell: published(*cell) for cell in cells},
        "simulated": summary.simulated,
        "other_size": summary.other_size,
        "curves": [(drawn[0].task, figures.label_efficiency(drawn)) for drawn in curves if drawn],
        "scatters": [figures.scatter(summary, field) for field in ("parameters", "throughput")],
        "confusions": [_confusion(r) for r in results if r.confusion],
        "provenance": _provenance(results),
    }


def _domain_cells(row: Row, summary: Summary) -> list[dict[str, Any] | None]:
    cells: list[dict[str, Any] | None] = []
    for domain in MODALITIES:
        score = row.domains.get(domain)
        if domain in row.missing:
            lacking = ", ".join("/".join(cell) for cell in row.missing[domain])
            cells.append({"missing": lacking})
        elif score is None:
            cells.append(None)
        else:
            simulated, tasks = summary.simulated[domain]
            cells.append(
                {
                    "estimate": score.estimate,
                    "rank": _rank_text(score.rank),
                    "seen": score.seen,
                    "shade": max(0.0, min(1.0, score.estimate.value)),
                    "other_size": ", ".join(summary.other_size[domain]),
                    "simulated": "sim" if simulated == tasks else "partly sim" if simulated else "",
                }
            )
    return cells


def _rank_text(rank: tuple[int, int]) -> str:
    return f"{rank[0]}" if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"


def _task_table(encoders: dict[str, Result]) -> list[Line]:
    results = list(encoders.values())
    higher = higher_is_better(results[0].metric.partition("@")[0])
    ranks = rank_intervals(
        [r.score.value for r in results], np.stack([r.bootstrap() for r in results]), higher
    )
    lines = []
    for result, rank in zip(results, ranks, strict=True):
        value, replicates = normalised_score(result)
        low, high = np.percentile(replicates, [2.5, 97.5])
        if np.isnan(low):  # one test group: no interval, no bar
            low = high = value
        low, value, high = (float(np.clip(100 * x, 0, 100)) for x in (low, value, high))
        lines.append(Line(result, _rank_text(rank), low, value, high))
    return sorted(
        lines, key=lambda line: -line.result.score.value if higher else line.result.score.value
    )


def _without_zero_shot(cells: dict[Cell, dict[str, Result]], cell: Cell) -> list[str]:
    """Encoders with scores of a task, but none under zero-shot; empty for other protocols."""
    if cell[1] != "zero-shot":
        return []
    found = {name for (task, _), scored in cells.items() if task == cell[0] for name in scored}
    return sorted(found - cells[cell].keys())


def published(task: str, protocol: str) -> list[ReferenceScore]:
    """Published scores of a task under a protocol, best first; none for a task not installed.

    Scores of a protocol that is none of ours (a tuned MLP, say) stand beside the linear probe's.
    """
    try:
        card = task_card(task)
    except SslBenchError:
        return []
    shown = {name: name for name in get_args(ProtocolName)}
    found = [
        score
        for score in card.reference_scores
        if shown.get(score.protocol, "linear-probe") == protocol
    ]
    return sorted(
        found, key=lambda score: (-1 if higher_is_better(score.metric) else 1) * score.value
    )


def _confusion(result: Result) -> Confusion:
    rows = []
    names = result.task.classes or tuple(str(i) for i in range(len(result.confusion or [])))
    for name, counts in zip(names, result.confusion or [], strict=False):
        total = sum(counts) or 1
        rows.append((name, [(count, count / total) for count in counts]))
    return Confusion(result, rows)


def _provenance(results: Sequence[Result]) -> dict[str, Any]:
    encoders = {r.encoder.name: r.encoder for r in results}
    return {
        "encoders": sorted(encoders.values(), key=lambda e: (e.modality, e.name)),
        "environments": list(
            {r.environment.model_dump_json(): r.environment for r in results}.values()
        ),
        "seeds": sorted({r.seed for r in results}),
    }
