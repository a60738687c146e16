"""What every protocol takes and gives: arrays in, scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.sharded import ArrayOnDisk, MappedRows
from benchmark.task import TaskCard

Array = NDArray[Any]
RESAMPLES = 1_000


@dataclass
class Split:
    """One split of a task as arrays; N examples.

    `embeddings` is (N, D) float32 for clip-level tasks and bags (one row per tile); (sum of T', D)
    for frames, example i owning rows `frame_offsets[i]:frame_offsets[i + 1]`; (N, H', W', D) for
    segmentation, (N, G, D) for parts of point clouds: patches that stand at `centres` (N, G, 3), in
    the coordinates of `points`, which are the (n, 3) points of each shape. `layers` (N, L, D)
    replaces `embeddings` where an encoder offers its layers. `targets` is int (N,) for multiclass
    and bags, (N, C) of 0 / 1 for multilabel, float (N,) for regression, a list of (n, 3) event
    arrays (onset s, offset s, class or -1) for frames, a list of (H, W) class maps (255: ignored)
    for segmentation, of (n,) for point clouds, a list of (n, 2) trials (position of the other
    example, 1 where both are of one class, else 0) for pairs.
    """

    embeddings: Array
    targets: Any
    groups: Array  # (N,) str
    ids: Array  # (N,) str
    bags: Array | None = None  # (N,) str
    frame_offsets: Array | None = None  # (N + 1,)
    frame_rate: float | None = None  # Hz; frame j is centred at (j + 0.5) / frame_rate
    layers: Array | None = None
    towers: dict[str, Array] = field(default_factory=dict)  # tower -> (N, D_tower)
    class_texts: Array | None = None  # (C, D) mean prompt embedding per class
    points: Sequence[Array] | None = None  # read when asked for
    centres: Array | None = None

    def __len__(self) -> int:
        return len(self.ids)


def layer(layers: Any, chosen: int | Array) -> Any:
    """Of (N, L, D) layers one (a view), or their average by weights (L,): (N, D). It stays on the
    disk where the layers do."""

    def pick(block: Array) -> Array:
        if isinstance(chosen, int):
            return block[:, chosen]
        weights = chosen.astype(np.float32)
        return np.tensordot(block.astype(np.float32, copy=False), weights, axes=(1, 0))

    if isinstance(layers, ArrayOnDisk):
        return MappedRows(layers, pick, layers.shape[2:])
    return pick(np.asarray(layers))


@dataclass(frozen=True)
class Estimate:
    """A score with its 95% interval; NaN ends: none can be given (a single test group)."""

    value: float
    low: float
    high: float


@dataclass
class Scores:
    """What a protocol found.

    `replicates` are the main metric on `RESAMPLES` resamples that depend only on the task's test
    groups and the seed, so that two encoders are compared pairwise by subtraction. They are NaN
    where the test split has a single group.
    """

    main: str  # key of `metrics`
    metrics: dict[str, Estimate]
    replicates: Array  # (RESAMPLES,) float32
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)  # class -> metric -> value
    confusion: list[list[int]] | None = None  # rows: truth, columns: prediction
    curve: list[dict[str, float]] = field(default_factory=list)  # fraction / value / low / high
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    chance: float | None = None  # of the main metric, where it is not the card's
    ceiling: float | None = None


class Protocol:
    """Base class of the protocols."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    targets: ClassVar[Sequence[str]]  # target kinds it can score
    reads: ClassVar[Sequence[str]] = ("train", "validation", "test")  # splits; others stay unread

    def run(
        self,
        train: Split,
        validation: Split | None,
        test: Split,
        task: TaskCard,
        *,
        seed: int = 0,
        device: str = "cpu",
        encoder: str = "encoder",
    ) -> Scores:
        """Score one encoder on one task; deterministic for a seed.

        Raises:
            SslBenchError: embeddings or targets that cannot be scored, naming encoder and sample.
        """
        raise NotImplementedError
