"""Polyphonic sound detection score of frame probabilities, DESED's scenario 1.

Bilen et al., A framework for the robust evaluation of sound event detection, ICASSP 2020,
https://arxiv.org/abs/1910.08440; the parameters are those of scenario 1 of DCASE task 4 since 2021.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import group_sums
from benchmark.protocols.detection import Predicted, filter_widths
from benchmark.protocols.scoring import Measured, measure_statistics

Array = NDArray[Any]
DETECTION_TOLERANCE = 0.7  # share of a detection that events of its class have to cover
TRUTH_COVERAGE = 0.7  # share of an event that such detections have to cover
INSTABILITY_COST = 1.0  # alpha_st; alpha_ct is 0: cross-triggers cost no more than others
MAX_FALSE_RATE = 100.0  # false positives an hour
POINTS = 128  # operating points per class
ROUNDING = 1e-9  # of a share


def score_psds(
    tuning: Predicted, test: Predicted, groups: Array, names: tuple[str, ...], metric: str,
    seed: int,
) -> tuple[Measured, dict[str, Any]]:  # fmt: skip
    """PSDS over 128 operating points, and the median filter that was best on the tuning clips.

    Each class has its own thresholds: they follow the heights of its peaks, as far down as a curve
    up to 100 false positives an hour can need, so that the value lies within a few per cent of the
    one over all thresholds (Ebbers, Haeb-Umbach & Serizel, Threshold independent evaluation of
    sound event detection scores, ICASSP 2022). The interval resamples groups of clips: counts per
    clip and operating point are computed once. Since the cost of instability grows with the noise
    of a resample, replicates lie somewhat below the value.
    """
    widths = filter_widths(tuning.timeline.rate)
    clips = len(tuning.timeline.offsets) - 1
    alone = np.ones((1, clips))
    values = []
    for width in widths:
        statistics = Psds(tuning, width, np.arange(clips), clips)
        values.append(np.nan_to_num(statistics(alone)["psds"][0], nan=-1.0))
    width = widths[int(np.argmax(values))]
    whole = Psds(test, width, np.arange(len(groups)), len(groups))
    measured = measure_statistics(whole.grouped, groups, seed)
    areas, support = whole.classwise(), whole.truth.sum(0)
    measured.per_class = {
        name: {
            **({"psd_roc_area": float(areas[c])} if support[c] else {}),
            "support": float(support[c]),
        }
        for c, name in enumerate(names)
    }
    return measured, {"median_filter_frames": width, "operating_points": POINTS}


class Psds:
    """Counts per group at every operating point: found events and false positives, each
    (G, K, C), annotated events (G, C), and hours (G,)."""

    def __init__(self, predicted: Predicted, width: int, codes: Array, groups: int) -> None:
        line = predicted.timeline
        smooth = predicted.smooth(width)
        clips, classes = len(line.offsets) - 1, line.classes
        self.hits, self.false = (np.zeros((clips, POINTS, classes)) for _ in range(2))
        self.truth = np.zeros((clips, classes))
        self.hours = np.diff(line.offsets) / line.rate / 3600
        for c in range(classes):
            events = line.events[(line.events[:, 2] == c) & (line.events[:, 1] > line.events[:, 0])]
            events = events[:, [0, 1, 3]]
            self.truth[:, c] = _per_clip(events, clips)
            thresholds = operating_points(smooth[:, c], len(events), self.hours.sum())
            for k, threshold in enumerate(thresholds):
                found = line.detect(smooth[:, c], threshold, onsets=False)
                hit, false = intersections(events, found)
                self.hits[:, k, c] = _per_clip(events[hit], clips)
                self.false[:, k, c] = _per_clip(found[false], clips)
        self._sum(codes, groups)

    def grouped(self, codes: Array, groups: int) -> Psds:
        """The same counts summed over groups of clips."""
        other = object.__new__(Psds)
        other.__dict__ |= self.__dict__
        other._sum(codes, groups)
        return other

    def _sum(self, codes: Array, groups: int) -> None:
        shape = groups, *self.hits.shape[1:]
        clips = len(self.hits)
        self.hits = group_sums(codes, groups, self.hits.reshape(clips, -1)).reshape(shape)
        self.false = group_sums(codes, groups, self.false.reshape(clips, -1)).reshape(shape)
        self.truth = group_sums(codes, groups, self.truth)
        self.hours = group_sums(codes, groups, self.hours[:, None])[:, 0]

    def __call__(self, counts: Array) -> dict[str, Array]:
        hits, false = (np.tensordot(counts, table, 1) for table in (self.hits, self.false))
        truth, hours = counts @ self.truth, counts @ self.hours
        values = [
            area(hits[b][:, truth[b] > 0] / truth[b][truth[b] > 0], false[b][:, truth[b] > 0] / h)
            for b, h in enumerate(hours)
        ]
        return {"psds": np.array(values)}

    def classwise(self) -> Array:
        """The area under each class's own curve, (C,)."""
        ratio = self.hits.sum(0) / np.maximum(self.truth.sum(0), 1)
        rate = self.false.sum(0) / self.hours.sum()
        return np.array([area(ratio[:, [c]], rate[:, [c]]) for c in range(ratio.shape[1])])


def operating_points(probability: Array, events: int, hours: float) -> Array:
    """Thresholds (128,) for one class's probabilities (F,): heights of peaks, from the highest to
    where twice as many peaks are above as there are events and false positives on the curve."""
    rises = np.diff(probability, prepend=-1.0) > 0
    peaks = np.sort(probability[rises & (np.diff(probability, append=-1.0) <= 0)])[::-1]
    heights = peaks[: int(2 * (events + MAX_FALSE_RATE * hours)) + POINTS]
    picked = np.linspace(0, len(heights) - 1, POINTS).round().astype(np.int64)
    thresholds: Array = heights[picked]
    return thresholds


def area(ratio: Array, rate: Array) -> float:
    """Normalised area under the effective true-positive ratio up to 100 false positives an hour.

    `ratio` and `rate` (K, C): share of events found and false positives an hour at each operating
    point. Each class's curve is a staircase through its best points, from (0, 0); the effective
    ratio is the mean over classes less their standard deviation, at least 0. NaN without classes.
    """
    if not ratio.shape[1]:
        return float("nan")
    rate = np.concatenate((np.zeros((1, rate.shape[1])), rate))
    ratio = np.concatenate((np.zeros((1, ratio.shape[1])), ratio))
    grid = np.unique(rate)
    grid = grid[grid < MAX_FALSE_RATE]
    order = np.argsort(rate, axis=0, kind="stable")
    best = np.maximum.accumulate(np.take_along_axis(ratio, order, 0), 0)
    ordered = np.take_along_axis(rate, order, 0)
    curves = np.stack([
        best[np.searchsorted(ordered[:, c], grid, side="right") - 1, c]
        for c in range(ratio.shape[1])
    ])  # fmt: skip
    effective = np.maximum(curves.mean(0) - INSTABILITY_COST * curves.std(0), 0)
    widths = np.diff(np.append(grid, MAX_FALSE_RATE))
    return float((effective * widths).sum() / MAX_FALSE_RATE)


def intersections(truth: Array, found: Array) -> tuple[Array, Array]:
    """Which events (n,) are found and which detections (m,) are false, both bool.

    `truth` and `found` (., 3) hold onset s, offset s and clip of one class. A detection is right
    where events cover at least 70% of it; an event is found where right detections cover at least
    70% of it.
    """
    if not len(truth) or not len(found):
        return np.zeros(len(truth), dtype=bool), np.ones(len(found), dtype=bool)
    gap = 1 + max(truth[:, :2].max(), found[:, :2].max())
    events, detected = (rows[:, :2] + gap * rows[:, 2:] for rows in (truth, found))
    right = _covered(detected, events) >= DETECTION_TOLERANCE - ROUNDING
    if not right.any():
        return np.zeros(len(truth), dtype=bool), ~right
    return _covered(events, detected[right]) >= TRUTH_COVERAGE - ROUNDING, ~right


def _covered(spans: Array, by: Array) -> Array:
    """Share of each span (n, 2) that the spans `by` (m, 2) cover; overlapping ones add up."""
    times = by.ravel()
    order = np.argsort(times, kind="stable")
    times = times[order]
    active = np.cumsum(np.tile((1, -1), len(by))[order])
    covered = np.concatenate(([0.0], np.cumsum(active[:-1] * np.diff(times))))
    within = np.interp(spans[:, 1], times, covered) - np.interp(spans[:, 0], times, covered)
    share: Array = within / (spans[:, 1] - spans[:, 0])
    return share


def _per_clip(rows: Array, clips: int) -> Array:
    return np.bincount(rows[:, 2].astype(np.int64), minlength=clips)
