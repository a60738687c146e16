"""Whether the data at hand is as large as what was published.

A score on a part of a dataset is a sound score, but none that stands beside published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmark.prepare import labelled_rows, open_source

if TYPE_CHECKING:
    from benchmark.task import Task

ALL = "all"  # of `TaskCard.published`: the splits together, where they are folds


def sizes(task: Task) -> dict[str, int]:
    """Split -> examples that belong to the task; of bags the bags.

    Raises:
        DatasetError: the dataset is missing or damaged.
    """
    found = {}
    for split in task.splits:
        data = open_source(task, split)
        rows = labelled_rows(task, split, data)
        bags = task.card.target.kind == "bags"
        found[split] = len(data.data.column("bag").take(rows).unique()) if bags else len(rows)
    return found


def other_size(examples: Mapping[str, int], published: Mapping[str, int]) -> str:
    """How the size of the data differs from the published one, in words; "" where it does not, or
    where one of the two is not known."""
    if not examples or not published:
        return ""
    here = {s: sum(examples.values()) if s == ALL else examples.get(s, 0) for s in published}
    if here == published:
        return ""
    total, whole = sum(here.values()), sum(published.values())
    if total < whole:
        return f"{total:,} of the {whole:,} published examples"
    if total > whole:
        return f"{total:,} examples, while {whole:,} were published"
    parts = (f"{here[s]:,} in {s}, published {n:,}" for s, n in published.items())
    return f"another split than published ({'; '.join(parts)})"
