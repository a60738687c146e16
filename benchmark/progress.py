"""What a run shows while it works: one bar for the whole, one line per encoder at work."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from benchmark.events import Event
from benchmark.plan import Skip
from benchmark.results import Result


class _Rate(ProgressColumn):
    """Examples per second, or nothing for the bar of the whole run."""

    def render(self, task: Task) -> Text:
        if not task.fields.get("rate") or not task.speed:
            return Text("")
        return Text(f"{task.speed:,.0f}/s", "dim")


@dataclass
class Tally:
    """What came out of a run."""

    results: list[Result] = field(default_factory=list)
    reused: int = 0
    skipped: list[Skip] = field(default_factory=list)
    failures: list[Skip] = field(default_factory=list)
    waiting: float = 0.0  # seconds in which encoders had no batch,
    computing: float = 0.0  # and in which they had one


class Display:
    """Takes events, keeps the tally and draws the bars."""

    def __init__(self, console: Console, total: int) -> None:
        self.tally = Tally()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._whole = self.progress.add_task("[bold]results", total=total)
        self._lines: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        if event.phase == "embed":
            self._embedding(event)
        elif event.phase == "prepare":
            self._preparing(event)
        elif event.phase == "prepared":
            self.progress.remove_task(self._lines.pop(f"preparing {event.task}"))
        elif event.phase == "score":
            self._line(event.encoder, f"{event.encoder} · {event.task} · {event.detail}", None, 0)
        elif event.phase == "result" and event.result is not None:
            self.tally.results.append(event.result)
            self.tally.reused += event.reused
            self.progress.advance(self._whole)
        elif event.phase == "skip":
            protocol, _, reason = event.detail.partition(": ")
            self.tally.skipped.append(Skip(event.encoder, event.task, protocol, reason))
            self.progress.advance(self._whole)
        elif event.phase == "pace" and event.pace is not None:
            self.tally.waiting += event.pace.waiting
            self.tally.computing += event.pace.computing
        elif event.phase == "notice":
            self.progress.console.print(
                f"[yellow]note[/]: {escape(event.detail)}", highlight=False, soft_wrap=True
            )
        elif event.phase == "failure":
            self.tally.failures.append(Skip(event.encoder, event.task, "", event.detail))

    def _preparing(self, event: Event) -> None:
        label = f"preparing {event.task}"
        if label not in self._lines:
            self._lines[label] = self.progress.add_task(label, total=None, rate=True)
        line = self._lines[label]
        detail = f" · {event.detail}" if event.detail else ""
        self.progress.update(line, description=label + detail, completed=event.done)

    def _embedding(self, event: Event) -> None:
        text = f"{event.encoder} · {event.task} · embedding {event.detail}"
        self._line(event.encoder, text, event.total, event.done)

    def _line(self, encoder: str, text: str, total: int | None, done: int) -> None:
        line = self._lines.get(encoder)
        if (
            line is None
            or self.progress.tasks[self.progress.task_ids.index(line)].description != text
        ):
            if line is not None:
                self.progress.remove_task(line)
            self._lines[encoder] = self.progress.add_task(
                text, total=total, completed=done, rate=True
            )
            return
        self.progress.update(line, completed=done)


@contextmanager
def display(console: Console, total: int) -> Iterator[Display]:
    """Show progress on `console` (standard error) until the block ends."""
    shown = Display(console, total)
    handler = RichHandler(console=console, show_time=False, show_path=False, show_level=False)
    logger = logging.getLogger("ssl_bench")
    logger.addHandler(handler)
    try:
        with shown.progress:
            yield shown
    finally:
        logger.removeHandler(handler)
