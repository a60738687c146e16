"""Data of the charts, as Plotly traces; `static/charts.js` adds colours and draws them.

Traces carry a `domain` or a `series` number in place of a colour, so that one answer serves the
light and the dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from benchmark.modalities import MODALITIES
from leaderboard.api.encoders import known_encoder
from leaderboard.api.reading import PUBLIC
from leaderboard.api.tasks import known_task
from leaderboard.db import Result
from leaderboard.dependencies import ReadSession, board_of
from leaderboard.pages.names import DOMAIN_TITLES
from leaderboard.queries.boards import BoardRow
from leaderboard.queries.results import documents, of_encoder, of_task, shown
from leaderboard.queries.table import TableQuery, make_table

router = APIRouter(prefix="/charts")
MOST_LINES = 8
MOST_CLASSES = 60


def chart(traces: Sequence[dict[str, Any]], **layout: Any) -> Response:
    """What charts.js reads."""
    return JSONResponse(
        {"traces": list(traces), "layout": layout}, headers={"Cache-Control": PUBLIC}
    )


@router.get("/tradeoff.json", name="tradeoff")
def tradeoff(
    request: Request,
    query: Annotated[TableQuery, Query()],
    x: Annotated[Literal["parameters", "speed"], Query()] = "parameters",
) -> Response:
    """Domain scores against parameters or throughput, with the Pareto front."""
    rows = make_table(
        board_of(request, query), query.model_copy(update={"page": 1, "per_page": 100_000})
    ).rows
    traces: list[dict[str, Any]] = []
    points: list[tuple[float, float]] = []
    for domain in MODALITIES if query.domain is None else (query.domain,):
        found = []
        for row in rows:
            place = row.places.get(domain)
            value = _abscissa(row, domain, x)
            if place is None or place.score is None or value is None:
                continue
            found.append((row, place, value))
            points.append((value, place.score))
        if found:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": DOMAIN_TITLES[domain],
                    "domain": domain,
                    "x": [value for _, _, value in found],
                    "y": [100 * (place.score or 0) for _, place, _ in found],
                    "error_y": {
                        "type": "data",
                        "symmetric": False,
                        "array": [_gap(place.high, place.score) for _, place, _ in found],
                        "arrayminus": [_gap(place.score, place.low) for _, place, _ in found],
                    },
                    "text": [row.name for row, _, _ in found],
                    "links": [f"/encoders/{row.slug}" for row, _, _ in found],
                    "hovertemplate": "%{text}<br>%{y:.1f} at %{x:.3s}<extra></extra>",
                }
            )
    front = pareto(points, smaller_is_better=x == "parameters")
    if len(front) > 1:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "role": "front",
                "x": [a for a, _ in front],
                "y": [100 * b for _, b in front],
                "hoverinfo": "skip",
            }
        )
    title = "parameters (0: none learned)" if x == "parameters" else "samples per second"
    return chart(
        traces, x=title, y="chance-normalised score, %", log=x, legend=query.domain is None
    )


def _abscissa(row: BoardRow, domain: str, x: str) -> float | None:
    if x == "parameters":
        return None if row.parameters is None else float(max(row.parameters, 0))
    place = row.places.get(domain)
    return None if place is None else place.samples_per_second


def _gap(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else 100 * max(0.0, high - low)


def pareto(
    points: Sequence[tuple[float, float]], smaller_is_better: bool
) -> list[tuple[float, float]]:
    """Points (x, score) that no other one beats in both, in the order of x."""
    best, front = -math.inf, []
    sign = 1 if smaller_is_better else -1
    for x, value in sorted(set(points), key=lambda point: (sign * point[0], -point[1])):
        if value > best:
            best = value
            front.append((x, value))
    return sorted(front)


@router.get("/label-efficiency.json", name="label_efficiency_chart")
def label_efficiency(
    request: Request, session: ReadSession, query: Annotated[TableQuery, Query()]
) -> Response:
    """Score against the share of training labels: chance-normalised mean over a domain's tasks, of
    the best encoders in view that have all of them."""
    domain = query.domain or _first_domain(request, query)
    listed = query.model_copy(update={"domain": domain, "page": 1, "per_page": 500})
    rows = make_table(board_of(request, listed), listed).rows
    slugs = [row.slug for row in rows][:MOST_LINES]
    results = session.scalars(
        shown(Result.modality == domain, Result.protocol == "label-efficiency")
    ).all()
    own = [result for result in results if result.encoder.slug in slugs]
    files = documents(session, own)
    tasks = {result.task for result in own}
    traces = []
    for number, slug in enumerate(slugs):
        mine = [result for result in own if result.encoder.slug == slug]
        if mine and {result.task for result in mine} == tasks:
            traces.append(_mean_curve(mine, files, number))
    return chart(
        [trace for trace in traces if trace["x"]],
        x="share of training labels, %",
        y="chance-normalised score, %",
        log="labels",
        legend=True,
        title=f"{DOMAIN_TITLES[domain]}, {len(tasks)} task{'s' * (len(tasks) != 1)}",
    )


def _first_domain(request: Request, query: TableQuery) -> str:
    """The domain with the most encoders in view."""
    rows = board_of(request, query)
    return max(MODALITIES, key=lambda domain: sum(domain in row.places for row in rows))


def _mean_curve(
    results: Sequence[Result], files: dict[int, dict[str, Any]], number: int
) -> dict[str, Any]:
    curves: dict[float, list[tuple[float, float, float]]] = {}
    for result in results:
        scale = result.ceiling - result.chance
        for point in files[result.id]["curve"]:
            if "fraction" in point:
                ends = [point.get(key, point["value"]) for key in ("value", "low", "high")]
                values = [(end - result.chance) / scale for end in ends]
                curves.setdefault(point["fraction"], []).append((values[0], values[1], values[2]))
    fractions = [f for f in sorted(curves) if len(curves[f]) == len(results)]
    means = [np.mean(curves[fraction], axis=0) for fraction in fractions]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": results[0].encoder.name,
        "series": number,
        "x": [100 * fraction for fraction in fractions],
        "y": [100 * float(mean[0]) for mean in means],
        "hovertemplate": "%{y:.1f} with %{x:g}% of the labels<extra>%{fullData.name}</extra>",
    }


@router.get("/tasks/{name}/curve.json", name="task_curve")
def task_curve(session: ReadSession, name: str, protocol: str = "label-efficiency") -> Response:
    """A protocol's curve on one task: over labels, or over shots."""
    card = known_task(name)
    results = of_task(session, card.name, protocol)[:MOST_LINES]
    files = documents(session, results)
    traces = []
    axis = "fraction"
    for number, result in enumerate(results):
        curve = files[result.id]["curve"]
        axis = "fraction" if curve and "fraction" in curve[0] else "shots"
        points = [point for point in curve if axis in point]
        scale = 100 if axis == "fraction" else 1
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": result.encoder.name,
                "series": number,
                "x": [scale * point[axis] for point in points],
                "y": [point["value"] for point in points],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [
                        point.get("high", point["value"]) - point["value"] for point in points
                    ],
                    "arrayminus": [
                        point["value"] - point.get("low", point["value"]) for point in points
                    ],
                },
            }
        )
    title = "share of training labels, %" if axis == "fraction" else "examples per class"
    metric = results[0].metric if results else ""
    return chart(traces, x=title, y=metric.partition("@")[0], log="labels", legend=True)


@router.get("/tasks/{name}/classes.json", name="task_classes")
def task_classes(session: ReadSession, name: str, protocol: str = "linear-probe") -> Response:
    """Per-class scores of the best encoders on one task."""
    card = known_task(name)
    results = of_task(session, card.name, protocol)[:6]
    files = documents(session, results)
    traces = []
    measure = ""
    for number, result in enumerate(results):
        per_class = dict(list(files[result.id]["per_class"].items())[:MOST_CLASSES])
        known = [key for key in next(iter(per_class.values()), {}) if key != "support"]
        if not known:
            continue
        measure = next((key for key in ("f1", "recall", "auroc", "ap") if key in known), known[0])
        traces.append(
            {
                "type": "bar",
                "name": result.encoder.name,
                "series": number,
                "x": [label.replace("_", " ") for label in per_class],
                "y": [scores.get(measure) for scores in per_class.values()],
            }
        )
    return chart(traces, x="", y=f"{measure} per class", log="", legend=True)


@router.get("/encoders/{slug}/radar.json", name="encoder_radar")
def radar(request: Request, session: ReadSession, slug: str) -> Response:
    """Chance-normalised scores over the domains; within one domain, over its tasks."""
    found = known_encoder(session, slug)
    board = board_of(request, TableQuery())
    row = next((row for row in board if row.slug == slug), None)
    scored = [
        (DOMAIN_TITLES[domain], place.score)
        for domain in MODALITIES
        if row is not None and (place := row.places.get(domain)) and place.score is not None
    ]
    if len(scored) < 3:
        scored = [
            (f"{result.task} · {result.protocol}", result.normalised)
            for result in of_encoder(session, found.id)
        ]
    return chart(
        [
            {
                "type": "scatterpolar",
                "name": found.name,
                "domain": found.modality,
                "theta": [name for name, _ in scored],
                "r": [100 * max(0.0, value or 0.0) for _, value in scored],
                "fill": "toself",
                "hovertemplate": "%{theta}: %{r:.1f}<extra></extra>",
            }
        ]
        if len(scored) > 2
        else [],
        polar=True,
    )
