"""knn: a weighted vote of the nearest training examples; nothing is trained."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import one_hot
from benchmark.protocols.checks import check_splits, features, pooled, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.scoring import measure
from benchmark.task import TaskCard

Array = NDArray[Any]
TEMPERATURE = 0.07
_BLOCK = 20_000_000  # similarities held at once


class KnnProtocol(Protocol):
    """Cosine k-nearest neighbours with weights exp(s / 0.07), k = 20 (DINO, Caron et al. 2021).

    The bank is the training split alone: nothing is chosen, so the validation split is not used.
    Regression and multilabel scores are the weighted mean of the neighbours' targets, multiclass
    scores the share of each class in the vote. Bags are mean-pooled first.
    """

    name = "knn"
    targets: ClassVar[tuple[str, ...]] = ("multiclass", "multilabel", "regression", "bags")

    def __init__(self, k: int = 20) -> None:
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
        values = np.asarray(train.targets)
        if task.target.kind in ("multiclass", "bags"):
            values = one_hot(values, len(task.target.classes))
        values = values.reshape(len(train), -1).astype(np.float64)
        similarity, index = nearest(features(test), features(train), self.k, device)
        # relative to the nearest one, so that float32 similarities cannot overflow the sum
        weights = np.exp((similarity - similarity[:, :1]) / TEMPERATURE)
        weights /= weights.sum(1, keepdims=True)
        predicted = np.einsum("nk,nkc->nc", weights, values[index])
        if task.target.kind == "regression":
            predicted = predicted[:, 0]
        return measure(task, test, predicted, seed).scores(
            task.metric,
            hyperparameters={
                "k": similarity.shape[1], "temperature": TEMPERATURE, "bank": "train",
            },
            counts=sizes(train, None, test),
        )  # fmt: skip


def nearest(queries: Array, bank: Array, k: int, device: str = "cpu") -> tuple[Array, Array]:
    """Cosine similarities (float64) and bank rows of the k most similar, each (N, k), best first.

    k is reduced to the size of the bank.
    """
    import torch

    k = min(k, len(bank))
    unit = torch.nn.functional.normalize(torch.from_numpy(bank).to(device), dim=1).T
    step = max(1, _BLOCK // len(bank))
    similarities, rows = [], []
    for start in range(0, len(queries), step):
        block = torch.from_numpy(queries[start : start + step]).to(device)
        found = (torch.nn.functional.normalize(block, dim=1) @ unit).topk(k, dim=1)
        similarities.append(found.values.double().cpu().numpy())
        rows.append(found.indices.cpu().numpy())
    return np.concatenate(similarities), np.concatenate(rows)
