"""verification: are two recordings of one speaker? Listed trials, compared by cosine."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import SslBenchError
from benchmark.metrics import check_metric
from benchmark.protocols.blocks import BLOCK_VALUES
from benchmark.protocols.checks import check_splits, samples, sizes
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.scoring import measure_statistics
from benchmark.task import TaskCard
from benchmark.trials import TARGET_PRIOR, Trials

Array = NDArray[Any]
DIGITS = 6  # similarities that agree to here are ties: more is float32 noise
CHANCE = {"eer": 0.5, "min_dcf": 1.0}
_BLOCK = 4_000_000  # elements of the embeddings compared at a time


class VerificationProtocol(Protocol):
    """Equal error rate of the cosine similarity over the trials that the task lists.

    Nothing is trained: train and validation are not read. An example's targets are (n, 2): the
    position in the split of the example it is compared with, and 1 where both are of one class.
    `min_dcf` (target prior 0.01) and `auroc` are given beside the main metric. The interval
    resamples groups (speakers): a trial counts as often as the pair of its two groups was drawn.
    """

    name = "verification"
    targets: ClassVar[tuple[str, ...]] = ("pairs",)
    reads: ClassVar[tuple[str, ...]] = ("test",)

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
        metric = check_metric(task.metric, "pairs")
        trials = listed_trials(test)
        same = trials[:, 2] > 0
        if same.all() or not same.any():
            raise SslBenchError(
                f"{task.name}: verification needs trials of the same and of different classes; "
                f"all {len(trials)} are of one kind"
            )
        scores = similarities(samples(test), trials[:, :2])
        measured = measure_statistics(
            lambda codes, groups: Trials(scores, same, codes[trials[:, :2]], groups),
            test.groups, seed,
        )  # fmt: skip
        return measured.scores(
            metric,
            hyperparameters={"similarity": "cosine", "min_dcf_target_prior": TARGET_PRIOR},
            chance=CHANCE[metric],
            ceiling=0.0,
            counts={
                **sizes(None, None, test),
                "trials": len(trials),
                "same_trials": int(same.sum()),
            },
        )


def listed_trials(split: Split) -> Array:
    """(T, 3) int: positions of the two examples in the split, 1 where they are of one class."""
    lists = [np.asarray(target, dtype=np.int64).reshape(-1, 2) for target in split.targets]
    own = np.repeat(np.arange(len(lists)), [len(rows) for rows in lists])
    return np.column_stack((own, np.concatenate(lists)))


def similarities(embeddings: Any, pairs: Array) -> Array:
    """Cosine (T,) of the examples of each pair, rounded to six digits; 0 for a zero embedding.

    Both ends of a pair come from one block of the embeddings (N, D) each, so that two blocks are in
    memory at once.
    """
    size = max(1, BLOCK_VALUES // embeddings.shape[1])
    tile = pairs // size
    order = np.lexsort((tile[:, 1], tile[:, 0]))
    changes = np.flatnonzero((np.diff(tile[order], axis=0) != 0).any(1)) + 1
    cosine = np.empty(len(pairs))
    held: dict[int, Array] = {}
    for trials in np.split(order, changes):
        wanted = {int(block) for block in tile[trials[:1]].ravel()}
        held = {block: held[block] for block in wanted & held.keys()}
        for block in wanted - held.keys():
            held[block] = _units(embeddings[block * size : (block + 1) * size])
        step = max(1, _BLOCK // embeddings.shape[1])
        for start in range(0, len(trials), step):
            own = trials[start : start + step]
            a, b = (held[int(tile[own[0], end])][pairs[own, end] % size] for end in (0, 1))
            cosine[own] = np.einsum("td,td->t", a, b)
    return np.round(cosine, DIGITS)


def _units(block: Array) -> Array:
    rows = block.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows
