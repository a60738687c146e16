"""Official folds: each fold is the test split once, the scores are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import interval
from benchmark.errors import SslBenchError
from benchmark.protocols.contract import Estimate, Scores, Split


def over_folds(
    folds: Sequence[Split], score: Callable[[Split, Split], Scores], joined: bool = True
) -> Scores:
    """The mean of `score(train, test)` over folds; the other folds together are `train`.

    The folds' groups are disjoint and resampled apart, so the replicates of the mean are the means
    of the replicates. `joined` False hands over the test fold as `train` too, for protocols that
    read nothing else.
    """
    found = [
        score(join([f for f in folds if f is not test]) if joined else test, test) for test in folds
    ]
    return mean_scores(found)


def join(splits: Sequence[Split]) -> Split:
    """The examples of several splits one after another."""

    def stacked(name: str) -> Any:
        values = [getattr(split, name) for split in splits]
        return None if values[0] is None else np.concatenate(values)

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
            name: np.concatenate([split.towers[name] for split in splits]) for name in first.towers
        },
        class_texts=first.class_texts,
    )


def mean_scores(found: Sequence[Scores]) -> Scores:
    """One `Scores` of several folds'.

    Values are means. The main metric's interval comes from the mean of the replicates; those of
    other metrics, whose replicates are not kept, from the half-widths added in quadrature. Counts
    of test examples and confusions are summed, what is per class is averaged over the folds that
    have it.

    Raises:
        SslBenchError: the folds have different main metrics.
    """
    main = found[0].main
    if any(scores.main != main for scores in found):
        names = ", ".join(sorted({scores.main for scores in found}))
        raise SslBenchError(
            f"the folds are too different to be averaged: their main scores are {names}; "
            "use another protocol"
        )
    replicates = np.mean([scores.replicates for scores in found], axis=0).astype(np.float32)
    metrics = {
        name: _mean_estimate([scores.metrics[name] for scores in found])
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
    return Scores(
        main,
        metrics,
        replicates,
        per_class=_mean_per_class(found),
        confusion=confusion,
        curve=_mean_curve(found),
        hyperparameters={"folds": [scores.hyperparameters for scores in found]},
        counts={
            "folds": len(found),
            **{
                name: int((np.sum if name.startswith("test") else np.mean)(values))
                for name, values in _columns([scores.counts for scores in found])
            },
        },
        chance=float(np.mean(chance)) if chance else None,
        ceiling=float(np.mean(ceiling)) if ceiling else None,
    )


def _columns(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    """(key, values) of the keys that any of the rows has."""
    for key in dict.fromkeys(key for row in rows for key in row):
        yield key, [row[key] for row in rows if key in row]


def _mean_estimate(parts: Sequence[Estimate]) -> Estimate:
    value = float(np.mean([part.value for part in parts]))
    below: NDArray[Any] = np.array([part.value - part.low for part in parts])
    above: NDArray[Any] = np.array([part.high - part.value for part in parts])
    return Estimate(
        value,
        value - float(np.sqrt((below**2).sum())) / len(parts),
        value + float(np.sqrt((above**2).sum())) / len(parts),
    )


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


def _mean_curve(found: Sequence[Scores]) -> list[dict[str, float]]:
    """Points that all folds have in common by position; none where the folds' curves differ."""
    if len({len(scores.curve) for scores in found}) != 1:
        return []
    curve = []
    for points in zip(*(scores.curve for scores in found), strict=True):
        mean = _mean_estimate([Estimate(p["value"], p["low"], p["high"]) for p in points])
        curve.append({**points[0], "value": mean.value, "low": mean.low, "high": mean.high})
    return curve
