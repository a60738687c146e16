"""`ssl-bench data check`: every problem of a task's data at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.catalog import load_task
from benchmark.errors import SslBenchError
from benchmark.findings import Finding
from benchmark.prepare import prepared_folder
from benchmark.published import other_size, sizes
from benchmark.rounds import independent_runs, rounds
from benchmark.survey import Survey, survey_files, survey_prepared

if TYPE_CHECKING:
    from benchmark.task import Task


def check_task(task: Task) -> Iterator[Finding]:
    """Files, preparation, labels, groups that leak and inputs that stand in two splits."""
    try:
        files = task.files()
    except SslBenchError as error:
        yield Finding("files", False, str(error))
        return
    yield Finding("files", True, _files(files))
    yield from _checksums(files)
    try:
        found = survey_prepared(task)
    except SslBenchError as error:
        found = survey_files(task)
        if not (found.errors or found.twice or found.shared_groups):
            found.errors.append(str(error))
    counts = ", ".join(f"{number} {split}" for split, number in found.counts.items())
    problems = [*dict.fromkeys(found.errors)] + [
        f"the id {name!r} stands twice" for name in found.twice
    ]
    for problem in problems:
        yield Finding("examples", False, problem)
    if not problems:
        yield Finding("examples", True, counts)
        if task.card.published:
            yield _published_size(task)
    yield from _labels(task, found)
    shared = found.shared_groups
    unit = task.card.grouping
    detail = f"no {unit} is in two splits ({sum(map(len, found.groups.values()))} in all)"
    if shared:
        detail = (
            f"{unit} in two splits: {_some(shared)}; training and test would not be independent"
        )
    yield Finding("groups", not shared, detail)
    detail = "no identical input in two splits"
    if found.copies:
        detail = f"identical inputs in two splits: {_some(found.copies)}; remove or regroup them"
    yield Finding("duplicates", not found.copies, detail)


def _published_size(task: Task) -> Finding:
    """A part of a dataset is no fault, but its scores are of that part."""
    differs = other_size(sizes(task), task.card.published)
    detail = f"{sum(task.card.published.values()):,} examples, as published"
    if differs:
        detail = f"{differs}: scores are not comparable with published ones"
    return Finding("published size", True, detail, note=bool(differs))


def _files(files: list[Path]) -> str:
    data = [path for path in files if path.suffix != ".py"]
    if not data:
        return "generated, nothing to read"
    size = sum(path.stat().st_size for path in data)
    return f"{len(data)} files, {size / 1e6:.1f} MB"


def _checksums(files: list[Path]) -> Iterator[Finding]:
    """Compare files with the `SHA256SUMS[.txt]` beside or above them, where there is one.

    Format of `sha256sum`: hex digest, two spaces, path relative to the list's folder.
    """
    checked, wrong = 0, []
    lists: dict[Path, dict[Path, str]] = {}
    for path in files:
        for folder in list(path.resolve().parents)[:3]:
            if folder not in lists:
                lists[folder] = _stated_sums(folder)
            stated = lists[folder].get(path.resolve())
            if stated is not None:
                checked += 1
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != stated:
                        wrong.append(str(path))
                break
    if wrong:
        detail = f"changed or damaged: {_some(wrong)}; get them again"
        yield Finding("checksums", False, detail)
    elif checked:
        yield Finding("checksums", True, f"{checked} files agree with SHA256SUMS")


def _stated_sums(folder: Path) -> dict[Path, str]:
    for name in ("SHA256SUMS", "SHA256SUMS.txt"):
        if (folder / name).is_file():
            pairs = (line.split(maxsplit=1) for line in (folder / name).read_text().splitlines())
            return {(folder / p[1].lstrip("*")).resolve(): p[0] for p in pairs if len(p) == 2}
    return {}


def _some(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _labels(task: Task, found: Survey) -> Iterator[Finding]:
    """Every class in every split; of independent runs, what is asked for also in training. That
    one is absent is no fault: several official splits lack a class, and every part of a set may.
    """
    target = task.card.target
    if target.kind not in ("multiclass", "bags", "multilabel"):
        return
    every = set(range(len(target.classes)))
    expected = dict.fromkeys(task.splits, every)
    detail = "every class is in every split"
    if independent_runs(task):
        detail = "the classes of every test split are in its training split"
        expected = {names.train[0]: found.labels.get(names.test, set()) for names in rounds(task)}
    lacking = [
        f"{target.classes[label]} in {split}"
        for split, wanted in expected.items()
        for label in sorted(wanted - found.labels.get(split, set()))
    ]
    if lacking:
        detail = f"no example of {_some(lacking)}"
    yield Finding("labels", True, detail, note=bool(lacking))


def lacks_data(name: str, root: Path | str | None) -> bool:
    """Whether a dataset on disk is absent or only partly there, by its layout alone."""
    try:
        task = load_task(name, root)
    except ImportError:  # told when it is evaluated
        return False
    distribution = task.distribution
    if distribution is None:
        return False
    if task.mirror is not None:
        return bool(task.mirror.missing(distribution))
    found = None if task.root is None else distribution.find(task.root)
    return found is None or bool(distribution.missing(found))


@dataclass(frozen=True)
class State:
    """What is there of a task's data: `present`, `prepared`, `partial` or `absent`."""

    name: str
    detail: str


def task_state(task: Task) -> State:
    """The state of a task's data, without reading recordings."""
    if task.distribution is not None and task.mirror is not None:
        lacking = task.mirror.missing(task.distribution)
        if lacking:
            gone = len(lacking) == len(task.distribution.layout)
            where = f"{task.mirror.bucket.url} lacks {', '.join(lacking)}"
            return State("absent" if gone else "partial", where)
        return State("present", f"in {task.mirror.bucket.url}, mirrored at first use")
    if task.distribution is not None:
        found = None if task.root is None else task.distribution.find(task.root)
        if found is None:
            folder = task.distribution.folders[0]
            return State("absent", f"looked for {folder}/{task.distribution.layout[0]}")
        lacking = task.distribution.missing(found)
        if len(lacking) == len(task.distribution.layout):
            return State("absent", f"{found} has nothing of {', '.join(lacking)}")
        if lacking:
            return State("partial", f"{found} lacks {', '.join(lacking)}")
    try:
        files = task.files()
        folder_prepared = prepared_folder(task)
    except SslBenchError as error:
        return State("absent", str(error))
    size = ""
    if task.distribution is not None:
        size = f"{_bytes(sum(path.stat().st_size for path in files))} in {task.folder}, "
    if (folder_prepared / "prepared.json").is_file():
        prepared = sum(path.stat().st_size for path in folder_prepared.glob("*"))
        return State("prepared", f"{size}{_bytes(prepared)} prepared")
    return State("present", f"{size}prepared at first use")


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
