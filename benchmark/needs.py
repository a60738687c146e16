"""What embeddings a protocol reads: which splits, which kind, and where the store has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.prepare import example_counts, fingerprints
from benchmark.protocols import protocol
from benchmark.rounds import rounds, splits_read

if TYPE_CHECKING:
    from benchmark.encoder import Kind, LoadedEncoder
    from benchmark.events import RunOptions
    from benchmark.store import Entry
    from benchmark.task import Task


@dataclass(frozen=True)
class Need:
    """The embeddings of one split of a source; equal for all tasks that can share them."""

    source: str
    towers: tuple[str, ...]
    split: str
    kind: Kind


def needs(task: Task, name: str, encoder: LoadedEncoder) -> tuple[Need, ...]:
    """The embeddings that protocol `name` reads; none where it does not apply."""
    from benchmark.splits import task_kind

    kind, _ = task_kind(task.card, name, encoder)
    if kind is None or task.card.target.kind not in protocol(name).targets:
        return ()

    def need(split: str, kind: Kind) -> Need:
        return Need(task.source, tuple(task.card.towers), split, kind)

    found = [need(split, kind) for split in splits_read(task, protocol(name).reads)]
    if name == "retrieval" and encoder.offers("towers"):
        found += [need(names.test, "towers") for names in rounds(task)]
    return tuple(dict.fromkeys(found))


def needed_entry(need: Need, task: Task, encoder: LoadedEncoder, options: RunOptions) -> Entry:
    """Where the store has, or will have, what is needed; `task` is any task of the source.

    Raises:
        DatasetError: the dataset cannot be prepared.
    """
    from benchmark.embed import split_entry
    from benchmark.run import about_entry
    from benchmark.store import open_store

    return split_entry(
        open_store(options.store),
        encoder.digest,
        fingerprints(task)[need.split],
        need.kind,
        example_counts(task)[need.split],
        options.precision,
        need.towers,
        {"encoder": encoder.name, **about_entry(task, need.split, need.kind, options)},
        options.store_dtype,
    )
