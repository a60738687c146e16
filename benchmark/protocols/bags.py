"""The linear probe on bags of tiles (multiple-instance learning): mean pooling and ABMIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import seed_from
from benchmark.errors import SslBenchError
from benchmark.probe.features import statistics
from benchmark.protocols.abmil import Bags, fit_abmil
from benchmark.protocols.checks import pooled, samples, sizes, subset
from benchmark.protocols.contract import Scores, Split
from benchmark.protocols.probing import probe_splits
from benchmark.protocols.scoring import measure
from benchmark.protocols.selection import selection_score
from benchmark.task import TaskCard

Array = NDArray[Any]
HELD_OUT = 0.2


def probe_bags(
    train: Split,
    validation: Split | None,
    test: Split,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
) -> Scores:
    """Score both poolings; the one that is better on validation data is the main result.

    Mean pooling is the linear probe on each bag's mean embedding. ABMIL stops early on the
    validation split, else on 20% of the training groups. Without a validation split mean pooling is
    judged by its cross-validation. Mean pooling wins ties.
    """
    for name, split in (("train", train), ("test", test)):
        if split.bags is None:
            raise SslBenchError(f"{task.name}: the {name} split has no `bag` column; add it")
    bags = pooled(train), None if validation is None else pooled(validation), pooled(test)
    probed = probe_splits(bags[0], bags[1], task, seed=seed, device=device, encoder=encoder)
    mean = measure(task, bags[2], probed.predict(bags[2].embeddings), seed)

    fit, stop = (train, validation) if validation is not None else hold_out(train, task, seed)
    centre, spread = statistics([(samples(fit), None)])
    fit_bags, stop_bags, test_bags = (_bags(part, centre, spread) for part in (fit, stop, test))
    model = fit_abmil(
        fit_bags, stop_bags, len(task.target.classes),
        selection_score(task.metric, "multiclass", task.target), seed=seed, device=device,
    )  # fmt: skip
    attention = measure(task, bags[2], model.predict(test_bags), seed)

    winner = "abmil" if model.selected > probed.selected else "mean"
    scores = (attention if winner == "abmil" else mean).scores(task.metric)
    for name, found in (("mean pooling", mean), ("abmil", attention)):
        if task.metric in found.estimates:
            scores.metrics[f"{task.metric} ({name})"] = found.estimates[task.metric]
    scores.hyperparameters = {
        "chosen": "abmil" if winner == "abmil" else "mean pooling",
        "mean_pooling": probed.hyperparameters(),
        "abmil": {"epochs": model.epochs, "selection_score": model.selected},
    }
    scores.counts = {**sizes(*bags), "train_tiles": len(train), "test_tiles": len(test)}
    return scores


def hold_out(split: Split, task: TaskCard, seed: int) -> tuple[Split, Split]:
    """Split off whole groups, about 20%, stratified by class where groups allow it.

    Raises:
        SslBenchError: fewer than two groups.
    """
    held = held_out_groups(split, task, seed)
    return subset(split, np.flatnonzero(~held)), subset(split, np.flatnonzero(held))


def held_out_groups(split: Split, task: TaskCard, seed: int) -> Array:
    """(N,) bool: examples of the groups that are held out."""
    names, codes = np.unique(np.asarray(split.groups).astype(str), return_inverse=True)
    if len(names) < 2:
        raise SslBenchError(
            f"{task.name}: without a validation split the training data needs at least two groups"
        )
    generator = np.random.default_rng(seed_from("hold out", task.name, seed))
    order = generator.permutation(len(names))
    if not isinstance(split.targets, list):
        # stable sort by class, then every fifth group: each class gives its share
        label = np.zeros(len(names), dtype=np.int64)
        label[codes] = np.asarray(split.targets)
        order = order[np.argsort(label[order], kind="stable")]
    every = round(1 / HELD_OUT)
    held = np.zeros(len(names), dtype=bool)
    held[order[min(every // 2, len(names) - 1) :: every]] = True
    return held[codes]


def _bags(split: Split, centre: Array, spread: Array) -> Bags:
    _, first, index = np.unique(
        np.asarray(split.bags).astype(str), return_index=True, return_inverse=True
    )
    targets = np.asarray(split.targets)[first].astype(np.int64)
    scale = np.where(spread > 0, spread, 1.0).astype(np.float32)
    return Bags(samples(split), index, targets, centre.astype(np.float32), scale)
