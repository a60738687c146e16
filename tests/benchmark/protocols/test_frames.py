from __future__ import annotations

import numpy as np
import pytest

from benchmark.errors import SslBenchError
from benchmark.protocols import frames as frames_module
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split
from benchmark.protocols.detection import event_counts, tune
from benchmark.protocols.timeline import Timeline

RATE = 20.0


def recordings(
    number: int, seed: int, noise: float = 0.4, classes: int = 2, gap: bool = False
) -> Split:
    """Clips of 6 s with events of 0.6 to 1.2 s; frames are activity, mixed, plus noise."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(classes, 8))
    parts, targets = [], []
    for _ in range(number):
        onsets = np.arange(0.5, 5.0, 1.5) + generator.uniform(0, 0.3, 3)
        events = np.column_stack(
            (onsets, onsets + generator.uniform(0.6, 1.2, 3), generator.integers(0, classes, 3))
        )
        centres = (np.arange(int(6 * RATE)) + 0.5) / RATE
        inside = (centres[:, None] >= events[:, 0]) & (centres[:, None] < events[:, 1])
        activity = np.stack([(inside & (events[:, 2] == c)).any(1) for c in range(classes)], 1)
        parts.append(activity @ mixing + noise * generator.normal(size=(len(centres), 8)))
        targets.append(np.concatenate((events, [[4.5, 6.0, -1]])) if gap else events)
    lengths = [len(part) for part in parts]
    return Split(
        np.concatenate(parts).astype(np.float32), targets,
        np.array([f"{seed}-speaker{i // 2}" for i in range(number)]),
        np.array([f"{seed}-{i}" for i in range(number)]),
        frame_offsets=np.concatenate(([0], np.cumsum(lengths))), frame_rate=RATE,
    )  # fmt: skip


@pytest.fixture
def card(make_card):
    return lambda metric: make_card("frames", metric, classes=("cough", "wheeze"))


@pytest.fixture
def parts():
    return recordings(16, 1), recordings(8, 2), recordings(12, 3)


@pytest.mark.parametrize(("metric", "least"), [("event_f1", 0.6), ("frame_macro_f1", 0.7)])
def test_events_are_found(metric, least, card):
    parts = [recordings(n, s, noise=1.2) for n, s in ((16, 1), (8, 2), (12, 3))]
    scores = protocol("linear-probe").run(*parts, card(metric))
    assert scores.metrics == protocol("linear-probe").run(*parts, card(metric)).metrics
    assert scores.main == metric
    assert scores.metrics[metric].value > least
    assert scores.metrics[metric].low < scores.metrics[metric].value
    assert scores.counts["test"] == 12
    assert scores.counts["test_groups"] == 6
    blind = [recordings(n, s, noise=50) for n, s in ((16, 1), (8, 2), (12, 3))]
    assert protocol("linear-probe").run(*blind, card(metric)).metrics[metric].value < 0.5 * (
        scores.metrics[metric].value + 0.5
    )


def test_onsets_that_mark_their_frames_are_found(card):
    generator = np.random.default_rng(0)

    def clicks(number, seed):
        split = recordings(number, seed)
        x = 0.2 * generator.normal(size=split.embeddings.shape)
        for clip, events in enumerate(split.targets):
            frame = np.floor(events[:, 0] * RATE).astype(int) + split.frame_offsets[clip]
            x[frame, events[:, 2].astype(int)] += 3
        split.embeddings = x.astype(np.float32)
        return split

    scores = protocol("linear-probe").run(
        clicks(16, 1), clicks(8, 2), clicks(12, 3), card("onset_f1")
    )
    assert scores.metrics["onset_f1"].value > 0.9
    assert {"onset_macro_f1", "onset_precision", "onset_recall"} < set(scores.metrics)


def test_without_validation_groups_are_held_out(parts, card):
    scores = protocol("linear-probe").run(parts[0], None, parts[2], card("event_f1"))
    assert scores.metrics["event_f1"].value > 0.8
    assert len(scores.hyperparameters["thresholds"]) == 2


def test_few_frames_train_the_probe(parts, card, monkeypatch):
    monkeypatch.setattr(frames_module, "MAX_FRAMES", 300)
    scores = protocol("linear-probe").run(*parts, card("frame_macro_f1"))
    assert scores.counts["train_frames"] == 300
    assert scores.hyperparameters["max_frames"] == 300
    assert scores.metrics["frame_macro_f1"].value > 0.7


def test_frames_without_annotation_are_left_out(card):
    parts = [recordings(n, s, gap=True) for n, s in ((16, 1), (8, 2), (12, 3))]
    scores = protocol("linear-probe").run(*parts, card("frame_macro_f1"))
    assert scores.counts["test_frames"] == 12 * 90  # 4.5 s of 6 s
    assert np.array(scores.confusion).sum() == 12 * 90
    assert set(scores.per_class) == {"cough", "wheeze", "background"}
    # what stands in the gap changes nothing
    gap = np.tile(np.arange(120) >= 90, 12)
    parts[2].embeddings[gap] = 100
    again = protocol("linear-probe").run(*parts, card("frame_macro_f1"))
    near = scores.metrics["frame_macro_f1"].value
    assert again.metrics["frame_macro_f1"].value == pytest.approx(near, abs=0.03)


def one_clip(events, frames=40, classes=2, rate=10.0):
    return Timeline.of(
        Split(
            np.zeros((frames, 1)),
            [np.asarray(events, float)],
            np.array(["g"]),
            np.array(["clip"]),
            frame_offsets=np.array([0, frames]),
            frame_rate=rate,
        ),
        classes,
    )


def test_frame_labels_follow_frame_centres():
    line = one_clip([[0.26, 0.55, 0], [1.0, 1.01, 1], [0.5, 0.7, 1], [3.0, 4.0, -1]])
    activity = line.activity()
    assert np.flatnonzero(activity[:, 0]).tolist() == [3, 4]  # centres 0.35, 0.45; 0.25 is before
    assert np.flatnonzero(activity[:, 1]).tolist() == [5, 6, 10]  # the short event keeps a frame
    assert np.flatnonzero(~line.annotated).tolist() == list(range(30, 40))
    labels = line.labels(background=2)
    assert labels[:8].tolist() == [2, 2, 2, 0, 0, 1, 1, 2]
    onsets = line.onsets()
    assert np.flatnonzero(onsets[:, 0]).tolist() == [2]  # centre 0.25 within 50 ms of 0.26


def test_every_onset_has_a_frame_and_coarse_frames_do_not_leak_between_clips():
    events = [np.array([[0.0, 0.1, 0], [0.999, 1.2, 1]]), np.array([[0.3, 0.4, 0]])]
    split = Split(
        np.zeros((4, 1)), events, np.array(["a", "b"]), np.array(["x", "y"]),
        frame_offsets=np.array([0, 2, 4]), frame_rate=2.0,
    )  # fmt: skip
    onsets = Timeline.of(split, 2).onsets()
    assert onsets.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]


@pytest.mark.parametrize("rate", [10.0, 25.0, 100.0])
def test_detection_undoes_labelling(rate):
    generator = np.random.default_rng(0)
    onset = np.arange(10) + generator.uniform(0.1, 0.3, 10)
    events = np.column_stack((onset, onset + 0.5, np.zeros(10)))
    line = one_clip(events, int(10 * rate), 1, rate)
    found = line.detect(line.activity()[:, 0].astype(float), 0.5, onsets=False)
    assert abs(found[:, :2] - events[:, :2]).max() <= 0.5 / rate + 1e-9
    found = line.detect(line.onsets()[:, 0].astype(float), 0.5, onsets=True)
    assert abs(found[:, 0] - onset).max() <= 0.5 / rate + 1e-9


def test_runs_end_at_clip_borders():
    split = Split(
        np.zeros((6, 1)), [np.zeros((0, 3))] * 2, np.array(["a", "b"]), np.array(["x", "y"]),
        frame_offsets=np.array([0, 3, 6]), frame_rate=1.0,
    )  # fmt: skip
    found = Timeline.of(split, 1).detect(np.array([0.0, 1, 1, 1, 0, 1]), 0.5, onsets=False)
    assert found.tolist() == [[1, 3, 0], [0, 1, 1], [2, 3, 1]]


def test_tuning_finds_the_filter_and_thresholds_that_help():
    line = one_clip([[0.5, 1.5, 0], [2.0, 3.0, 1]])
    probability = 0.1 + 0.6 * line.activity().astype(float)
    probability[:, 1] *= 0.3  # this class needs a lower threshold
    probability[[8, 30], 0] = 0.1, 0.9  # one frame drops out, one pops up
    width, thresholds = tune(line, probability, [1, 3], "event_f1")
    assert width == 3
    assert thresholds[1] <= 0.21 < thresholds[0] + 0.2
    hits, truth, found = event_counts(line, line.smooth(probability, 3), thresholds, "event_f1")
    assert hits.tolist() == truth.tolist() == found.tolist() == [[1, 1]]


def test_bad_events_and_missing_frames_are_refused(parts, card, make_split):
    parts[0].targets[5] = np.array([[0.0, 1.0, 7]])
    with pytest.raises(SslBenchError, match="event of class 7 in '1-5'"):
        protocol("linear-probe").run(*parts, card("event_f1"))
    with pytest.raises(SslBenchError, match="frame_rate"):
        protocol("linear-probe").run(make_split(8, 1), None, make_split(8, 2), card("event_f1"))


def test_nan_in_a_frame_names_the_clip(parts, card):
    parts[2].embeddings[6 * 120 + 3] = np.nan
    with pytest.raises(SslBenchError, match="'3-6'"):
        protocol("linear-probe").run(*parts, card("event_f1"))
