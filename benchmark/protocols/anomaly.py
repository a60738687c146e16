"""anomaly: is an example that is unlike the normal ones far from them?"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.metrics import mean_of_defined
from benchmark.protocols.checks import check_splits, pooled, samples, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.knn import nearest
from benchmark.protocols.scoring import measure_statistics
from benchmark.ranking import ranking_replicates
from benchmark.task import TaskCard

Array = NDArray[Any]
NEIGHBOURS = 2


class AnomalyProtocol(Protocol):
    """AUROC of the mean cosine distance to the k nearest normal training examples.

    With `target.normal_class` the bank is the training examples of that class and every other test
    example is an anomaly. Without one, each class is the anomaly in turn: the bank is the training
    examples of the other classes, and the score is the mean over classes (leave-one-class-out).
    k = 2 as in deep nearest-neighbour anomaly detection (Bergman et al. 2020). Validation is not
    used: nothing is chosen.
    """

    name = "anomaly"
    targets: ClassVar[tuple[str, ...]] = ("multiclass", "multilabel", "bags")

    def __init__(self, k: int = NEIGHBOURS) -> None:
        self.k = k

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
        check_splits({"train": train, "test": test}, task, self.name, self.targets, encoder)
        train, test = pooled(train), pooled(test)
        classes = task.target.classes
        bank_has, query_has = (_membership(split, len(classes)) for split in (train, test))
        normal = task.target.normal_class
        if normal is not None:
            if normal not in classes:
                raise SslBenchError(
                    f"{task.name}: `normal_class` {normal!r} is none of the card's classes"
                )
            index = classes.index(normal)
            turns = {"anomaly": (bank_has[:, index], ~query_has[:, index])}
        else:
            turns = {name: (~bank_has[:, c], query_has[:, c]) for c, name in enumerate(classes)}
        turns = {
            name: (kept, anomalous)
            for name, (kept, anomalous) in turns.items()
            if kept.any() and anomalous.any() and not anomalous.all()
        }
        if not turns:
            raise SslBenchError(
                f"{task.name}: anomaly needs normal training examples and both normal and other "
                "test examples; remove it from the card's `protocols`"
            )
        names = list(turns)
        labels = np.stack([anomalous for _, anomalous in turns.values()], 1)
        scores = _distances(
            samples(test), samples(train), bank_has, [kept for kept, _ in turns.values()],
            self.k, device,
        )  # fmt: skip
        measured = measure_statistics(
            lambda codes, _: lambda counts: _statistics(scores, labels, codes, counts),
            test.groups, seed,
        )  # fmt: skip
        if normal is None:
            ones = np.ones((1, len(test)))
            auroc, ap = ranking_replicates(scores, labels, np.arange(len(test)), ones)
            measured.per_class = {
                name: {"auroc": float(auroc[0, i]), "ap": float(ap[0, i])}
                for i, name in enumerate(names)
            }
        return measured.scores(
            "auroc",
            hyperparameters={
                "k": self.k,
                "normal": normal if normal is not None else "leave-one-class-out",
            },
            chance=0.5,
            ceiling=1.0,
            counts=sizes(train, None, test),
        )


def _statistics(scores: Array, labels: Array, codes: Array, counts: Array) -> dict[str, Array]:
    auroc, precision = ranking_replicates(scores, labels, codes, counts)
    return {"auroc": mean_of_defined(auroc), "ap": mean_of_defined(precision)}


def _distances(
    queries: Any, bank: Any, membership: Array, normal: list[Array], k: int, device: str
) -> Array:
    """Mean distance (N, turns) of queries to the k nearest of the bank's rows `normal` (M,) bool.

    The bank is cut into parts of equal labels. Every choice of normal rows is a union of parts, so
    one pass over the bank serves them all.
    """
    _, parts = np.unique(membership, axis=0, return_inverse=True)
    parts = parts.ravel()
    chosen = [(np.unique(parts[kept]), min(k, int(kept.sum()))) for kept in normal]
    blocks = []
    for _, similarity, _ in nearest(queries, bank, k, device, parts):
        columns = []
        for own, few in chosen:
            near = similarity[:, own].reshape(len(similarity), -1)
            best = np.partition(near, near.shape[1] - few, axis=1)[:, -few:]
            columns.append(1 - best.mean(1))
        blocks.append(np.stack(columns, 1))
    return np.concatenate(blocks)


def _membership(split: Split, classes: int) -> Array:
    """(N, C) bool."""
    targets = np.asarray(split.targets)
    return targets > 0 if targets.ndim == 2 else targets[:, None] == np.arange(classes)
