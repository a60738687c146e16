"""anomaly: is an example that is unlike the normal ones far from them?"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.metrics import mean_of_defined
from benchmark.protocols.checks import check_splits, features, pooled, sizes
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
        bank, queries = features(train), features(test)
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
        names, distances, anomalies = [], [], []
        parts, similarity = _nearest_per_part(queries, bank, bank_has, self.k, device)
        for name, (kept, anomalous) in turns.items():
            if kept.any() and anomalous.any() and not anomalous.all():
                chosen = similarity[:, np.unique(parts[kept])].reshape(len(queries), -1)
                k = min(self.k, int(kept.sum()))
                nearest_ones = np.partition(chosen, chosen.shape[1] - k, axis=1)[:, -k:]
                names.append(name)
                distances.append(1 - nearest_ones.mean(1))
                anomalies.append(anomalous)
        if not names:
            raise SslBenchError(
                f"{task.name}: anomaly needs normal training examples and both normal and other "
                "test examples; remove it from the card's `protocols`"
            )
        scores, labels = np.stack(distances, 1), np.stack(anomalies, 1)
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


def _nearest_per_part(
    queries: Array, bank: Array, membership: Array, k: int, device: str
) -> tuple[Array, Array]:
    """The bank cut into parts of equal labels: part of each example (M,), and the k largest
    similarities of each query to each part, (N, parts, k), -inf where a part is smaller.

    Every choice of normal classes is a union of parts, so one pass over the bank serves them all.
    """
    _, parts = np.unique(membership, axis=0, return_inverse=True)
    parts = parts.ravel()
    similarity = np.full((len(queries), parts.max() + 1, k), -np.inf)
    for part in range(parts.max() + 1):
        found, _ = nearest(queries, bank[parts == part], k, device)
        similarity[:, part, : found.shape[1]] = found
    return parts, similarity


def _membership(split: Split, classes: int) -> Array:
    """(N, C) bool."""
    targets = np.asarray(split.targets)
    return targets > 0 if targets.ndim == 2 else targets[:, None] == np.arange(classes)
