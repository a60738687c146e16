"""What every protocol asks of its splits before it scores them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.protocols.blocks import row_blocks
from benchmark.protocols.contract import Split, layer
from benchmark.sharded import ArrayOnDisk, rows_of
from benchmark.task import TaskCard

Array = NDArray[Any]
_BLOCK = 4_000_000  # values looked at together: patches of an image are many


def check_splits(
    splits: dict[str, Split | None], task: TaskCard, protocol: str, kinds: tuple[str, ...],
    encoder: str,
) -> None:  # fmt: skip
    """Raise if a split cannot be scored.

    Raises:
        SslBenchError: a target kind the protocol does not score, an empty split, embeddings with
            NaN or infinity (names the encoder and the sample), widths that differ between splits.
    """
    kind = task.target.kind
    if kind not in kinds:
        raise SslBenchError(
            f"{task.name}: the protocol {protocol} does not score {kind} targets "
            f"(it scores {', '.join(kinds)}); remove it from the card's `protocols`"
        )
    shapes = {}
    for name, split in splits.items():
        if split is None:
            continue
        if not len(split):
            raise SslBenchError(f"{task.name}: the {name} split is empty; prepare the data again")
        first = split.embeddings if split.layers is None else split.layers  # of which it is one
        for values in (first, *split.towers.values()):
            if values is not None and np.size(values):
                _check_finite(values, split, name, encoder, task)
        if np.size(split.embeddings):
            shapes[name] = split.embeddings.shape[-1]
    if len(set(shapes.values())) > 1:
        widths = ", ".join(f"{name}: {width}" for name, width in shapes.items())
        raise SslBenchError(
            f"{encoder} on {task.name}: embeddings have different widths ({widths}); "
            "the encoder must return one width for every input"
        )


def _check_finite(values: Array, split: Split, name: str, encoder: str, task: TaskCard) -> None:
    step = max(1, _BLOCK // max(1, int(np.prod(values.shape[1:]))))
    for start in range(0, len(values), step):
        finite = np.isfinite(values[start : start + step].reshape(-1, values.shape[-1])).all(1)
        if not finite.all():
            per_row = int(np.prod(values.shape[1:-1]))
            row = start + int(np.flatnonzero(~finite)[0]) // per_row
            sample = row
            if split.frame_offsets is not None:
                sample = int(np.searchsorted(split.frame_offsets, row, side="right")) - 1
            raise SslBenchError(
                f"encoder {encoder} returned NaN or infinity for sample {str(split.ids[sample])!r} "
                f"({task.name}, {name} split); check the encoder on that input"
            )


def features(split: Split) -> Array:
    """(N, D) float32 embeddings; the last layer where only `layers` are given, the L2-normalised
    towers side by side where only `towers` are."""
    if not np.size(split.embeddings) and split.layers is not None:
        last = layer(split.layers, split.layers.shape[1] - 1)
        return np.ascontiguousarray(last, dtype=np.float32)
    if not np.size(split.embeddings) and split.towers:
        towers = [np.asarray(split.towers[name], np.float32) for name in sorted(split.towers)]
        norms = [np.linalg.norm(tower, axis=1, keepdims=True) for tower in towers]
        units = [t / np.maximum(n, 1e-12) for t, n in zip(towers, norms, strict=True)]
        return np.concatenate(units, axis=1)
    return np.ascontiguousarray(split.embeddings, dtype=np.float32)


def samples(split: Split) -> Array:
    """As `features`, but embeddings that stay on the disk stay there: for what reads blocks."""
    lazy: Any = split.embeddings
    kept: Array = lazy if isinstance(lazy, ArrayOnDisk) else features(split)  # type: ignore[assignment]
    return kept


def pooled(split: Split) -> Split:
    """A split of bags as one of single examples: the mean embedding of each bag's tiles.

    Other splits come back unchanged. Bags are ordered by name; a bag has its first tile's target
    and group.
    """
    if split.bags is None:
        return split
    names, first, index = np.unique(
        np.asarray(split.bags).astype(str), return_index=True, return_inverse=True
    )
    tiles = samples(split)
    means = np.zeros((len(names), tiles.shape[1]))
    for rows, block in row_blocks(tiles):
        np.add.at(means, index[rows], block)
    means /= np.bincount(index)[:, None]
    return Split(
        means.astype(np.float32),
        np.asarray(split.targets)[first],
        np.asarray(split.groups)[first],
        names,
    )


def subset(split: Split, rows: Array) -> Split:
    """The examples `rows` of a split with one embedding per example; what stays on the disk stays
    there."""
    return Split(
        rows_of(split.embeddings, rows) if np.size(split.embeddings) else split.embeddings,
        np.asarray(split.targets)[rows],
        np.asarray(split.groups)[rows],
        np.asarray(split.ids)[rows],
        bags=None if split.bags is None else np.asarray(split.bags)[rows],
        layers=None if split.layers is None else rows_of(split.layers, rows),
        towers={name: rows_of(values, rows) for name, values in split.towers.items()},
        class_texts=split.class_texts,
    )


def sizes(train: Split | None, validation: Split | None, test: Split) -> dict[str, int]:
    """Numbers of examples per split and of test groups, for `Scores.counts`."""
    given = {"train": train, "validation": validation, "test": test}
    counts = {name: len(split) for name, split in given.items() if split is not None}
    return {**counts, "test_groups": len(np.unique(np.asarray(test.groups)))}
