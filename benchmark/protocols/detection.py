"""Events from frame probabilities: filter and thresholds, event and onset F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.matching import COLLAR, LENGTH_SHARE, ONSET_WINDOW, match_events
from benchmark.metrics import Counts, group_sums
from benchmark.protocols.scoring import Measured, measure_statistics
from benchmark.protocols.timeline import Timeline

Array = NDArray[Any]
THRESHOLDS = np.round(np.linspace(0.05, 0.95, 19), 2)
FILTERS = (0.0, 0.05, 0.15, 0.4)  # s


@dataclass(frozen=True)
class Predicted:
    """The timeline of some clips with a probability for every frame and class, (F, C)."""

    timeline: Timeline
    probabilities: Array

    def smooth(self, width: int) -> Array:
        """Probabilities after a median filter over `width` frames."""
        return self.timeline.smooth(self.probabilities, width)


def filter_widths(rate: float) -> list[int]:
    """The median filters that are tried, in frames."""
    return sorted({1 + 2 * round(seconds * rate / 2) for seconds in FILTERS})


def score_events(
    tuning: Predicted, test: Predicted, groups: Array, names: tuple[str, ...], metric: str,
    seed: int,
) -> tuple[Measured, dict[str, Any]]:  # fmt: skip
    """Scores of the test events, and the filter and thresholds that the tuning clips chose."""
    widths = filter_widths(tuning.timeline.rate)
    width, thresholds = tune(tuning.timeline, tuning.probabilities, widths, metric)
    tables = event_counts(test.timeline, test.smooth(width), thresholds, metric)
    chosen = {"median_filter_frames": width, "thresholds": thresholds}
    return measure_events(tables, groups, names, metric, seed), chosen


def tune(
    timeline: Timeline, probabilities: Array, widths: list[int], metric: str
) -> tuple[int, list[float]]:
    """Median filter (frames) and threshold per class with the best F1 on these clips; the smaller
    filter and the lower threshold among equals. The filter is judged by F1 pooled over classes, for
    `event_macro_f1` by its mean over the annotated classes."""
    best: tuple[float, int, list[float]] = (-1.0, widths[0], [])
    for width in widths:
        smooth = timeline.smooth(probabilities, width)
        # (thresholds, 3, clips, classes) -> sums over clips
        totals = np.stack([
            np.stack(event_counts(timeline, smooth, [t] * smooth.shape[1], metric)).sum(1)
            for t in THRESHOLDS
        ])  # fmt: skip
        f1 = 2 * totals[:, 0] / np.maximum(totals[:, 1] + totals[:, 2], 1)
        pick = f1.argmax(0)
        hits, truth, found = (totals[pick, i, np.arange(f1.shape[1])].sum() for i in range(3))
        value = 2 * hits / max(truth + found, 1)
        if metric == "event_macro_f1":
            annotated = totals[0, 1] > 0
            value = f1.max(0)[annotated].mean() if annotated.any() else 0.0
        if value > best[0]:
            best = (float(value), width, [float(t) for t in THRESHOLDS[pick]])
    return best[1], best[2]


def event_counts(
    timeline: Timeline, probabilities: Array, thresholds: list[float], metric: str
) -> tuple[Array, Array, Array]:
    """Matched, annotated and detected events per clip and class, each (clips, C)."""
    shape = len(timeline.offsets) - 1, timeline.classes
    hits, truth, found = (np.zeros(shape) for _ in range(3))
    onsets = metric == "onset_f1"
    collar = {} if not onsets else {"collar": ONSET_WINDOW}
    for c in range(timeline.classes):
        events = timeline.events[timeline.events[:, 2] == c][:, [0, 1, 3]]
        detected = timeline.detect(probabilities[:, c], thresholds[c], onsets=onsets)
        matched = (
            match_events(events, detected, **collar)
            if onsets
            else match_events(events, detected, COLLAR, LENGTH_SHARE)
        )
        for table, clips in (
            (hits, matched), (truth, events[:, 2]), (found, detected[:, 2]),
        ):  # fmt: skip
            table[:, c] = np.bincount(clips.astype(np.int64), minlength=shape[0])
    return hits, truth, found


def measure_events(
    tables: tuple[Array, Array, Array],
    groups: Array,
    names: tuple[str, ...],
    metric: str,
    seed: int,
) -> Measured:
    """Event F1 from matched, annotated and detected events per clip and class, each (clips, C).

    `event_f1` and `onset_f1` pool the counts over clips and classes; their `macro` is the mean over
    classes of F1 pooled over clips, for classes that are annotated or detected. That is the
    class-wise average of `sed_eval` (DCASE), except that an annotated class of which nothing is
    detected counts as 0 (sed_eval leaves it out), and so does one that is detected but nowhere
    annotated.
    """
    stem = "onset" if metric == "onset_f1" else "event"
    return measure_counts(Counts(*tables), groups, names, seed, lambda table, counts: {
        f"{stem}_f1": table.micro_f1(counts),
        f"{stem}_macro_f1": table.macro_f1(counts),
        f"{stem}_precision": table.micro_precision(counts),
        f"{stem}_recall": table.accuracy(counts),
    })  # fmt: skip


def measure_counts(
    per_clip: Counts, groups: Array, names: tuple[str, ...], seed: int, values: Any
) -> Measured:
    """Bootstrap `values(counts per group, group counts)`; `per_clip` has one row per clip."""

    def build(codes: Array, total: int) -> Any:
        parts = (per_clip.hits, per_clip.truth, per_clip.predicted)
        table = Counts(*(group_sums(codes, total, part) for part in parts))
        return lambda counts: values(table, counts)

    measured = measure_statistics(build, groups, seed)
    f1 = per_clip.f1(np.ones((1, len(per_clip.truth))))[0]
    measured.per_class = {
        name: {
            **({"f1": float(f1[i])} if np.isfinite(f1[i]) else {}),
            "support": float(per_clip.truth[:, i].sum()),
        }
        for i, name in enumerate(names)
    }
    return measured
