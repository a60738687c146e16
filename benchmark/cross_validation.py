"""Official folds and independent runs: splits joined for training, scores averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import interval, resample_groups
from benchmark.errors import SslBenchError
from benchmark.protocols.contract import Estimate, Scores, Split
from benchmark.sharded import stacked as one_after_another

Array = NDArray[Any]


def join(splits: Sequence[Split]) -> Split:
    """The examples of several splits one after another."""
    if len(splits) == 1:
        return splits[0]

    def stacked(name: str) -> Any:
        values = [getattr(split, name) for split in splits]
        return None if values[0] is None else one_after_another(values)

    first = splits[0]
    targets: Any
    if isinstance(first.targets, list):
        targets = [target for split in splits for target in split.targets]
    else:
        targets = stacked("targets")
    offsets = None
    if first.frame_offsets is not None:
        lengths = [np.diff(np.asarray(split.frame_offsets)) for split in splits]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
    return Split(
        stacked("embeddings"),
        targets,
        stacked("groups"),
        stacked("ids"),
        bags=stacked("bags"),
        frame_offsets=offsets,
        frame_rate=first.frame_rate,
        layers=stacked("layers"),
        towers={
            name: one_after_another([split.towers[name] for split in splits])
            for name in first.towers
        },
        class_texts=first.class_texts,
        points=None if first.points is None else [p for s in splits for p in s.points or ()],
        centres=stacked("centres"),
    )


def mean_scores(
    found: Sequence[Scores], tested: Sequence[Split], seed: int = 0, *, independent: bool = False
) -> Scores:
    """One `Scores` of several rounds', which were tested on `tested`.

    Values are means. Where the rounds are folds of several groups each, the groups are disjoint
    and resampled apart: the main metric's interval comes from the mean of the replicates, those of
    other metrics, whose replicates are not kept, from the half-widths added in quadrature. Where a
    fold has a single group, and where the rounds are `independent` runs, whose training data differ
    as well, the rounds themselves are resampled. Counts of test examples and confusions are summed,
    what is per class is averaged over the rounds that have it.

    Raises:
        SslBenchError: the rounds have different main metrics.
    """
    main = found[0].main
    if any(scores.main != main for scores in found):
        names = ", ".join(sorted({scores.main for scores in found}))
        raise SslBenchError(
            f"the folds are too different to be averaged: their main scores are {names}; "
            "use another protocol"
        )
    replicates: Array = np.stack([scores.replicates for scores in found]).mean(axis=0)
    mean: Callable[[Sequence[Estimate]], Estimate] = _added
    if independent or np.isnan(replicates).any():
        mean = redrawn = _Redrawn(tested, seed)
        replicates = redrawn.replicates([scores.metrics[main].value for scores in found])
    metrics = {
        name: mean([scores.metrics[name] for scores in found])
        for name in found[0].metrics
        if all(name in scores.metrics for scores in found)
    }
    metrics[main] = interval(metrics[main].value, replicates)
    tables = [scores.confusion for scores in found if scores.confusion is not None]
    confusion = np.sum(tables, axis=0).tolist() if len(tables) == len(found) else None
    chance, ceiling = (
        [value for scores in found if (value := getattr(scores, name)) is not None]
        for name in ("chance", "ceiling")
    )
    unit = "runs" if independent else "folds"
    return Scores(
        main,
        metrics,
        replicates.astype(np.float32),
        per_class=_mean_per_class(found),
        confusion=confusion,
        curve=_mean_curve(found, mean),
        hyperparameters={unit: [{**s.hyperparameters, main: s.metrics[main].value} for s in found]},
        counts={
            unit: len(found),
            **{
                name: int((np.sum if name.startswith("test") else np.mean)(values))
                for name, values in _columns([scores.counts for scores in found])
            },
        },
        chance=float(np.mean(chance)) if chance else None,
        ceiling=float(np.mean(ceiling)) if ceiling else None,
    )


def _added(parts: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, half-widths added in quadrature."""
    value = float(np.mean([part.value for part in parts]))
    below: Array = np.array([part.value - part.low for part in parts])
    above: Array = np.array([part.high - part.value for part in parts])
    return Estimate(
        value,
        value - float(np.sqrt((below**2).sum())) / len(parts),
        value + float(np.sqrt((above**2).sum())) / len(parts),
    )


class _Redrawn:
    """Means whose intervals come from rounds drawn with replacement.

    The draw depends on the groups that the rounds test and the seed alone, so two encoders, or two
    tasks over the same speakers, see the same draws.
    """

    def __init__(self, tested: Sequence[Split], seed: int) -> None:
        names = ["\0".join(sorted(set(map(str, split.groups)))) for split in tested]
        drawn = resample_groups(np.array(names, dtype=object), seed)
        self.weights: Array = drawn.counts[:, drawn.codes] / len(tested)  # (B, rounds)

    def replicates(self, values: Sequence[float]) -> Array:
        """(B,) means over the drawn rounds."""
        return np.asarray(self.weights @ np.asarray(values))

    def __call__(self, parts: Sequence[Estimate]) -> Estimate:
        values = [part.value for part in parts]
        return interval(float(np.mean(values)), self.replicates(values))


def _columns(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """(key, values) of the keys that any of the rows has."""
    for key in dict.fromkeys(key for row in rows for key in row):
        yield key, [row[key] for row in rows if key in row]


def _mean_per_class(found: Sequence[Scores]) -> dict[str, dict[str, float]]:
    summed = ("support", "pixels")
    return {
        name: {
            key: float((np.sum if key in summed else np.mean)(values))
            for key, values in _columns(rows)
            if key != "left_out" or len(values) == len(found)
        }
        for name, rows in _columns([scores.per_class for scores in found])
    }


def _mean_curve(
    found: Sequence[Scores], average: Callable[[Sequence[Estimate]], Estimate]
) -> list[dict[str, float]]:
    """Points that all folds have in common by position; none where the folds' curves differ."""
    if len({len(scores.curve) for scores in found}) != 1:
        return []
    curve = []
    for points in zip(*(scores.curve for scores in found), strict=True):
        mean = average([Estimate(p["value"], p["low"], p["high"]) for p in points])
        curve.append({**points[0], "value": mean.value, "low": mean.low, "high": mean.high})
    return curve
