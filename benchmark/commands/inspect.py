"""`ssl-bench check`, `compare` and `report`."""

from __future__ import annotations

import json
import sys
from math import isnan
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.errors import SslBenchError
from benchmark.results import Result, by_cell, read_cells, read_run


def check_command(
    name: str,
    checkpoint: Path | None,
    init: Literal["random"] | None,
    device: str,
    modality: str | None,
    input_options: dict[str, Any],
    seed: int,
) -> None:
    """Every check of one encoder, one line each; exit status 1 when one fails."""
    from benchmark.check import check_encoder
    from benchmark.encoder import load_encoder
    from benchmark.executors.device import choose_device

    device = choose_device(device)
    encoder = load_encoder(
        name,
        checkpoint=checkpoint,
        init=init,
        modality=modality,
        input_options=input_options,
        seed=seed,
    )
    console = Console()
    parameters = encoder.card.parameters or 0
    console.print(
        f"[bold]{escape(encoder.name)}[/] {encoder.modality}, {parameters:,} parameters, "
        f"input {escape(encoder.spec.model_dump_json(exclude_defaults=True))}",
        highlight=False,
        soft_wrap=True,
    )
    bad = 0
    for finding in check_encoder(encoder, device):
        mark = "[green]ok[/]  " if finding.passed else "[red]FAIL[/]"
        line = f"  {mark} {finding.check}: {escape(finding.detail)}"
        console.print(line, highlight=False, soft_wrap=True)
        bad += not finding.passed
    if bad:
        sys.exit(1)
    console.print("[green]ready[/]: ssl-bench eval --model " + escape(name) + " --task all")


def compare_command(runs: list[Path], protocol: str | None, as_json: bool) -> None:
    """Paired differences between the encoders of one run, or of two runs.

    Raises:
        SslBenchError: nothing in common, more than two runs, or results that cannot be compared.
    """
    if len(runs) > 2:
        raise SslBenchError("compare takes one run (its encoders with each other) or two runs")
    first = read_run(runs[0])
    second = read_run(runs[1]) if len(runs) == 2 else None
    rows = [row for row in comparisons(first, second) if protocol in (None, row["protocol"])]
    if not rows:
        raise SslBenchError(
            "nothing to compare: the runs share no task and protocol with different encoders"
            if second is not None
            else "nothing to compare: the run holds one encoder per task; give a second run"
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from benchmark.report.tables import OTHER_SIZE, SIMULATED

    table = Table(title="Paired differences", title_style="bold", header_style="bold")
    table.caption = (
        "difference a - b with 95% interval by paired bootstrap over the same resampled groups; "
        f"real: p < 0.05 (no correction for the number of comparisons); {SIMULATED} simulated data"
    )
    if any(row["other_size"] for row in rows):
        table.caption += f"; {OTHER_SIZE} another number of examples than were published"
    for column in ("task", "protocol", "metric", "a", "b", "a", "b", "a - b", "p", "real"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        verdict = "[green]yes" if row["real"] else "[dim]no"
        mark = SIMULATED * row["simulated"] + OTHER_SIZE * bool(row["other_size"])
        table.add_row(
            row["task"],
            row["protocol"],
            row["metric"],
            row["a"],
            row["b"],
            f"{row['value_a']:.3f}{mark}",
            f"{row['value_b']:.3f}{mark}",
            f"{row['difference']:+.3f}"
            + ("" if row["low"] is None else f" [{row['low']:+.3f}, {row['high']:+.3f}]"),
            f"{row['p']:.4f}",
            verdict,
        )
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def comparisons(first: list[Result], second: list[Result] | None) -> list[dict[str, Any]]:
    """Paired differences: within `first`, or of `first` against `second`, cell by cell.

    Raises:
        SslBenchError: two results of one cell that are on other data or versions.
    """
    left, right = by_cell(first), by_cell(first if second is None else second)
    rows = []
    for cell in sorted(left.keys() & right.keys()):
        for name_a, a in sorted(left[cell].items()):
            for name_b, b in sorted(right[cell].items()):
                if second is None and name_a >= name_b:
                    continue
                if second is not None and a.identity == b.identity and name_a == name_b:
                    continue
                if second is not None and name_a != name_b and name_a in right[cell]:
                    continue  # the same encoder stands in both runs: compare it with itself
                rows.append(_difference(cell, a, b, two_runs=second is not None))
    return rows


def _difference(cell: tuple[str, str], a: Result, b: Result, two_runs: bool) -> dict[str, Any]:
    from benchmark.bootstrap import LEVEL, paired_difference

    facts = [
        (r.task.version, r.protocol.version, r.task.fingerprint["test"], r.seed) for r in (a, b)
    ]
    if facts[0] != facts[1] or a.metric != b.metric:
        raise SslBenchError(
            f"{cell[0]} / {cell[1]}: {a.encoder.name} and {b.encoder.name} were scored with other "
            "versions, data or seeds and cannot be compared; evaluate both again"
        )
    difference, low, high, p = paired_difference(
        a.bootstrap(), b.bootstrap(), a.score.value, b.score.value
    )
    return {
        "task": cell[0],
        "protocol": cell[1],
        "metric": a.metric,
        "simulated": a.task.simulated,
        "other_size": a.task.other_size,
        "a": a.encoder.name + (" (1)" if two_runs and a.encoder.name == b.encoder.name else ""),
        "b": b.encoder.name + (" (2)" if two_runs and a.encoder.name == b.encoder.name else ""),
        "value_a": a.score.value,
        "value_b": b.score.value,
        "difference": difference,
        "low": None if isnan(low) else low,  # a single test group
        "high": None if isnan(high) else high,
        "p": p,
        "real": bool(p < LEVEL and difference != 0),
    }


def report_command(runs: list[Path], out: Path | None, title: str) -> None:
    """Write the HTML page and say where."""
    from benchmark.report.page import write_page

    results: dict[str, Result] = {}
    expected: list[tuple[str, str, str]] = []
    for run in runs:
        expected += read_cells(run)
        for result in read_run(run):
            known = results.setdefault(result.file_name, result)
            if known.identity != result.identity:
                raise SslBenchError(
                    f"the runs hold two results of {result.encoder.name} on {result.task.name} / "
                    f"{result.protocol.name} (other weights, seed or version): report them apart, "
                    "or compare them with `ssl-bench compare`"
                )
    default = (runs[0] if runs[0].is_dir() else runs[0].parent) / "report.html"
    path = write_page(list(results.values()), out or default, title, expected)
    size = path.stat().st_size / 1e6
    Console(stderr=True).print(
        f"{escape(str(path))} ({size:.1f} MB)", highlight=False, soft_wrap=True
    )
