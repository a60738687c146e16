"""Beat tracking on frame probabilities: peaks, and the F-measure of `mir_eval.beat`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.matching import BEAT_WINDOW, match_events
from benchmark.metrics import Counts, group_sums, mean_of_defined, ratio
from benchmark.protocols.detection import THRESHOLDS, Predicted
from benchmark.protocols.scoring import Measured, measure_statistics
from benchmark.protocols.timeline import Timeline

Array = NDArray[Any]
DISTANCES = (0.1, 0.2, 0.3, 0.4)  # s between beats, at least: up to 600, 300, 200, 150 a minute
TRIMMED = 5.0  # s; beats before it do not count, as in mir_eval.beat.evaluate


def score_beats(
    tuning: Predicted, test: Predicted, groups: Array, names: tuple[str, ...], metric: str,
    seed: int,
) -> tuple[Measured, dict[str, Any]]:  # fmt: skip
    """`beat_f1` of the peaks of each class's probability.

    A beat is a local maximum at or above a threshold, and the largest within a minimum distance;
    both are chosen per class on the tuning clips. No tempo model follows (madmom's dynamic Bayesian
    network, which MARBLE puts behind its probe), so scores are those of the embeddings alone and
    lie below published ones. F-measure with a tolerance of 70 ms, beats before 5 s left out,
    averaged over clips (as madmom's evaluation and papers on beat tracking do) and then over
    classes. A clip with neither annotated nor detected beats after 5 s does not count.
    `beat_pooled_f1` pools the counts over clips instead (as MARBLE does).
    """
    thresholds, distances = tune_peaks(tuning)
    tables = beat_counts(test, thresholds, distances)
    ones = np.ones((1, len(groups)))

    def build(codes: Array, total: int) -> ClipF1:
        return ClipF1(tables, codes, total)

    measured = measure_statistics(build, groups, seed)
    alone = ClipF1(tables, np.arange(len(groups)), len(groups)).classwise(ones)[0]
    measured.per_class = {
        name: {
            **({"f1": float(alone[c])} if np.isfinite(alone[c]) else {}),
            "support": float(tables[1][:, c].sum()),
        }
        for c, name in enumerate(names)
    }
    return measured, {"thresholds": thresholds, "distances": distances}


class ClipF1:
    """F1 of each clip, averaged over clips and then classes, from matched, annotated and detected
    beats per clip and class, each (clips, C)."""

    def __init__(self, tables: tuple[Array, Array, Array], codes: Array, groups: int) -> None:
        hits, truth, found = tables
        f1 = ratio(2 * hits, truth + found)
        seen = np.isfinite(f1)
        self.sums = group_sums(codes, groups, np.where(seen, f1, 0.0))
        self.clips = group_sums(codes, groups, seen.astype(np.float64))
        self.pooled = Counts(*(group_sums(codes, groups, table) for table in tables))

    def classwise(self, counts: Array) -> Array:
        """Mean F1 over clips, (B, C); NaN for a class that no clip has."""
        return ratio(counts @ self.sums, counts @ self.clips)

    def __call__(self, counts: Array) -> dict[str, Array]:
        return {
            "beat_f1": mean_of_defined(self.classwise(counts)),
            "beat_pooled_f1": self.pooled.macro_f1(counts),
        }


def tune_peaks(tuning: Predicted) -> tuple[list[float], list[float]]:
    """Threshold and minimum distance (s) per class with the best mean F1 over these clips; the
    smaller distance and the lower threshold among equals."""
    classes = tuning.timeline.classes
    best = np.full(classes, -1.0)
    thresholds, distances = [float(THRESHOLDS[0])] * classes, [DISTANCES[0]] * classes
    for distance in DISTANCES:
        for threshold in THRESHOLDS:
            tables = beat_counts(tuning, [threshold] * classes, [distance] * classes)
            clips = len(tables[0])
            f1 = ClipF1(tables, np.arange(clips), clips).classwise(np.ones((1, clips)))[0]
            for c in np.flatnonzero(np.nan_to_num(f1, nan=-1.0) > best):
                best[c], thresholds[c], distances[c] = f1[c], float(threshold), distance
    return thresholds, distances


def beat_counts(
    predicted: Predicted, thresholds: list[float], distances: list[float]
) -> tuple[Array, Array, Array]:
    """Matched, annotated and detected beats from 5 s on, per clip and class, each (clips, C)."""
    timeline = predicted.timeline
    shape = len(timeline.offsets) - 1, timeline.classes
    hits, truth, found = (np.zeros(shape) for _ in range(3))
    for c in range(timeline.classes):
        events = timeline.events[timeline.events[:, 2] == c][:, [0, 1, 3]]
        events = events[events[:, 0] >= TRIMMED]
        picked = peaks(timeline, predicted.probabilities[:, c], thresholds[c], distances[c])
        picked = picked[picked[:, 0] >= TRIMMED]
        matched = match_events(events, picked, BEAT_WINDOW)
        for table, clips in ((hits, matched), (truth, events[:, 2]), (found, picked[:, 2])):
            table[:, c] = np.bincount(clips.astype(np.int64), minlength=shape[0])
    return hits, truth, found


def peaks(timeline: Timeline, probability: Array, threshold: float, distance: float) -> Array:
    """Peaks (m, 3) of one class, time s (twice) and clip, from its probability (F,).

    Maxima at or above `threshold`, of which the larger ones displace others less than `distance`
    seconds away (`scipy.signal.find_peaks`); a clip's first and last frame may be one. Peaks where
    nothing is annotated are left out.
    """
    from scipy.signal import find_peaks

    clips = timeline.clips
    apart = max(1, round(distance * timeline.rate))
    # all clips on one line, with a valley between them that is wider than the distance
    place = np.arange(len(probability)) + (clips + 1) * (apart + 1)
    line = np.full(len(probability) + (len(timeline.offsets) + 1) * (apart + 1), -1.0)
    line[place] = probability
    found, _ = find_peaks(line, height=threshold, distance=apart)
    frame = np.searchsorted(place, found)
    frame = frame[timeline.annotated[frame]]
    time, clip = timeline.centres()[frame], clips[frame].astype(np.float64)
    return np.stack((time, time, clip), 1)
