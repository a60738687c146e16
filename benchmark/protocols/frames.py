"""The linear probe on frames: framewise classes, onsets, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import seed_from
from benchmark.metrics import Counts, check_metric, one_hot
from benchmark.probe import fit_probe
from benchmark.protocols.bags import held_out_groups
from benchmark.protocols.beats import score_beats
from benchmark.protocols.checks import sizes
from benchmark.protocols.contract import Scores, Split
from benchmark.protocols.detection import (
    Predicted,
    filter_widths,
    measure_counts,
    score_events,
)
from benchmark.protocols.probing import Probed, best_score
from benchmark.protocols.psds import score_psds
from benchmark.protocols.scoring import Measured
from benchmark.protocols.selection import selection_score
from benchmark.protocols.timeline import Timeline
from benchmark.sharded import rows_of
from benchmark.task import TaskCard

Array = NDArray[Any]
MAX_FRAMES = 20_000


@dataclass
class _Part:
    """Some clips of a split: their frames, timeline and groups. The frames of the whole split stay
    where they are (on the disk, where they are many) until rows of them are asked for."""

    whole: Any  # (F', D), the split's
    rows: Array | slice  # (F,) of them that are this part's; a slice: all
    timeline: Timeline
    groups: Array  # (clips,)

    def all_frames(self) -> Any:
        """The part's frames (F, D), still on the disk where the split's are."""
        return self.whole if isinstance(self.rows, slice) else rows_of(self.whole, self.rows)

    def frames(self, chosen: Array) -> Array:
        """The frames at positions `chosen` (n,) of the part, (n, D) float32."""
        rows = chosen if isinstance(self.rows, slice) else self.rows[chosen]
        return np.asarray(self.whole[rows], dtype=np.float32)


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
    more), macro over all of them. `event_f1` and `event_macro_f1`: one-vs-rest activity; an event
    is a run of frames above its class's threshold. `onset_f1`: one-vs-rest on frames within 50 ms
    of an onset. They are F1 of counts pooled over clips and classes, or the mean over classes; a
    match needs the same class. `beat_f1` and `psds`: see their files beside this one. Frames that
    are not annotated (events of class -1) are left out everywhere.

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

    def targets(part: _Part, rows: Array | slice = slice(None)) -> Array:
        if framewise:
            return part.timeline.labels(background)[rows]
        points = metric in ("onset_f1", "beat_f1")
        return part.timeline.onsets(rows) if points else part.timeline.activity(rows)

    kind = "multiclass" if framewise else "multilabel"
    rows = [_draw(part, task, seed, index) for index, part in enumerate((fit, stop))]
    x, y = ([part.frames(r) for part, r in zip((fit, stop), rows, strict=True)],
            [targets(part, r) for part, r in zip((fit, stop), rows, strict=True)])  # fmt: skip
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
    tuning = Predicted(stop.timeline, probed.predict(stop.all_frames()))
    scored = Predicted(held_out.timeline, Probed(final, kind, 0).predict(held_out.all_frames()))
    if framewise:
        measured, chosen = _score_framewise(
            tuning, targets(stop), scored, targets(held_out), held_out.groups,
            (*names, "background")[:classes], seed,
        )  # fmt: skip
    else:
        scorer = {"beat_f1": score_beats, "psds": score_psds}.get(metric, score_events)
        measured, chosen = scorer(tuning, scored, held_out.groups, names, metric, seed)
    return measured.scores(
        metric,
        hyperparameters={**probed.hyperparameters(), **chosen, "max_frames": MAX_FRAMES},
        counts={
            **sizes(train, validation, test),
            "train_frames": len(x[0]),
            "test_frames": int(held_out.timeline.annotated.sum()),
        },
    )


def _part(split: Split, classes: int) -> _Part:
    timeline = Timeline.of(split, classes)
    return _Part(split.embeddings, slice(None), timeline, np.asarray(split.groups))


def _choose(part: _Part, clips: Array) -> _Part:
    """The clips of a whole split where `clips` (bool) holds."""
    timeline = part.timeline
    lengths = np.diff(timeline.offsets)[clips]
    frames = np.repeat(clips, np.diff(timeline.offsets))
    events = timeline.events[clips[timeline.events[:, 3].astype(np.int64)]].copy()
    events[:, 3] = (np.cumsum(clips) - 1)[events[:, 3].astype(np.int64)]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    chosen = Timeline(offsets, timeline.rate, events, timeline.annotated[frames], timeline.classes)
    return _Part(part.whole, np.flatnonzero(frames), chosen, part.groups[clips])


def _draw(part: _Part, task: TaskCard, seed: int, index: int) -> Array:
    """Annotated frames, at most `MAX_FRAMES` of them."""
    rows = np.flatnonzero(part.timeline.annotated)
    if len(rows) <= MAX_FRAMES:
        return rows
    generator = np.random.default_rng(seed_from("frames", task.name, seed, index))
    return np.sort(generator.choice(rows, MAX_FRAMES, replace=False))


def _score_framewise(
    tuning: Predicted, tuning_truth: Array, test: Predicted, truth: Array, groups: Array,
    names: tuple[str, ...], seed: int,
) -> tuple[Measured, dict[str, Any]]:  # fmt: skip
    """Scores of the test frames' classes, and the median filter that the tuning clips chose."""
    score, kept = selection_score("frame_macro_f1", "multiclass"), tuning.timeline.annotated
    widths = filter_widths(tuning.timeline.rate)
    values = [score(tuning.smooth(w)[kept][..., None], tuning_truth[kept])[0] for w in widths]
    width = widths[int(np.argmax(values))]
    kept = test.timeline.annotated
    predicted = test.smooth(width).argmax(1)[kept]
    labels = one_hot(truth[kept], len(names)), one_hot(predicted, len(names))
    tables = Counts.of_labels(*labels, test.timeline.clips[kept], len(groups))
    measured = measure_counts(tables, groups, names, seed, lambda table, counts: {
        "frame_macro_f1": table.macro_f1(counts),
        "frame_accuracy": table.accuracy(counts),
    })  # fmt: skip
    measured.confusion = (labels[0].T @ labels[1]).astype(int).tolist()
    return measured, {"median_filter_frames": width}
