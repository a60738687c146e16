"""label-efficiency: the linear probe with a fraction of the labels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import interval, seed_from
from benchmark.protocols.checks import check_splits, pooled, samples, sizes, subset
from benchmark.protocols.contract import Protocol, Scores, Split
from benchmark.protocols.probing import FOLDS, probe_kind, probe_splits
from benchmark.protocols.scoring import Measured, measure
from benchmark.task import TaskCard

Array = NDArray[Any]
STRATA = 5  # quantile bins of a regression target


class LabelEfficiencyProtocol(Protocol):
    """Linear probe with 1%, 10% and 100% of the training labels, 5 draws (100%: one).

    Whole groups are drawn, stratified by class, at least one group per class (regression: per
    quintile of the target). The validation split, whose labels count as labels too, is thinned to
    the same fraction, so at 100% this is the linear-probe protocol itself. Without a validation
    split, a draw with fewer than two groups of some class cannot be cross-validated and uses the
    penalty C = 1. Draws depend on the task and the seed alone. Values and bootstrap replicates are
    means over draws; the main metric is the card's metric averaged over the three fractions.
    """

    name = "label-efficiency"
    targets: ClassVar[tuple[str, ...]] = ("multiclass", "multilabel", "regression", "bags")

    def __init__(self, fractions: tuple[float, ...] = (0.01, 0.1, 1.0), draws: int = 5) -> None:
        self.fractions, self.draws = fractions, draws

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
        splits = {"train": train, "validation": validation, "test": test}
        check_splits(splits, task, self.name, self.targets, encoder)
        train, test = pooled(train), pooled(test)
        validation = None if validation is None else pooled(validation)
        metric = task.metric
        estimates, curve, means, penalties = {}, [], [], {}
        counts = sizes(train, validation, test)
        for fraction in self.fractions:
            measured, chosen = [], []
            for draw in range(self.draws if fraction < 1 else 1):
                rows = draw_groups(train, task, fraction, seed, draw)
                part = subset(train, rows)
                thin = validation
                if validation is not None and fraction < 1:
                    thin = subset(validation, draw_groups(validation, task, fraction, seed, draw))
                more: dict[str, Any] = {}
                if thin is None and not _crossable(part, task):
                    more["penalties"] = (1.0,)
                probed = probe_splits(
                    part, thin, task, seed=seed, device=device, encoder=encoder, **more
                )
                measured.append(measure(task, test, probed.predict(samples(test)), seed))
                chosen.append(float(probed.probe.penalty))
            label = f"{100 * fraction:g}%"
            value, replicates = _mean_over_draws(measured, metric)
            estimates[f"{metric}@{label}"] = interval(value, replicates)
            means.append((value, replicates))
            penalties[label] = chosen
            counts[f"train@{label}"] = len(rows)
            found = estimates[f"{metric}@{label}"]
            curve.append(
                {"fraction": fraction, "value": value, "low": found.low, "high": found.high}
            )
        together = np.mean([replicates for _, replicates in means], axis=0)
        main = interval(float(np.mean([value for value, _ in means])), together)
        return Scores(
            metric,
            {metric: main, **estimates},
            together.astype(np.float32),
            curve=curve,
            hyperparameters={"penalties": penalties, "draws": self.draws},
            counts=counts,
        )


def _mean_over_draws(measured: list[Measured], metric: str) -> tuple[float, Array]:
    value = float(np.mean([one.scores(metric).metrics[metric].value for one in measured]))
    return value, np.mean([one.replicates[metric] for one in measured], axis=0)


def draw_groups(split: Split, task: TaskCard, fraction: float, seed: int, draw: int) -> Array:
    """Rows of a stratified draw of whole groups: about `fraction` of them, never fewer than one
    per class; sorted. All rows for a fraction of 1."""
    if fraction >= 1:
        return np.arange(len(split))
    generator = np.random.default_rng(
        seed_from("label-efficiency", task.name, seed, fraction, draw)
    )
    _, codes = np.unique(np.asarray(split.groups).astype(str), return_inverse=True)
    table = _membership(split, task, codes)  # (groups, classes) number of examples
    order = generator.permutation(len(table))
    main = table.argmax(1)
    taken = np.zeros(len(table), dtype=bool)
    for stratum in np.unique(main):
        members = order[main[order] == stratum]
        taken[members[: max(1, round(fraction * len(members)))]] = True
    # classes that no group has as its main one, rarest first
    for column in np.argsort(table.sum(0), kind="stable"):
        holders = order[table[order, column] > 0]
        if len(holders) and not taken[holders].any():
            taken[holders[0]] = True
    return np.flatnonzero(taken[codes])


def _membership(split: Split, task: TaskCard, codes: Array) -> Array:
    targets = np.asarray(split.targets)
    kind = probe_kind(task)
    if kind == "regression":
        means = np.bincount(codes, weights=targets) / np.bincount(codes)
        edges = np.quantile(means, np.linspace(0, 1, STRATA + 1)[1:-1])
        return np.eye(STRATA)[np.searchsorted(edges, means)]
    if kind == "multiclass":
        targets = targets[:, None] == np.arange(len(task.target.classes))
    table = np.zeros((codes.max() + 1, targets.shape[1]))
    np.add.at(table, codes, targets > 0)
    return table


def _crossable(split: Split, task: TaskCard) -> bool:
    """Whether every class that occurs has two groups, so that folds can be made."""
    names, codes = np.unique(np.asarray(split.groups).astype(str), return_inverse=True)
    if probe_kind(task) == "regression":
        return len(names) >= FOLDS
    holders = (_membership(split, task, codes) > 0).sum(0)
    return bool((holders[holders > 0] >= 2).all())
