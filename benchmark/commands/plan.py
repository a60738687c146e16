"""`ssl-bench plan`, and `ssl-bench eval --dry-run`."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.commands.evaluate import EvalRequest, planned, run_options
from benchmark.executors.choice import chosen
from benchmark.planning.forecast import Forecast, UnitForecast, forecast
from benchmark.planning.outlook import look_ahead
from benchmark.planning.throughput import Throughput
from benchmark.planning.trial import measure, prepare_all


def run_plan(request: EvalRequest, measuring: bool = False) -> None:
    """Print what the run would do; nothing is computed unless it is `measuring`.

    With the Ray executor the cluster is asked what it has.

    Raises:
        SslBenchError: what would keep the run from beginning.
    """
    work = planned(request)
    with chosen(request.executor) as executor:
        options = run_options(request, executor)
        machines = executor.machines(work.plan)
    outlooks = look_ahead(work.plan, options)
    if measuring:
        prepare_all(outlooks, options)
        outlooks = look_ahead(work.plan, options)
        measure(outlooks, options, Throughput.read())
        outlooks = look_ahead(work.plan, options)
    found = forecast(outlooks, Throughput.read(), machines)
    if request.as_json:
        typer.echo(json.dumps(as_dict(found), indent=1))
    else:
        _show(found)


def as_dict(found: Forecast) -> dict[str, Any]:
    """The forecast as JSON has it."""
    machines = found.machines
    return {
        "executor": machines.executor,
        "workers": machines.workers,
        "threads": machines.threads,
        "device": machines.device,
        "seconds": round(found.seconds, 2),
        "device_hours": round(found.device_hours, 4),
        "start_seconds": round(found.start, 2),
        "prepare_seconds": round(found.prepare, 2),
        "unmeasured": found.unmeasured,
        "units": [_unit(unit) for unit in found.units],
    }


def _unit(unit: UnitForecast) -> dict[str, Any]:
    stored = list(unit.outlook.stored.values())
    return {
        "encoder": unit.outlook.name,
        "tasks": list(dict.fromkeys(task for task, _ in unit.outlook.cells)),
        "known": unit.outlook.known,
        "to_score": len(unit.outlook.cells),
        "shards": sum(item.shards for item in stored),
        "shards_cached": sum(item.shards - len(item.missing) for item in stored),
        "examples": sum(item.examples_missing for item in stored),
        "bytes": unit.bytes,
        "load_seconds": round(unit.load, 3),
        "embed_seconds": round(unit.embed, 3),
        "score_seconds": round(unit.score, 3),
        "exact": not unit.inexact and not unit.unmeasured,
        "unprepared": unit.outlook.unprepared,
        "problem": unit.outlook.problem,
    }


def _show(found: Forecast) -> None:
    screen = Console()
    console = screen if screen.is_terminal else Console(width=160)
    table = Table(title="What the run would do")
    for name in ("encoder", "tasks"):
        table.add_column(name, overflow="fold")
    for name in ("known", "to score", "shards", "cached", "examples", "stores", "embed", "score"):
        table.add_column(name, justify="right")
    for unit in found.units:
        row = _unit(unit)
        about = "~" if unit.inexact else ""
        table.add_row(
            row["encoder"],
            escape(", ".join(row["tasks"])) or "[dim]all known[/]",
            *(f"{row[key]:,}" for key in ("known", "to_score", "shards", "shards_cached")),
            f"{row['examples']:,}",
            in_bytes(unit.bytes),
            f"{about}{in_time(unit.embed)}",
            f"{about}{in_time(unit.score)}",
        )
    console.print(table)
    _show_sum(found, console)


def _show_sum(found: Forecast, console: Console) -> None:
    def line(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    machines = found.machines
    each = f"{machines.workers} worker{'s' * (machines.workers != 1)}"
    each += f" of {machines.threads} thread{'s' * (machines.threads != 1)}"
    hours = "GPU-hours" if machines.device == "cuda" else "core-hours"
    line(
        f"{each} ({machines.executor}, {machines.device}): about "
        f"[bold]{in_time(found.seconds)}[/], {found.device_hours:.2f} {hours}, "
        f"{in_bytes(sum(unit.bytes for unit in found.units))} to store"
    )
    if any(unit.inexact for unit in found.units):
        line("[dim]~ measured on other data or with other encoders[/]")
    if found.unmeasured:
        some = "; ".join(found.unmeasured[:4])
        more = f" and {len(found.unmeasured) - 4} more" if len(found.unmeasured) > 4 else ""
        line(
            f"[yellow]not in the time above[/], since no run has measured it: {escape(some)}{more} "
            "(--measure embeds a shard of each, and keeps it)"
        )
    unprepared = dict.fromkeys(t for unit in found.units for t in unit.outlook.unprepared)
    if unprepared:
        line(
            f"[yellow]not prepared yet[/], so of unknown size: {escape(', '.join(unprepared))} "
            "(--measure prepares them)"
        )
    for problem in dict.fromkeys(u.outlook.problem for u in found.units if u.outlook.problem):
        line(f"[red]would fail[/]: {escape(problem)}")


def in_time(seconds: float) -> str:
    """Seconds in words: 0.4 s, 12 s, 3 min, 2.5 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def in_bytes(count: int) -> str:
    """Bytes in words: 12 kB, 3.4 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
