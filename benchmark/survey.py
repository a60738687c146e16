"""Every problem of a dataset at once: what stands in its files, with the errors that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.decoding import decoders
from benchmark.encoding import input_problems, sha256
from benchmark.errors import SslBenchError
from benchmark.prepare import read_rows
from benchmark.rounds import rivals
from benchmark.splits import read_targets
from benchmark.task import MOST_PROBLEMS

if TYPE_CHECKING:
    from benchmark.task import Task


@dataclass
class Survey:
    """What a task's splits hold, of the rows that belong to the task."""

    errors: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)  # ids
    groups: dict[str, set[str]] = field(default_factory=dict)  # split -> groups
    counts: dict[str, int] = field(default_factory=dict)
    labels: dict[str, set[int]] = field(default_factory=dict)  # split -> classes that occur
    copies: list[str] = field(default_factory=list)  # identical inputs in two splits
    rivals: Sequence[tuple[str, str]] = ()  # pairs of splits that have to be independent

    def __post_init__(self) -> None:
        self._ids: set[str] = set()
        self._seen: dict[bytes, dict[str, str]] = {}  # input -> split -> the first id

    def note(self, split: str, identity: str, group: str, digest: bytes, label: Any) -> None:
        """Take one example of the task into account."""
        self.counts[split] = self.counts.get(split, 0) + 1
        self.groups.setdefault(split, set()).add(group)
        if identity in self._ids:
            self.twice.append(identity)
        self._ids.add(identity)
        seen = self._seen.setdefault(digest, {})
        for other, first in seen.items():
            if (other, split) in self.rivals:
                self.copies.append(f"{first} = {identity} ({other} and {split})")
        seen.setdefault(split, identity)
        if isinstance(label, np.ndarray):
            self.labels.setdefault(split, set()).update(np.flatnonzero(label > 0).tolist())
        elif isinstance(label, int):
            self.labels.setdefault(split, set()).add(label)

    @property
    def shared_groups(self) -> list[str]:
        """Groups that are in two splits, with the splits."""
        return [
            f"{item} ({first} and {second})"
            for first, second in self.rivals
            for item in sorted(self.groups.get(first, set()) & self.groups.get(second, set()))
        ]


def survey_prepared(task: Task) -> Survey:
    """Of the prepared copy.

    Raises:
        SslBenchError: the dataset cannot be prepared.
    """
    found = Survey(rivals=rivals(task))
    per_row = task.card.target.kind in ("multiclass", "bags", "multilabel")
    for split in task.splits:
        data, rows, targets = read_targets(task, split)
        for position, row in enumerate(read_rows(data, rows.tolist())):
            label = targets[position] if per_row else None
            label = int(label) if isinstance(label, np.integer) else label
            digest = sha256(_own(task, row["input"]))
            found.note(split, row["id"], row["group"], digest, label)
    return found


def survey_files(task: Task) -> Survey:
    """Of the files themselves, going on after each error."""
    found = Survey(rivals=rivals(task))
    task.problems = found.errors
    with decoders(task) as helpers:
        for split in task.splits:
            found.counts[split] = 0
            try:
                for item in helpers.errors(split):
                    if isinstance(item, str):
                        found.errors.append(item)
                        if len(found.errors) >= MOST_PROBLEMS:
                            return found
                    elif item["label"] is not None:
                        found.note(split, item["id"], item["group"], item["digest"], item["label"])
            except SslBenchError as error:  # the listing itself
                found.errors.append(str(error))
            if not found.counts[split] and not found.errors:
                found.errors.append(f"{task.source}: the split {split!r} is empty")
    return found


def look_at_rows(
    task: Task, rows: Sequence[Mapping[str, Any]] | None, split: str = ""
) -> list[str | Mapping[str, Any]]:
    """For each example of the rows what is wrong with it, or what a survey notes of it."""
    out: list[str | Mapping[str, Any]] = []
    if rows is None:
        return list(_looked_at(task, task.examples(split)))
    for row in rows:
        try:
            out += _looked_at(task, task.expand(row))
        except SslBenchError as error:
            out.append(str(error))
    return out


def _looked_at(
    task: Task, examples: Iterator[Mapping[str, Any]]
) -> Iterator[str | Mapping[str, Any]]:
    classes = len(task.card.target.classes)
    for example in examples:
        for problem in input_problems(str(example["id"]), example["input"]):
            yield f"{task.source}: {problem}"
        label = example.get(task.card.target.column)
        if isinstance(label, np.integer):
            label = int(label)
        if isinstance(label, int) and not 0 <= label < (classes or label + 1):
            yield (
                f"{task.card.name}: label {label} of {example['id']!r} is not one of the card's "
                f"{classes} classes"
            )
        yield {
            "id": str(example["id"]),
            "group": str(example["group"]),
            "digest": sha256(_own(task, example["input"])),
            "label": label,
        }


def _own(task: Task, stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of an input that the task offers to encoders."""
    towers = task.card.towers
    return {k: v for k, v in stored.items() if k in towers} if towers else stored
