"""knn: a weighted vote of the nearest training examples; nothing is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import one_hot
from benchmark.protocols.blocks import row_blocks, unit_rows
from benchmark.protocols.checks import check_splits, pooled, samples, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.scoring import measure
from benchmark.task import TaskCard

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
TEMPERATURE = 0.07
_BLOCK = 20_000_000  # similarities held at once
_VOTES = 4_000_000  # of neighbours' targets counted at once


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
        targets = np.asarray(train.targets)
        classes = len(task.target.classes) if task.target.kind in ("multiclass", "bags") else None
        blocks = []
        for _, found, index in nearest(samples(test), samples(train), self.k, device):
            similarity = found[:, 0]
            # relative to the nearest one, so that float32 similarities cannot overflow the sum
            weights = np.exp((similarity - similarity[:, :1]) / TEMPERATURE)
            weights /= weights.sum(1, keepdims=True)
            blocks.append(_vote(weights, index[:, 0], targets, classes))
        predicted = np.concatenate(blocks)
        if task.target.kind == "regression":
            predicted = predicted[:, 0]
        return measure(task, test, predicted, seed).scores(
            task.metric,
            hyperparameters={
                "k": min(self.k, len(train)), "temperature": TEMPERATURE, "bank": "train",
            },
            counts=sizes(train, None, test),
        )  # fmt: skip


def _vote(weights: Array, index: Array, targets: Array, classes: int | None) -> Array:
    """Weighted mean (n, C) of the targets of the neighbours `index` (n, k); labels of `classes`
    classes count as 0 / 1."""
    width = classes if classes is not None else int(np.prod(targets.shape[1:]))
    step = max(1, _VOTES // max(1, index.shape[1] * width))
    parts = []
    for start in range(0, len(index), step):
        near = index[start : start + step]
        values = targets[near.ravel()]
        values = values.astype(np.float64) if classes is None else one_hot(values, classes)
        values = values.reshape(*near.shape, -1)
        parts.append(np.einsum("nk,nkc->nc", weights[start : start + step], values))
    return np.concatenate(parts)


def nearest(
    queries: Any, bank: Any, k: int, device: str = "cpu", parts: Array | None = None
) -> Iterator[tuple[slice, Array, Array]]:
    """The k most similar of a bank (M, D) by cosine, for blocks of the queries (N, D).

    Gives the rows of the block, similarities (n, P, k) float64, best first, and bank rows
    (n, P, k). With `parts` (M,), which numbers P parts of the bank, the most similar of each part;
    without, P is 1. k is reduced to the size of the bank; where a part is smaller, the rest is
    -inf. Queries and bank are read in blocks, the bank once per block of queries.
    """
    import torch

    k = min(k, len(bank))
    parts = np.zeros(len(bank), dtype=np.int64) if parts is None else parts
    count = int(parts.max()) + 1
    for rows, block in row_blocks(queries, max(1, _BLOCK // (count * k))):
        asked = unit_rows(block, device)
        similarity = torch.full((len(asked), count, k), -float("inf"), device=device)
        index = torch.full((len(asked), count, k), -1, device=device)
        seen = np.zeros(count, dtype=bool)
        for span, members in row_blocks(bank):
            inside = parts[span]
            for part in np.unique(inside):
                own = np.flatnonzero(inside == part)
                chosen = members if len(own) == len(members) else members[own]
                against = unit_rows(chosen, device).T
                names = torch.from_numpy(own + span.start).to(device)
                _keep_best(asked, against, names, similarity[:, part], index[:, part], seen[part])
                seen[part] = True
        yield rows, similarity.double().cpu().numpy(), index.cpu().numpy()


def _keep_best(
    asked: torch.Tensor, against: torch.Tensor, names: torch.Tensor,
    similarity: torch.Tensor, index: torch.Tensor, merge: bool,
) -> None:  # fmt: skip
    """Bring the k best (n, k) up to date with candidates `against` (D, m), rows `names` (m,)."""
    import torch

    few = min(similarity.shape[1], len(names))
    step = max(1, _BLOCK // len(names))
    for start in range(0, len(asked), step):
        found = (asked[start : start + step] @ against).topk(few, dim=1)
        values, rows = found.values, names[found.indices]
        best, kept = similarity[start : start + step], index[start : start + step]
        if merge:
            both, order = torch.cat((best, values), 1).topk(best.shape[1], dim=1)
            best[:], kept[:] = both, torch.cat((kept, rows), 1).gather(1, order)
        else:
            best[:, :few], kept[:, :few] = values, rows
