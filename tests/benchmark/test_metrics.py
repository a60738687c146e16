"""Every metric against the library that defines it, on whole samples and explicit resamples."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from benchmark.bootstrap import Resamples, bootstrap, resample_groups
from benchmark.classification import Classification, Multilabel
from benchmark.errors import SslBenchError
from benchmark.matching import COLLAR, LENGTH_SHARE, match_events
from benchmark.metrics import METRICS, Counts, Regression, check_metric, higher_is_better
from benchmark.overlap import Overlap
from benchmark.ranking import ranking_replicates

N = 90
CHECKED = 15  # resamples that are compared with the library one by one


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def groups(generator) -> np.ndarray:
    return np.array([f"patient {i}" for i in generator.integers(0, 25, N)])


def rows_of(resamples: Resamples, counts: np.ndarray) -> np.ndarray:
    """The explicit resample: example i as often as its group was drawn."""
    return np.repeat(np.arange(len(resamples.codes)), counts[resamples.codes].astype(int))


def resampled(statistics, groups, oracle, tolerance=1e-9) -> None:
    """`statistics` on counts equals `oracle(rows)` on the rows that the counts stand for."""
    resamples = resample_groups(groups, seed=1, resamples=CHECKED)
    built = statistics(resamples.codes, resamples.groups)
    whole = built(np.ones((1, resamples.groups)))
    for name, value in oracle(np.arange(len(groups))).items():
        assert whole[name][0] == pytest.approx(value, abs=tolerance), name
    drawn = built(resamples.counts)
    for b in range(CHECKED):
        for name, value in oracle(rows_of(resamples, resamples.counts[b])).items():
            assert drawn[name][b] == pytest.approx(value, abs=tolerance), (name, b)


def present_mean(function, labels, scores):
    """Macro over the columns with both labels."""
    kept = [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]
    return np.mean([function(labels[:, c], scores[:, c]) for c in kept])


@pytest.mark.parametrize("classes", [2, 5])
def test_multiclass_metrics_are_those_of_scikit_learn(generator, groups, classes):
    truth = generator.integers(0, classes, N)
    logits = generator.normal(size=(N, classes)) + 1.5 * np.eye(classes)[truth]
    scores = np.round(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 2)  # with ties

    def oracle(rows):
        y, p = truth[rows], scores[rows]
        labels = np.eye(classes)[y]
        columns = slice(1, 2) if classes == 2 else slice(None)
        return {
            "accuracy": sk.accuracy_score(y, p.argmax(1)),
            "balanced_accuracy": sk.balanced_accuracy_score(y, p.argmax(1)),
            "macro_f1": sk.f1_score(y, p.argmax(1), average="macro"),
            "macro_auroc": present_mean(sk.roc_auc_score, labels[:, columns], p[:, columns]),
            "macro_ap": present_mean(sk.average_precision_score, labels[:, columns], p[:, columns]),
        }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        resampled(lambda codes, g: Classification(truth, scores, codes, g), groups, oracle)


def test_multiclass_auroc_equals_one_vs_rest_of_scikit_learn(generator):
    truth = np.arange(60) % 4
    scores = generator.dirichlet(np.ones(4), 60)
    found = Classification(truth, scores, np.arange(60), 60)(np.ones((1, 60)))
    expected = sk.roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert found["macro_auroc"][0] == pytest.approx(expected, abs=1e-12)


def test_multilabel_metrics_are_those_of_scikit_learn(generator, groups):
    truth = (generator.random((N, 4)) < [0.5, 0.2, 0.05, 0.9]).astype(int)
    scores = np.round(truth * 0.2 + generator.random((N, 4)) * 0.8, 2)

    def oracle(rows):
        y, p = truth[rows], scores[rows]
        f1 = [
            sk.f1_score(y[:, c], p[:, c] > 0.5, zero_division=0)
            for c in range(4)
            if y[:, c].any() or (p[:, c] > 0.5).any()
        ]
        return {
            "macro_auroc": present_mean(sk.roc_auc_score, y, p),
            "macro_ap": present_mean(sk.average_precision_score, y, p),
            "macro_f1": np.mean(f1),
        }

    resampled(lambda codes, g: Multilabel(truth, scores, codes, g), groups, oracle)


def test_regression_metrics_are_those_of_scikit_learn_and_scipy(generator, groups):
    truth = np.round(1e3 + 10 * generator.normal(size=N), 0)
    predicted = np.round(truth + 8 * generator.normal(size=N), 0)

    def oracle(rows):
        y, p = truth[rows], predicted[rows]
        return {
            "r2": sk.r2_score(y, p),
            "mae": sk.mean_absolute_error(y, p),
            "pearson": stats.pearsonr(y, p)[0],
            "spearman": stats.spearmanr(y, p)[0],
        }

    resampled(lambda codes, g: Regression(truth, predicted, codes, g), groups, oracle)


@pytest.mark.parametrize(("predicted", "r2"), [(7.0, 1.0), (6.0, 0.0)])
def test_constant_targets_have_finite_scores(predicted, r2):
    truth = np.full(6, 7.0)
    found = Regression(truth, np.full(6, predicted), np.arange(6), 6)(np.ones((1, 6)))
    assert sk.r2_score(truth, np.full(6, predicted)) == r2
    assert found["r2"] == [r2]
    assert found["pearson"] == found["spearman"] == [0.0]


def test_resamples_with_a_constant_target_stay_finite(generator):
    truth = np.repeat([1.0, 1.0, 1.0, 5.0], 2)
    estimates, replicates = bootstrap(
        Regression(truth, truth + generator.normal(size=8), np.arange(8) // 2, 4),
        resample_groups(np.arange(8) // 2),
    )
    assert all(np.isfinite(values).all() for values in replicates.values())
    assert estimates["pearson"].low <= estimates["pearson"].high <= 1


def test_a_class_that_vanishes_from_a_resample_is_left_out_of_its_mean():
    truth = np.array([0, 0, 1, 1, 2, 2])
    scores = np.eye(3)[[0, 1, 1, 1, 0, 2]]
    statistics = Classification(truth, scores, truth, 3)
    drawn = statistics(np.array([[2.0, 1.0, 0.0], [3.0, 0.0, 0.0]]))
    # class 2 gone: recall of the others; only class 0 left: nothing can be ranked
    assert drawn["balanced_accuracy"][0] == pytest.approx((0.5 + 1) / 2)
    assert np.isfinite(drawn["macro_auroc"][0])
    assert np.isnan(drawn["macro_auroc"][1])
    estimates, replicates = bootstrap(statistics, resample_groups(truth))
    assert np.isfinite(replicates["macro_auroc"]).all()
    assert estimates["macro_auroc"].low <= estimates["macro_auroc"].value


def test_classes_without_both_labels_are_left_out_and_said(generator):
    truth = np.zeros((20, 3), dtype=int)
    truth[:10, 0] = 1
    truth[:, 2] = 1
    scores = generator.random((20, 3))
    statistics = Multilabel(truth, scores, np.arange(20), 20)
    value = statistics(np.ones((1, 20)))["macro_auroc"][0]
    assert value == pytest.approx(sk.roc_auc_score(truth[:, 0], scores[:, 0]))
    rows = statistics.per_class(("a", "b", "c"))
    assert rows["a"]["auroc"] == pytest.approx(value)
    assert "left_out" not in rows["a"]
    assert rows["b"]["left_out"] == rows["c"]["left_out"] == 1
    assert "auroc" not in rows["b"]
    assert (rows["b"]["support"], rows["c"]["support"]) == (0, 20)


def test_confusion_has_truth_in_rows():
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    statistics = Classification(truth, np.eye(3)[predicted], np.arange(4), 4)
    assert statistics.confusion() == sk.confusion_matrix(truth, predicted).tolist()


def test_many_resamples_are_scored_in_blocks(generator, monkeypatch):
    labels, scores = generator.random((50, 1)) < 0.4, generator.random((50, 1))
    codes, counts = np.arange(50), generator.integers(0, 3, (64, 50)).astype(float)
    whole = ranking_replicates(scores, labels, codes, counts)
    monkeypatch.setattr("benchmark.ranking._BLOCK", 100)
    for a, b in zip(whole, ranking_replicates(scores, labels, codes, counts), strict=True):
        np.testing.assert_array_equal(a, b)


def test_onset_matching_is_that_of_mir_eval(generator):
    import mir_eval

    for _ in range(30):
        truth = np.sort(generator.uniform(0, 2, 20))
        found = np.sort(np.concatenate((truth[::2] + generator.normal(0, 0.04, 10),
                                        generator.uniform(0, 2, 6))))  # fmt: skip
        matched = match_events(_events(truth), _events(found))
        table = Counts(*(np.array([[float(n)]]) for n in (len(matched), 20, 16)))
        expected = mir_eval.onset.f_measure(truth, found)[0]
        assert table.micro_f1(np.ones((1, 1)))[0] == pytest.approx(expected, abs=1e-12)


def test_events_match_only_within_their_clip():
    truth = np.array([[1.0, 1.1, 0], [1.0, 1.1, 2]])
    found = np.array([[1.01, 1.1, 1], [1.02, 1.1, 2]])
    assert match_events(truth, found).tolist() == [2]
    assert match_events(truth, found[:0]).tolist() == []


def test_event_f1_is_that_of_sed_eval(generator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sed_eval = pytest.importorskip("sed_eval")
        names = ["dog", "bell", "rain"]
        evaluator = sed_eval.sound_event.EventBasedMetrics(
            names, t_collar=COLLAR, percentage_of_length=LENGTH_SHARE
        )
        tables = np.zeros((3, 6, 3))
        for clip in range(6):
            lists, arrays = [], []
            truth = _random_events(generator, 12)
            for events in (truth, _jitter(generator, truth)):
                arrays.append(events)
                lists.append([
                    {"onset": a, "offset": b, "event_label": names[int(c)], "filename": "x"}
                    for a, b, c in events
                ])  # fmt: skip
            evaluator.evaluate(*lists)
            for c in range(3):
                truth, found = (
                    np.column_stack((e[e[:, 2] == c][:, :2], np.zeros((e[:, 2] == c).sum())))
                    for e in arrays
                )
                hits = len(match_events(truth, found, COLLAR, LENGTH_SHARE))
                tables[:, clip, c] = hits, len(truth), len(found)
        table, ones = Counts(*tables), np.ones((1, 6))
        overall = evaluator.results_overall_metrics()["f_measure"]
        assert 0.2 < overall["f_measure"] < 0.9
        assert table.micro_f1(ones)[0] == pytest.approx(overall["f_measure"], abs=1e-9)
        assert table.micro_precision(ones)[0] == pytest.approx(overall["precision"], abs=1e-9)
        average = evaluator.results_class_wise_average_metrics()["f_measure"]["f_measure"]
        assert table.macro_f1(ones)[0] == pytest.approx(average, abs=1e-9)


def _events(onsets):
    return np.column_stack((onsets, onsets + 0.1, np.zeros(len(onsets))))


def _random_events(generator, number):
    onset = generator.uniform(0, 10, number)
    return np.column_stack(
        (onset, onset + generator.uniform(0.1, 3, number), generator.integers(0, 3, number))
    )


def _jitter(generator, events):
    moved = events[generator.random(len(events)) < 0.8].copy()
    moved[:, 0] += generator.normal(0, 0.1, len(moved))
    moved[:, 1] = np.maximum(moved[:, 0] + 0.05, moved[:, 1] + generator.normal(0, 0.2, len(moved)))
    return np.concatenate((moved, _random_events(generator, 4)))


def test_miou_is_pooled_and_dice_is_per_image(generator):
    truth = generator.integers(0, 3, (8, 16))
    truth[4:][truth[4:] == 2] = 0  # class 2 is absent from half of the images
    predicted = np.where(generator.random(truth.shape) < 0.7, truth, 0)
    predicted[0, :3] = 2
    images = list(zip(truth, predicted, strict=True))
    tables = [
        np.array([[np.sum((t == c) & (p == c)) for c in range(3)] for t, p in images]),
        np.array([[np.sum(t == c) for c in range(3)] for t, _ in images]),
        np.array([[np.sum(p == c) for c in range(3)] for _, p in images]),
    ]
    groups = np.array(list("aabbccdd"))
    foreground = np.array([False, True, True])

    def oracle(rows):
        per_class = []
        for c in (1, 2):
            values = [
                sk.f1_score(truth[i] == c, predicted[i] == c)
                for i in rows
                if (truth[i] == c).any() or (predicted[i] == c).any()
            ]
            per_class.append(np.mean(values) if values else np.nan)
        pooled = sk.jaccard_score(truth[rows].ravel(), predicted[rows].ravel(), average="macro")
        return {"dice": np.nanmean(per_class), "miou": pooled}

    resampled(lambda codes, g: Overlap(*tables, codes, g, foreground), groups, oracle)


def test_direction_of_metrics():
    assert not higher_is_better("mae")
    assert not higher_is_better("mae@10%")
    assert not higher_is_better("mae (best layer)")
    lower = {name for name in METRICS if not higher_is_better(name)}
    assert lower == {"mae", "eer", "min_dcf"}


@pytest.mark.parametrize(("metric", "kind"), [("acuracy", "multiclass"), ("r2", "bags")])
def test_a_metric_that_does_not_fit_names_those_that_do(metric, kind):
    with pytest.raises(SslBenchError, match=r"balanced_accuracy"):
        check_metric(metric, kind)
