"""The linear probe on frames: framewise classes, onsets, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import seed_from
from benchmark.matching import COLLAR, LENGTH_SHARE, ONSET_WINDOW, match_events
from benchmark.metrics import Counts, check_metric, group_sums, one_hot
from benchmark.probe import fit_probe
from benchmark.protocols.bags import held_out_groups
from benchmark.protocols.checks import sizes
from benchmark.protocols.contract import Scores, Split
from benchmark.protocols.probing import Probed, best_score
from benchmark.protocols.scoring import Measured, measure_statistics
from benchmark.protocols.selection import selection_score
from benchmark.protocols.timeline import Timeline
from benchmark.task import TaskCard

Array = NDArray[Any]
MAX_FRAMES = 20_000
THRESHOLDS = np.round(np.linspace(0.05, 0.95, 19), 2)
FILTERS = (0.0, 0.05, 0.15, 0.4)  # s


@dataclass
class _Part:
    """One split's frames, its timeline and the groups of its clips."""

    frames: Array
    timeline: Timeline
    groups: Array  # (clips,)
    ids: Array


def probe_frames(
    train: Split,
    validation: Split | None,
    test: Split,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
) -> Scores:
    """Fit the probe on frames, choose filter and thresholds on validation, score test.

    `frame_macro_f1`: multiclass with a background class (the card's class of that name, else one
    more), macro over all of them. `event_f1`: one-vs-rest activity; an event is a run of frames
    above its class's threshold. `onset_f1`: one-vs-rest on frames within 50 ms of an onset. Both
    are F1 of counts pooled over clips and classes, a match needing the same class. Frames that are
    not annotated (events of class -1) are left out everywhere.

    At most 20,000 frames, a seeded draw, train the probe. Its penalty is chosen on validation
    frames (by macro F1 or, before there is a threshold, macro average precision), then the median
    filter and the threshold of each class on validation events by that probe; the final probe is
    refitted on train + validation with the same penalty. Without a validation split, 20% of the
    training groups are held out in its place.
    """
    metric = check_metric(task.metric, "frames")
    names = task.target.classes
    parts = [_part(split, len(names)) for split in (train, validation, test) if split is not None]
    fit, stop, held_out = parts[0], parts[-2], parts[-1]
    if validation is None:
        held = held_out_groups(train, task, seed)
        fit, stop = _choose(parts[0], ~held), _choose(parts[0], held)
    background = names.index("background") if "background" in names else len(names)
    framewise = metric == "frame_macro_f1"
    classes = max(len(names), background + 1) if framewise else len(names)

    def targets(part: _Part) -> Array:
        if framewise:
            return part.timeline.labels(background)
        return part.timeline.onsets() if metric == "onset_f1" else part.timeline.activity()

    kind = "multiclass" if framewise else "multilabel"
    rows = [_draw(part, task, seed, index) for index, part in enumerate((fit, stop))]
    x, y = ([part.frames[r] for part, r in zip((fit, stop), rows, strict=True)],
            [targets(part)[r] for part, r in zip((fit, stop), rows, strict=True)])  # fmt: skip
    shared: dict[str, Any] = {
        "kind": kind, "n_classes": classes, "seed": seed, "device": device, "name": encoder,
    }  # fmt: skip
    probe = fit_probe(
        x[0], y[0], validation=(x[1], y[1]), refit=False,
        score=selection_score(metric if framewise else "macro_ap", kind), **shared,
    )  # fmt: skip
    probed = Probed(probe, kind, best_score(probe))
    final = fit_probe(
        np.concatenate(x), np.concatenate(y), penalties=(float(probe.penalty),), **shared
    )
    widths = sorted({1 + 2 * round(seconds * fit.timeline.rate / 2) for seconds in FILTERS})
    chosen: dict[str, Any]
    tuned, scored = probed.predict(stop.frames), Probed(final, kind, 0).predict(held_out.frames)
    if framewise:
        truth = targets(stop)
        score = selection_score(metric, kind)
        kept = stop.timeline.annotated
        values = [
            score(stop.timeline.smooth(tuned, w)[kept][..., None], truth[kept])[0] for w in widths
        ]
        width = widths[int(np.argmax(values))]
        chosen = {"median_filter_frames": width}
        measured = _measure_frames(
            held_out, held_out.timeline.smooth(scored, width).argmax(1), targets(held_out),
            (*names, "background")[:classes], seed,
        )  # fmt: skip
    else:
        width, thresholds = tune(stop.timeline, tuned, widths, metric)
        chosen = {"median_filter_frames": width, "thresholds": thresholds}
        smooth = held_out.timeline.smooth(scored, width)
        tables = event_counts(held_out.timeline, smooth, thresholds, metric)
        measured = _measure_events(tables, held_out.groups, names, metric, seed)
    return measured.scores(
        metric,
        hyperparameters={**probed.hyperparameters(), **chosen, "max_frames": MAX_FRAMES},
        counts={
            **sizes(train, validation, test),
            "train_frames": len(x[0]),
            "test_frames": int(held_out.timeline.annotated.sum()),
        },
    )


def tune(
    timeline: Timeline, probabilities: Array, widths: list[int], metric: str
) -> tuple[int, list[float]]:
    """Median filter (frames) and threshold per class with the best F1 on these clips; the smaller
    filter and the lower threshold among equals."""
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
        pooled = 2 * hits / max(truth + found, 1)
        if pooled > best[0]:
            best = (float(pooled), width, [float(t) for t in THRESHOLDS[pick]])
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


def _part(split: Split, classes: int) -> _Part:
    frames = np.asarray(split.embeddings, dtype=np.float32)
    return _Part(
        frames, Timeline.of(split, classes), np.asarray(split.groups), np.asarray(split.ids)
    )


def _choose(part: _Part, clips: Array) -> _Part:
    """The clips of a part where `clips` (bool) holds."""
    timeline = part.timeline
    lengths = np.diff(timeline.offsets)[clips]
    frames = np.repeat(clips, np.diff(timeline.offsets))
    events = timeline.events[clips[timeline.events[:, 3].astype(np.int64)]].copy()
    events[:, 3] = (np.cumsum(clips) - 1)[events[:, 3].astype(np.int64)]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    chosen = Timeline(offsets, timeline.rate, events, timeline.annotated[frames], timeline.classes)
    return _Part(part.frames[frames], chosen, part.groups[clips], part.ids[clips])


def _draw(part: _Part, task: TaskCard, seed: int, index: int) -> Array:
    """Annotated frames, at most `MAX_FRAMES` of them."""
    rows = np.flatnonzero(part.timeline.annotated)
    if len(rows) <= MAX_FRAMES:
        return rows
    generator = np.random.default_rng(seed_from("frames", task.name, seed, index))
    return np.sort(generator.choice(rows, MAX_FRAMES, replace=False))


def _measure_frames(
    part: _Part, predicted: Array, truth: Array, names: tuple[str, ...], seed: int
) -> Measured:
    kept = part.timeline.annotated
    clips = part.timeline.clips[kept]
    labels = one_hot(truth[kept], len(names)), one_hot(predicted[kept], len(names))
    size = len(part.groups)
    tables = Counts.of_labels(*labels, clips, size)
    measured = _measure(tables, part.groups, names, seed, lambda table, counts: {
        "frame_macro_f1": table.macro_f1(counts),
        "frame_accuracy": table.accuracy(counts),
    })  # fmt: skip
    measured.confusion = (labels[0].T @ labels[1]).astype(int).tolist()
    return measured


def _measure_events(
    tables: tuple[Array, Array, Array],
    groups: Array,
    names: tuple[str, ...],
    metric: str,
    seed: int,
) -> Measured:
    stem = metric.removesuffix("_f1")
    return _measure(Counts(*tables), groups, names, seed, lambda table, counts: {
        metric: table.micro_f1(counts),
        f"{stem}_macro_f1": table.macro_f1(counts),
        f"{stem}_precision": table.micro_precision(counts),
        f"{stem}_recall": table.accuracy(counts),
    })  # fmt: skip


def _measure(
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
