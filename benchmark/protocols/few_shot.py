"""few-shot: N-way K-shot episodes on frozen embeddings."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.bootstrap import interval, resample_groups, seed_from
from benchmark.errors import SslBenchError
from benchmark.protocols.blocks import row_blocks, unit_rows
from benchmark.protocols.checks import check_splits, pooled, samples, sizes
from benchmark.protocols.contract import RESAMPLES, Protocol, Scores, Split
from benchmark.protocols.episodes import Episodes, classify_episodes, draw_episodes
from benchmark.sharded import ArrayOnDisk
from benchmark.task import TaskCard

Array = NDArray[Any]
MAIN_SHOTS = 5
LOGISTIC_C = 1.0  # Tian et al. 2020, "Rethinking few-shot image classification"


class FewShotProtocol(Protocol):
    """Accuracy over episodes of a nearest-centroid classifier and of a logistic probe.

    Support examples come from train, queries from test (their groups never meet), 15 per class; K
    in 1, 5, 10, 20 as far as two classes have K training examples; N = 5, or all such classes.
    Features are centred by the mean of train and L2-normalised (SimpleShot, Wang et al. 2019). The
    logistic probe has the fixed C = 1. Episodes depend on the task alone, not on the seed, so that
    any two results pair. The main metric is the centroid's accuracy at 5-shot, or at the largest K
    below it that the task allows. The interval resamples both episodes and test groups. Validation
    is not used.
    """

    name = "few-shot"
    targets: ClassVar[tuple[str, ...]] = ("multiclass", "bags")

    def __init__(
        self,
        ways: tuple[int, ...] = (5,),
        shots: tuple[int, ...] = (1, 5, 10, 20),
        episodes: int = 600,
        queries: int = 15,
    ) -> None:
        self.ways, self.shots, self.episodes, self.queries = ways, shots, episodes, queries

    @classmethod
    def modelnet40(cls) -> FewShotProtocol:
        """ModelNet40's convention: 5- and 10-way, 10- and 20-shot, 10 runs, 20 queries per class
        (Sharma & Kaul 2020; as reported by Point-BERT and later). Metrics are then named
        `accuracy@5-way-10-shot`, and `curve` has the standard deviation over runs."""
        return cls(ways=(5, 10), shots=(10, 20), episodes=10, queries=20)

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
        centre = _mean(samples(train))
        support, queries = (_centred(samples(split), centre, device) for split in (train, test))
        labels = np.asarray(train.targets).copy()
        labels[np.isin(np.asarray(train.groups), np.asarray(test.groups))] = -1
        resamples = resample_groups(test.groups, seed)
        generator = np.random.default_rng(seed_from("episodes", task.name, seed))
        available = len(set(labels[labels >= 0]) & set(np.asarray(test.targets)))
        metrics, replicates, curve = {}, {}, []
        for ways in sorted({min(n, available) for n in self.ways}):
            for shots in self.shots:
                episodes = draw_episodes(
                    labels, np.asarray(test.targets), ways=ways, shots=shots,
                    queries=self.queries, episodes=self.episodes,
                    seed=seed_from("few-shot", task.name, ways, shots),
                )  # fmt: skip
                if episodes is None:
                    continue
                drawn = _resample_episodes(generator, self.episodes)
                truth = np.repeat(np.arange(episodes.queries.shape[1]), self.queries)
                label = f"{shots}-shot" if len(self.ways) == 1 else f"{ways}-way-{shots}-shot"
                answers = classify_episodes(support, queries, episodes, LOGISTIC_C)
                for classifier, predicted in zip(("", "logistic_"), answers, strict=True):
                    correct = predicted == truth
                    key = f"{classifier}accuracy@{label}"
                    replicates[key] = _replicates(correct, episodes, resamples, drawn)
                    metrics[key] = interval(float(correct.mean()), replicates[key])
                    if not classifier:
                        found = metrics[key]
                        curve.append({
                            "ways": episodes.queries.shape[1], "shots": shots, "value": found.value,
                            "low": found.low, "high": found.high,
                            "std": float(correct.mean(1).std(ddof=1)) if len(correct) > 1 else 0.0,
                        })  # fmt: skip
        if not metrics:
            raise SslBenchError(
                f"{task.name}: fewer than two classes have {min(self.shots)} training examples "
                "and a test example; remove few-shot from the card's `protocols`"
            )
        centroid = [key for key in metrics if key.startswith("accuracy@")]
        within = [k for k, row in zip(centroid, curve, strict=True) if row["shots"] <= MAIN_SHOTS]
        main = (within or centroid[:1])[-1]
        ways = int(curve[centroid.index(main)]["ways"])
        return Scores(
            main, {main: metrics[main], **metrics}, replicates[main].astype(np.float32),
            curve=curve,
            hyperparameters={
                "ways": ways, "queries_per_class": self.queries, "episodes": self.episodes,
                "logistic_c": LOGISTIC_C,
            },
            counts=sizes(train, None, test),
            chance=1 / ways,
            ceiling=1.0,
        )  # fmt: skip


def _mean(x: Any) -> Array:
    """Mean (D,) float32 of the rows of (N, D)."""
    shares = (block.mean(0) * (len(block) / len(x)) for _, block in row_blocks(x))
    return np.asarray(sum(shares), dtype=np.float32)


def _centred(x: Any, centre: Array, device: str) -> Any:
    """The centred rows of (N, D), of length 1, by their numbers: a tensor, or of a set that stays
    on the disk what reads those that an episode asks for."""
    if not isinstance(x, ArrayOnDisk):
        return unit_rows(x - centre, device)
    return _Drawn(x, centre, device)


class _Drawn:
    def __init__(self, x: ArrayOnDisk, centre: Array, device: str) -> None:
        self.x, self.centre, self.device = x, centre, torch.device(device)
        self.shape = x.shape

    def __getitem__(self, rows: torch.Tensor) -> torch.Tensor:
        drawn, places = np.unique(rows.cpu().numpy(), return_inverse=True)
        units = unit_rows(self.x[drawn] - self.centre, str(self.device))
        return units[torch.from_numpy(places.reshape(rows.shape)).to(self.device)]


def _resample_episodes(generator: np.random.Generator, episodes: int) -> Array:
    drawn = generator.multinomial(episodes, np.full(episodes, 1 / episodes), RESAMPLES)
    return drawn.astype(np.float64)


def _replicates(correct: Array, episodes: Episodes, resamples: Any, drawn: Array) -> Array:
    """Accuracy per resample (B,) of episodes (`drawn` (B, E)) and of test groups together; NaN
    with a single group, whose difference from others no draw of episodes shows."""
    if resamples.groups == 1:
        return np.full(len(drawn), np.nan)
    asked = resamples.codes[episodes.queries.reshape(len(correct), -1)]
    flat = (np.arange(len(correct))[:, None] * resamples.groups + asked).ravel()
    length = len(correct) * resamples.groups
    right = np.bincount(flat, weights=correct.ravel(), minlength=length)
    total = np.bincount(flat, minlength=length).astype(np.float64)
    shape = len(correct), resamples.groups
    above = ((drawn @ right.reshape(shape)) * resamples.counts).sum(1)
    below = ((drawn @ total.reshape(shape)) * resamples.counts).sum(1)
    mean = np.full(len(drawn), correct.mean())
    values: Array = np.divide(above, below, out=mean, where=below > 0)
    return values
