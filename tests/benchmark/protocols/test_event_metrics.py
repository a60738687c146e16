"""Event, beat and polyphonic detection scores against the libraries that define them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from benchmark.bootstrap import resample_groups
from benchmark.protocols import protocol
from benchmark.protocols.beats import TRIMMED, ClipF1, beat_counts, peaks, score_beats, tune_peaks
from benchmark.protocols.contract import Split
from benchmark.protocols.detection import Predicted, event_counts, measure_events, tune
from benchmark.protocols.psds import (
    Psds,
    area,
    intersections,
    operating_points,
    score_psds,
)
from benchmark.protocols.timeline import Timeline

NAMES = ("dog", "bell", "rain")


def clips(
    number: int, seed: int, rate: float = 20.0, seconds: float = 10.0, noise: float = 0.25,
    classes: int = 3, points: bool = False,
) -> tuple[Predicted, list[np.ndarray]]:  # fmt: skip
    """Clips with three events of each class, and probabilities that follow them with noise."""
    generator = np.random.default_rng(seed)
    frames = int(seconds * rate)
    lists = []
    for _ in range(number):
        onset = np.sort(generator.uniform(0, seconds - 2, (classes, 3)), 1)
        onset[:, 1:] += [0.5, 1.0]
        length = 0.0 * onset if points else generator.uniform(0.2, 0.5, onset.shape)
        label = np.repeat(np.arange(classes), 3)
        lists.append(np.column_stack((onset.ravel(), (onset + length).ravel(), label)))
    groups = np.array([f"g{i // 2}" for i in range(number)])
    split = Split(
        np.zeros((number * frames, 1)), lists, groups, np.arange(number).astype(str),
        frame_offsets=frames * np.arange(number + 1), frame_rate=rate,
    )  # fmt: skip
    line = Timeline.of(split, classes)
    activity = line.onsets() if points else line.activity()
    probability = 0.2 + 0.5 * activity + noise * generator.normal(size=activity.shape)
    return Predicted(line, probability.clip(0.001, 0.999)), lists


def detections(predicted: Predicted, thresholds: list[float], clip: int, width: int = 1):
    """The detected events of one clip as sed_eval and psds_eval list them."""
    smooth = predicted.smooth(width)
    rows = []
    for c, name in enumerate(NAMES):
        found = predicted.timeline.detect(smooth[:, c], thresholds[c], onsets=False)
        rows += [
            {"filename": str(clip), "onset": a, "offset": b, "event_label": name}
            for a, b, k in found
            if k == clip
        ]
    return rows


def annotated(lists: list[np.ndarray], clip: int):
    return [
        {"filename": str(clip), "onset": a, "offset": b, "event_label": NAMES[int(c)]}
        for a, b, c in lists[clip]
    ]


@pytest.mark.long
def test_event_macro_f1_is_the_class_wise_average_of_sed_eval() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sed_eval = pytest.importorskip("sed_eval")
        predicted, lists = clips(8, 1)
        thresholds = [0.4, 0.5, 0.6]
        metrics = sed_eval.sound_event.EventBasedMetrics(
            list(NAMES), t_collar=0.2, percentage_of_length=0.2
        )
        for clip in range(8):
            metrics.evaluate(annotated(lists, clip), detections(predicted, thresholds, clip))
        expected = metrics.results_class_wise_average_metrics()["f_measure"]["f_measure"]
        by_class = metrics.results_class_wise_metrics()
    tables = event_counts(predicted.timeline, predicted.probabilities, thresholds, "event_macro_f1")
    measured = measure_events(tables, np.arange(8), NAMES, "event_macro_f1", 0)
    found = measured.estimates["event_macro_f1"]
    assert 0.1 < found.value < 0.9
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.low < found.value < found.high
    for name in NAMES:
        f1 = by_class[name]["f_measure"]["f_measure"]
        assert measured.per_class[name]["f1"] == pytest.approx(f1, abs=1e-9)
    # an annotated class of which nothing is found counts as nothing
    silent = event_counts(
        predicted.timeline, predicted.probabilities, [0.4, 0.5, 1.1], "event_macro_f1"
    )
    less = measure_events(silent, np.arange(8), NAMES, "event_macro_f1", 0)
    f1s = [measured.per_class[name]["f1"] for name in NAMES[:2]]
    assert less.estimates["event_macro_f1"].value == pytest.approx(sum(f1s) / 3, abs=1e-9)


def test_the_macro_average_chooses_its_own_filter() -> None:
    predicted, _ = clips(6, 2)
    line = predicted.timeline
    widths = [1, 3, 7]
    for metric in ("event_f1", "event_macro_f1"):
        width, thresholds = tune(line, predicted.probabilities, widths, metric)
        chosen = event_counts(line, predicted.smooth(width), thresholds, metric)
        value = measure_events(chosen, np.arange(6), NAMES, metric, 0).estimates[metric].value
        for other in widths:
            _, best = tune(line, predicted.probabilities, [other], metric)
            tables = event_counts(line, predicted.smooth(other), best, metric)
            assert (
                measure_events(tables, np.arange(6), NAMES, metric, 0).estimates[metric].value
                <= value + 1e-12
            )


def test_beat_f1_is_that_of_mir_eval_clip_by_clip() -> None:
    import mir_eval

    predicted, lists = clips(6, 3, rate=25.0, seconds=14.0, points=True)
    thresholds, distances = [0.5, 0.55, 0.6], [0.1, 0.2, 0.3]
    tables = beat_counts(predicted, thresholds, distances)
    expected = np.zeros((6, 3))
    for c in range(3):
        picked = peaks(
            predicted.timeline, predicted.probabilities[:, c], thresholds[c], distances[c]
        )
        for clip in range(6):
            truth = mir_eval.beat.trim_beats(lists[clip][lists[clip][:, 2] == c, 0])
            times = mir_eval.beat.trim_beats(picked[picked[:, 2] == clip, 0])
            assert tables[1][clip, c] == len(truth)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected[clip, c] = mir_eval.beat.f_measure(truth, times)
            if not len(truth) and not len(times):
                expected[clip, c] = np.nan
    assert 0.1 < np.nanmean(expected) < 0.9
    statistics = ClipF1(tables, np.arange(6), 6)
    ones = np.ones((1, 6))
    np.testing.assert_allclose(statistics.classwise(ones)[0], np.nanmean(expected, 0), atol=1e-9)
    drawn = resample_groups(np.arange(6), 0, 10).counts
    for b, counts in enumerate(drawn):
        rows = np.repeat(np.arange(6), counts.astype(int))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            means = np.nanmean(expected[rows], 0)
        value = statistics(drawn)["beat_f1"][b]
        assert value == pytest.approx(np.nanmean(means), abs=1e-9)


def test_peaks_are_those_of_scipy_in_each_clip_alone() -> None:
    from scipy.signal import find_peaks

    predicted, _ = clips(5, 4, rate=12.5, points=True)
    line, values = predicted.timeline, predicted.probabilities[:, 0]
    for threshold, distance in ((0.3, 0.1), (0.5, 0.4), (0.6, 2.0)):
        found = peaks(line, values, threshold, distance)
        apart = max(1, round(distance * 12.5))
        for clip in range(5):
            own = values[line.offsets[clip] : line.offsets[clip + 1]]
            padded = np.concatenate(([-1], own, [-1]))
            expected = find_peaks(padded, height=threshold, distance=apart)[0] - 1
            times = found[found[:, 2] == clip, 0]
            np.testing.assert_allclose(times, (expected + 0.5) / 12.5)


def test_beats_are_tracked_and_tuned() -> None:
    tuning, _ = clips(10, 5, rate=50, seconds=16, noise=0.1, points=True)
    test, _ = clips(8, 6, rate=50, seconds=16, noise=0.1, points=True)
    groups = np.repeat(np.arange(4), 2)
    measured, chosen = score_beats(tuning, test, groups, NAMES, "beat_f1", 0)
    found = measured.estimates["beat_f1"]
    assert found.value > 0.9
    assert found.low <= found.value <= found.high
    assert len(chosen["thresholds"]) == len(chosen["distances"]) == 3
    assert set(measured.per_class) == set(NAMES)
    best = np.mean(list(ClipF1(beat_counts(tuning, *tune_peaks(tuning)), np.arange(10), 10)(
        np.ones((1, 10)))["beat_f1"]))  # fmt: skip
    fixed = ClipF1(beat_counts(tuning, [0.9] * 3, [0.1] * 3), np.arange(10), 10)
    assert best > fixed(np.ones((1, 10)))["beat_f1"][0]
    assert TRIMMED == 5


def psds_of_library(predicted, lists, chosen, width=1):
    """PSDS scenario 1 of the clips `chosen` (with repetition) at our thresholds by psds_eval."""
    psds_eval = pytest.importorskip("psds_eval")
    import pandas as pd

    truth, lengths = [], []
    for copy, clip in enumerate(chosen):
        truth += [{**row, "filename": f"c{copy}"} for row in annotated(lists, clip)]
        seconds = np.diff(predicted.timeline.offsets)[clip] / predicted.timeline.rate
        lengths.append({"filename": f"c{copy}", "duration": seconds})
    evaluator = psds_eval.PSDSEval(
        dtc_threshold=0.7, gtc_threshold=0.7, cttc_threshold=0.3, class_names=list(NAMES),
        ground_truth=pd.DataFrame(truth), metadata=pd.DataFrame(lengths),
    )  # fmt: skip
    columns = ["filename", "onset", "offset", "event_label"]
    line, smooth = predicted.timeline, predicted.smooth(width)
    hours = line.offsets[-1] / line.rate / 3600
    points = [
        operating_points(smooth[:, c], (line.events[:, 2] == c).sum(), hours) for c in range(3)
    ]
    for thresholds in zip(*points, strict=True):
        found = {clip: detections(predicted, thresholds, clip, width) for clip in set(chosen)}
        rows = [
            {**row, "filename": f"c{copy}"}
            for copy, clip in enumerate(chosen)
            for row in found[clip]
        ]
        if rows:
            evaluator.add_operating_point(pd.DataFrame(rows, columns=columns))
    # its own area under the curve converts an array to an int, which NumPy 2 refuses
    curve = evaluator._effective_tp_ratio(evaluator.psd_roc_curves(0)[2], 1)
    within = curve.xp < 100
    return (np.diff(np.append(curve.xp[within], 100)) * curve.yp[within]).sum() / 100


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [7, 8])
def test_psds_is_that_of_psds_eval_on_the_whole_and_on_a_resample(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.protocols.psds.POINTS", 40)  # the library takes its time
    predicted, lists = clips(6, seed, noise=0.19, seconds=30)
    statistics = Psds(predicted, 3, np.arange(6), 6)
    counts = np.array([[1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0.0]])
    values = statistics(counts)["psds"]
    assert 0.02 < values[0] < 0.98
    assert values[0] == pytest.approx(psds_of_library(predicted, lists, range(6), 3), abs=1e-9)
    drawn = np.repeat(np.arange(6), counts[1].astype(int)).tolist()
    assert values[1] == pytest.approx(psds_of_library(predicted, lists, drawn, 3), abs=1e-9)
    grouped = statistics.grouped(np.arange(6) // 2, 3)(np.array([[1.0, 2, 0]]))["psds"]
    assert grouped[0] == pytest.approx(statistics(np.array([[1, 1, 2, 2, 0, 0.0]]))["psds"][0])


def test_intersection_criteria() -> None:
    truth = np.array([[1.0, 2.0, 0], [5.0, 6.0, 0], [1.0, 2.0, 1]])
    found = np.array([
        [1.0, 1.4, 0], [1.6, 2.0, 0],  # 80% of the first event together
        [5.0, 6.6, 0],  # 62% of it is event: false
        [0.9, 1.6, 1],  # 86% of it is event, but 60% of the event is covered
    ])  # fmt: skip
    hit, false = intersections(truth, found)
    assert hit.tolist() == [True, False, False]
    assert false.tolist() == [False, False, True, False]
    none = intersections(truth, found[:0])
    assert none[0].tolist() == [False] * 3
    assert none[1].tolist() == []


def test_area_of_perfect_and_of_uneven_classes() -> None:
    assert area(np.ones((1, 2)), np.zeros((1, 2))) == 1
    assert area(np.array([[1.0, 0.0]]), np.zeros((1, 2))) == 0  # mean 0.5 less deviation 0.5
    assert area(np.array([[1.0]]), np.array([[40.0]])) == pytest.approx(0.6)
    assert area(np.array([[1.0]]), np.array([[140.0]])) == 0
    assert np.isnan(area(np.zeros((3, 0)), np.zeros((3, 0))))


def test_operating_points_reach_from_the_highest_peak_to_the_end_of_the_curve() -> None:
    values = np.tile([0.0, 0.5, 0.2, 0.9, 0.9, 0.1], 3) + np.repeat([0, 0.01, 0.02], 6)
    found = operating_points(values, 3, 0.0)
    assert len(found) == 128
    np.testing.assert_allclose(np.unique(found), [0.5, 0.51, 0.52, 0.9, 0.91, 0.92])
    many = np.random.default_rng(0).random(5000)
    found = operating_points(many, 10, 1.0)  # 2 (10 + 100) + 128 of about 1,700 peaks
    assert (np.diff(found) <= 0).all()
    assert found[0] == many.max()
    assert 0.8 < found[-1] < 0.97
    assert (operating_points(np.full(50, 0.3), 2, 1.0) == 0.3).all()


def test_psds_has_an_interval_and_a_filter() -> None:
    tuning, _ = clips(8, 1, noise=0.3)
    test, _ = clips(12, 2, noise=0.3)
    measured, chosen = score_psds(tuning, test, np.arange(12) // 2, NAMES, "psds", 0)
    found = measured.estimates["psds"]
    assert found.low < found.value < found.high
    assert chosen["median_filter_frames"] in (1, 3, 5, 9)
    assert all(0 <= measured.per_class[name]["psd_roc_area"] <= 1 for name in NAMES)


@pytest.mark.parametrize("metric", ["event_macro_f1", "psds", "beat_f1"])
def test_the_probe_reports_the_metric_of_the_card(metric: str, make_card) -> None:
    def split(number: int, seed: int) -> Split:
        predicted, lists = clips(number, seed, noise=0, points=metric == "beat_f1")
        generator = np.random.default_rng(seed)
        mixing = np.random.default_rng(9).normal(size=(3, 10))
        x = predicted.probabilities @ mixing
        x += 0.3 * generator.normal(size=x.shape)
        return Split(
            x.astype(np.float32), lists, np.array([f"{seed}-{i // 2}" for i in range(number)]),
            np.array([f"{seed}-{i}" for i in range(number)]),
            frame_offsets=predicted.timeline.offsets, frame_rate=20.0,
        )  # fmt: skip

    card = make_card("frames", metric, classes=NAMES)
    scores = protocol("linear-probe").run(split(12, 1), split(8, 2), split(10, 3), card)
    assert scores.main == next(iter(scores.metrics)) == metric
    assert scores.metrics[metric].value > 0.3
    assert scores.metrics[metric].low < scores.metrics[metric].value
    assert scores.replicates.shape == (1000,)
    assert set(scores.per_class) == set(NAMES)
