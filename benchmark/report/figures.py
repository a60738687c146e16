"""Figures of the report, as inline SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from benchmark.modalities import MODALITIES, TITLES
from benchmark.report.summary import Summary
from benchmark.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = dict(
    zip(MODALITIES, ("#0072b2", "#e69f00", "#cc79a7", "#d55e00", "#009e73", "#56b4e9"), strict=True)
)  # Okabe & Ito: told apart by the colour-blind


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "ssl-bench"
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element that scales with the page and has a text alternative."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = label.replace("&", "and").replace('"', "'").replace("<", "")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def label_efficiency(results: Sequence[Result]) -> str:
    """Score against the share of training labels, one line per encoder, 95% bands."""
    figure, axes = _figure(5.2, 3.4)
    for result in sorted(results, key=lambda r: r.encoder.name):
        points = sorted(result.curve, key=lambda point: point["fraction"])
        x = [100 * point["fraction"] for point in points]
        (line,) = axes.plot(x, [p["value"] for p in points], marker="o", label=result.encoder.name)
        low, high = ([p.get(end, p["value"]) for p in points] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    first = results[0]
    axes.axhline(first.task.chance, color="grey", linestyle=":", linewidth=1, label="chance")
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}%" for value in x])
    axes.minorticks_off()
    axes.set_xlabel("training labels")
    axes.set_ylabel(first.metric)
    axes.legend(fontsize=8)
    return _svg(figure, f"label efficiency on {first.task.name}")


def _points(summary: Summary, field: str) -> list[tuple[str, str, float, float, float, float]]:
    """(encoder, domain, x, score, low, high) of every complete domain score."""
    points = []
    for row in summary.rows:
        for domain, score in row.domains.items():
            own = [r for r in row.results.values() if r.task.modality == domain]
            if field == "parameters":
                x = float(own[0].encoder.parameters or 0)
            else:
                rates = [r.cost.samples_per_second for r in own if r.cost.samples_per_second]
                x = sum(rates) / len(rates) if rates else 0.0
            e = score.estimate
            points.append((row.encoder, domain, x, e.value, e.low, e.high))
    return points


def _spread(points: list[tuple[float, float]], gap: float = 2.2) -> list[float]:
    """Heights for the labels of points (x, y): moved up where another label is near."""
    heights: dict[int, float] = {}
    for index in sorted(range(len(points)), key=lambda i: points[i][1]):
        x, height = points[index]
        near = [
            other
            for i, other in heights.items()
            if max(points[i][0], x) < 4 * min(points[i][0], x) or points[i][0] == x
        ]
        while any(abs(height - other) < gap for other in near):
            height += 0.2
        heights[index] = height
    return [heights[index] for index in range(len(points))]


def scatter(summary: Summary, field: str) -> str:
    """Chance-normalised domain score against `parameters` or `throughput`."""
    figure, axes = _figure(6.4, 4.2)
    titles = {
        "parameters": "parameters (0: no learned weights)",
        "throughput": "embedding throughput (samples/s)",
    }
    seen: set[str] = set()
    points = _points(summary, field)
    heights = _spread([(x, 100 * value) for _, _, x, value, _, _ in points])
    for (encoder, domain, x, value, low, high), height in zip(points, heights, strict=True):
        simulated, tasks = summary.simulated[domain]
        mark = " (sim)" if simulated == tasks else " (partly sim)" if simulated else ""
        label = TITLES[domain] + mark if domain not in seen else None
        seen.add(domain)
        bars: Any = None
        if isfinite(low):
            bars = [[max(0.0, 100 * (value - low))], [max(0.0, 100 * (high - value))]]
        axes.errorbar(
            [x], [100 * value], bars, fmt="o", color=COLOURS[domain], label=label, capsize=2
        )
        axes.annotate(encoder, (x, height), xytext=(6, -2), textcoords="offset points", fontsize=7)
    axes.set_xscale("symlog", linthresh=1e4 if field == "parameters" else 1.0)
    if field == "parameters":
        axes.set_xlim(-1000, max(axes.get_xlim()[1], 1e5))
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel(titles[field])
    axes.set_ylabel("chance-normalised score (%)")
    axes.legend(fontsize=8)
    return _svg(figure, f"domain score against {titles[field]}")
