"""retrieval: does the nearest example of another group have the same label?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.metrics import group_sums
from benchmark.protocols.blocks import row_blocks, unit_rows
from benchmark.protocols.checks import check_splits, pooled, samples, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.scoring import measure_statistics
from benchmark.sharded import ArrayOnDisk, stacked
from benchmark.task import TaskCard

if TYPE_CHECKING:
    import torch

Array = NDArray[Any]
_BLOCK = 4_000_000  # similarities ranked at once
_HELD = 64_000_000  # similarities held for one pass over a gallery that stays on the disk
DIGITS = 6  # similarities that agree to here are ties: more is float32 noise
_LAST = (1 << 30) + 1  # sorts after every similarity, and is odd: not relevant


class RetrievalProtocol(Protocol):
    """Mean average precision and recall@1 by cosine over the test split.

    Every test example is a query; its candidates are the test examples of other groups. Relevant
    are those of the same class (multilabel: with a label in common). Queries without a relevant
    candidate are left out. Where the test split is of one group (leave one speaker out), its
    queries search the training split instead. With several towers of one width, each ordered pair
    of towers is scored as well: by label in the same way, and for finding the same example in the
    other tower (`pair_`, other examples of its group left out). For `pairs` targets only the latter
    exists and the main metric is its mean over directions. The interval resamples the groups of the
    queries; the gallery stays. Nothing is trained. `chance` is the expected value of the main
    metric in a random order, to first order the share of relevant candidates.
    """

    name = "retrieval"
    targets: ClassVar[tuple[str, ...]] = ("multiclass", "multilabel", "bags", "pairs")

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
        check_splits({"test": test}, task, self.name, self.targets, encoder)
        test = pooled(test)
        gallery = _gallery(train, test, task, encoder, self)
        directions = _directions(gallery.towers)
        columns: dict[str, Array] = {}
        groups = np.unique(np.asarray(gallery.groups).astype(str), return_inverse=True)[1]
        chance = 1.0 / len(test)
        if task.target.kind == "pairs":
            if not directions:
                raise SslBenchError(
                    f"{task.name} pairs inputs of several towers, and {encoder} has no two towers "
                    "of one width: no retrieval score"
                )
        else:
            labels = _relevance_labels(gallery, task)
            columns["map"], columns["recall@1"], chance = _search(
                samples(test), samples(gallery), labels, groups, device
            )
        for queries, answers in directions:
            way = f"({queries} to {answers})"
            q, g = test.towers[queries], gallery.towers[answers]
            columns[f"pair_map {way}"], columns[f"pair_recall@1 {way}"], _ = _search(
                q, g, None, groups, device
            )
            if task.target.kind != "pairs":
                columns[f"map {way}"], columns[f"recall@1 {way}"], _ = _search(
                    q, g, labels, groups, device
                )
        if task.target.kind == "pairs":
            for metric in ("pair_map", "pair_recall@1"):
                ways = [v for k, v in columns.items() if k.startswith(f"{metric} ")]
                columns[metric] = np.mean(ways, axis=0)
        main = "pair_map" if task.target.kind == "pairs" else "map"
        if not np.isfinite(columns[main]).any():
            raise SslBenchError(
                f"{task.name}: no test example has a relevant one in another group, so retrieval "
                "cannot be scored; remove it from the card's `protocols`"
            )
        measured = measure_statistics(
            lambda codes, total: _Means(columns, codes, total), test.groups, seed
        )
        return measured.scores(
            main,
            hyperparameters={
                "similarity": "cosine", "gallery": "test" if gallery is test else "test + train",
            },
            chance=chance,
            ceiling=1.0,
            counts={
                **sizes(None, None, test),
                "gallery": len(gallery),
                "queries": int(np.isfinite(columns[main]).sum()),
            },
        )  # fmt: skip


class _Means:
    """Mean over queries of each metric, NaN queries left out, per resample of query groups."""

    def __init__(self, columns: dict[str, Array], codes: Array, groups: int) -> None:
        self.names = list(columns)
        values = np.stack(list(columns.values()), 1)
        seen = np.isfinite(values)
        self.sums = group_sums(codes, groups, np.where(seen, values, 0.0))
        self.counts = group_sums(codes, groups, seen.astype(float))

    def __call__(self, counts: Array) -> dict[str, Array]:
        with np.errstate(invalid="ignore"):
            means = (counts @ self.sums) / (counts @ self.counts)
        return dict(zip(self.names, means.T, strict=True))


def _gallery(
    train: Split, test: Split, task: TaskCard, encoder: str, asked: RetrievalProtocol
) -> Split:
    """What the queries search: the test split; where it is of one group, training data after it.

    The queries stand first, in their order. A query's own group is left out of its candidates.

    Raises:
        SslBenchError: there are no examples of another group.
    """
    own = np.unique(np.asarray(test.groups).astype(str))
    if len(own) > 1:
        return test
    train = pooled(train)
    if not (np.asarray(train.groups).astype(str) != own[0]).any():
        raise SslBenchError(
            f"{task.name}: all examples are of the group {str(own[0])!r}, and a query has to find "
            "examples of other groups; remove retrieval from the card's `protocols`"
        )
    check_splits({"train": train, "test": test}, task, asked.name, asked.targets, encoder)
    both = test, train

    def joined(name: str) -> Any:
        return stacked([getattr(split, name) for split in both])

    towers = {
        name: stacked([split.towers[name] for split in both])
        for name in test.towers.keys() & train.towers.keys()
    }
    inputs, targets = np.empty((0, 0), np.float32), None
    if task.target.kind != "pairs":
        inputs, targets = stacked([samples(split) for split in both]), joined("targets")
    return Split(inputs, targets, joined("groups"), joined("ids"), towers=towers)


def _directions(towers: dict[str, Array]) -> list[tuple[str, str]]:
    return [
        (a, b)
        for a, b in permutations(sorted(towers), 2)
        if towers[a].shape[-1] == towers[b].shape[-1]
    ]


def _relevance_labels(test: Split, task: TaskCard) -> Array:
    """(N,) classes, or (N, C) of 0 / 1: relevant to each other is what has a class in common."""
    targets = np.asarray(test.targets)
    if task.target.kind == "multilabel":
        return (targets > 0).astype(np.float32)
    return targets.astype(np.int64)


def _search(
    queries: Any, gallery: Any, labels: Array | None, groups: Array, device: str
) -> tuple[Array, Array, float]:
    """Average precision and recall@1 of each query, (N,), and the mean share of relevant ones.

    `gallery` (M, D), `labels` (M,) or (M, C) and `groups` (M,) begin with the queries' own rows.
    Without `labels` the only relevant candidate is the query's own row, and it is the only one of
    its group that is kept. NaN: no relevant candidate. Ties count as one threshold for precision
    (scikit-learn's average precision) and by their expectation for recall@1, so that an encoder
    that maps everything to one point scores chance whatever the order of the data.
    """
    import torch

    group = torch.from_numpy(groups).to(device)
    label = None if labels is None else torch.from_numpy(labels).to(device)
    rows = torch.arange(len(gallery), device=device)
    precision, recall, share = found = np.empty((3, len(queries)))
    for start, similarity in _similarities(queries, gallery, device):
        mine = rows[start : start + len(similarity), None]
        excluded = group[mine] == group[None]
        if label is None:
            relevant = mine == rows[None]
            excluded = excluded & ~relevant
        elif label.ndim == 1:
            relevant = (label[mine] == label[None]) & ~excluded
        else:
            relevant = (label[mine[:, 0]] @ label.T > 0) & ~excluded
        found[:, start : start + len(similarity)] = _rank(similarity, relevant, excluded)
    usable = np.isfinite(precision)
    chance = float(share[usable].mean()) if usable.any() else 0.0
    return precision, recall, chance


def _similarities(queries: Any, gallery: Any, device: str) -> Iterator[tuple[int, torch.Tensor]]:
    """(first query, cosine similarities (n, M) in millionths) of consecutive blocks of queries.

    A gallery on the disk is read once for as many queries as `_HELD` similarities allow.
    """
    import torch

    step = most = max(1, _BLOCK // len(gallery))
    kept: Iterable[tuple[slice, torch.Tensor]] | None = None
    if isinstance(gallery, ArrayOnDisk):
        most = step * max(1, _HELD // _BLOCK)
    else:
        kept = list(_unit_blocks(gallery, device))
    for rows, block in row_blocks(queries, most):
        asked = unit_rows(block, device)
        similarity = torch.empty((len(asked), len(gallery)), device=device)
        for span, against in kept or _unit_blocks(gallery, device):
            torch.matmul(asked, against, out=similarity[:, span])
        for start in range(0, len(asked), step):
            part = similarity[start : start + step]
            yield rows.start + start, torch.round(part * 10.0**DIGITS).int()


def _unit_blocks(gallery: Any, device: str) -> Iterator[tuple[slice, torch.Tensor]]:
    return ((span, unit_rows(block, device).T) for span, block in row_blocks(gallery))


def _rank(
    similarity: torch.Tensor, relevant: torch.Tensor, excluded: torch.Tensor
) -> tuple[Array, Array, Array]:
    """Average precision, recall@1 and share of relevant candidates of queries, (n,) each.

    `similarity` (int32), `relevant` and `excluded` are (n, M) over the gallery.
    """
    import torch

    # sorted from the most similar on, the relevant ones of a tie first, what is excluded last
    keys = (-2 * similarity + (~relevant).int()).masked_fill_(excluded, _LAST)
    ordered = _sorted(keys)
    hits = (1 - (ordered & 1)).cumsum(1, dtype=torch.int32)
    hit, wanted = (ordered & 1) == 0, hits[:, -1].double()
    # position of the last candidate that shares each similarity
    size = ordered.shape[1]
    ends = torch.ones_like(hit)
    ends[:, :-1] = (ordered[:, 1:] >> 1) != (ordered[:, :-1] >> 1)
    position = torch.arange(size, device=keys.device, dtype=torch.int32)
    last = torch.where(ends, position, size).flip(1).cummin(1).values.flip(1).long()
    share = hits.gather(1, last).double() / (last + 1)
    precision = share.masked_fill_(~hit, 0.0).sum(1) / wanted
    recall = hits.gather(1, last[:, :1])[:, 0].double() / (last[:, 0] + 1)
    recall = torch.where(wanted > 0, recall, torch.nan)
    chance = wanted / (~excluded).sum(1).clamp(min=1)
    return precision.cpu().numpy(), recall.cpu().numpy(), chance.cpu().numpy()


def _sorted(keys: torch.Tensor) -> torch.Tensor:
    """Each row in ascending order: NumPy's sort is much the faster on a CPU."""
    import torch

    if keys.is_cuda:
        return keys.sort(dim=1).values
    values = keys.numpy()
    values.sort(axis=1)
    return torch.from_numpy(values)
