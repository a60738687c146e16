"""`ssl-bench data`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.catalog import load_task, task_cards
from benchmark.errors import SslBenchError
from benchmark.plan import select_tasks


def status_command(data_dir: Path | str | None) -> None:
    """A table of all tasks and the state of their data."""
    from benchmark.datacheck import State, task_state

    table = Table(title="Data", title_style="bold", header_style="bold", title_justify="left")
    for column in ("task", "state", "data", "size", "access", "licence", "detail"):
        table.add_column(column, overflow="fold", min_width=8 if column == "state" else None)
    colours = {"absent": "red", "partial": "yellow"}
    known: dict[str, State] = {}  # tasks of one source share their files
    for card in task_cards():
        try:
            task = load_task(card.name, data_dir)
            state = known.get(task.source) or task_state(task)
            known[task.source] = state
        except (ImportError, SslBenchError) as error:
            state = State("absent", str(error))
        colour = colours.get(state.name, "green")
        table.add_row(
            card.name,
            f"[{colour}]{state.name}",
            "simulated" if card.simulated else "real",
            escape(card.size),
            card.access,
            escape(card.licence),
            escape(state.detail),
        )
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


def check_command(names: list[str], data_dir: Path | str | None) -> None:
    """All problems of the tasks' data; exit status 1 when there is one."""
    from benchmark.datacheck import check_task

    console = Console()
    bad = 0
    for card in select_tasks(names, None):
        console.print(f"[bold]{card.name}[/]")
        for finding in check_task(load_task(card.name, data_dir)):
            mark = "[green]ok[/]  " if finding.passed else "[red]FAIL[/]"
            mark = "[yellow]note[/]" if finding.note else mark
            line = f"  {mark} {finding.check}: {escape(finding.detail)}"
            console.print(line, highlight=False, soft_wrap=True)
            bad += not finding.passed
    if bad:
        console.print(f"[red]{bad} problem{'s' * (bad > 1)}[/]")
        sys.exit(1)
