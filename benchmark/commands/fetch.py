"""`ssl-bench data fetch`."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Lock

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from benchmark.catalog import load_task
from benchmark.distribution import Download
from benchmark.download import FETCHED, fetch, total_size, unchecked, unfinished
from benchmark.download import Progress as Watch
from benchmark.errors import SslBenchError
from benchmark.listings import downloads_of
from benchmark.plan import select_tasks
from benchmark.task import Task

FEW = 20  # files that get a progress bar each


def fetch_command(
    names: list[str], data_dir: Path | str | None, workers: int, accept_terms: bool = False
) -> None:
    """Fetch every dataset named, once; exit status 2 where one is still not there.

    accept_terms: the user has agreed to the terms of use that a publisher asks for.
    """
    if isinstance(data_dir, str):
        raise SslBenchError(
            f"--data-dir {data_dir}: datasets are downloaded into a folder; name one, and copy it "
            "to the object store with the store's own tool"
        )
    console = Console()
    sources: dict[str, Task] = {}
    for card in select_tasks(names, None):
        task = load_task(card.name, data_dir)
        sources.setdefault(task.source, task)
    wanted = [task for task in sources.values() if task.distribution is not None]
    if not wanted:
        console.print("nothing to fetch: these tasks come with the package")
        return
    if data_dir is None:
        raise SslBenchError("where to? pass --data-dir or set SSL_BENCH_DATA")
    lacking = 0
    for task in wanted:
        try:
            lacking += not _fetch_one(task, data_dir, workers, accept_terms, console)
        except SslBenchError as error:  # the others may still be had
            console.print(f"[red]{task.source}[/]: {escape(str(error))}", soft_wrap=True)
            _say_where(task, data_dir, console)
            lacking += 1
    if lacking:
        sys.exit(2)


def _fetch_one(task: Task, root: Path, workers: int, accept_terms: bool, console: Console) -> bool:
    """Whether the dataset is there in the end."""
    distribution = task.distribution
    assert distribution is not None
    found = distribution.find(root)
    whole = found is not None and not distribution.missing(found)
    if found is not None and whole and not unfinished(distribution, found):
        console.print(f"[green]{task.source}[/] is there: {found}", soft_wrap=True)
        return True
    downloads: tuple[Download, ...] = ()
    if distribution.terms:
        asked = escape(distribution.terms)
        said = (
            f"--accept-terms says that you did this: {asked}"
            if accept_terms
            else f"{asked}, then run the command again with --accept-terms"
        )
        console.print(f"[yellow]{task.source}[/]: {said}", soft_wrap=True)
        if not accept_terms:
            return False
    if distribution.fetched:
        place = found or root / distribution.folders[0]
        downloads = downloads_of(distribution, place)
        size = total_size(downloads)
        stated = f", {size / 1e9:.1f} GB" if size else ""
        count = len(downloads)
        console.print(
            f"{task.source}: {count} file{'s' * (count > 1)}{stated} ({escape(task.card.licence)})"
        )
        with _bars(console) as bars:
            watch = _in_one(bars, task.source, size) if count > FEW else _each(bars)
            found = fetch(distribution, root, watch, workers)
    folder = found or root / distribution.folders[0]
    lacking = distribution.missing(folder)
    if not lacking:
        console.print(f"[green]{task.source}[/] is there: {folder}", soft_wrap=True)
        if number := unchecked(downloads):
            console.print(
                f"{number} of {len(downloads)} files have no checksum stated by "
                f"their publisher; that of what came is in {folder / FETCHED}",
                soft_wrap=True,
            )
        return True
    _say_where(task, root, console)
    return False


def _say_where(task: Task, root: Path, console: Console) -> None:
    """Where to get by hand what is not there, and where to put it."""
    distribution = task.distribution
    assert distribution is not None
    folder = distribution.find(root) or root / distribution.folders[0]
    if distribution.apply:
        console.print(f"[yellow]{task.source}[/]: {escape(distribution.apply)}", soft_wrap=True)
    if lacking := [choices.partition("|")[0] for choices in distribution.missing(folder)]:
        console.print(
            f"{task.source} belongs in {folder}, which still lacks {escape(', '.join(lacking))}",
            soft_wrap=True,
        )
    if task.card.homepage:
        console.print(f"home: {task.card.homepage}", soft_wrap=True)


def _each(bars: Progress) -> Watch:
    """A bar for every file."""
    lines: dict[str, TaskID] = {}

    def watch(name: str, done: int, total: int | None) -> None:
        if name not in lines:
            lines[name] = bars.add_task(escape(name), total=total)
        bars.update(lines[name], completed=done, total=total)

    return watch


def _in_one(bars: Progress, source: str, size: int | None) -> Watch:
    """One bar for all files."""
    line = bars.add_task(escape(source), total=size)
    done: dict[str, int] = {}
    lock = Lock()

    def watch(name: str, so_far: int, _: int | None) -> None:
        with lock:
            step, done[name] = so_far - done.get(name, 0), so_far
        bars.advance(line, step)

    return watch


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
