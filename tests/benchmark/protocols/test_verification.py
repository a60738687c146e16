"""Error rates against scikit-learn's ROC curve; resamples against trials listed one by one."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from benchmark.bootstrap import resample_groups
from benchmark.errors import DatasetError, SslBenchError
from benchmark.prepare import prepare
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split
from benchmark.splits import read_targets
from benchmark.task import Task
from benchmark.trials import TARGET_PRIOR, Trials


def oracle(scores: np.ndarray, same: np.ndarray, weights: np.ndarray) -> tuple[float, ...]:
    """EER, minimum detection cost and AUROC of a weighted list by scikit-learn."""
    fpr, tpr, _ = roc_curve(same, scores, sample_weight=weights, drop_intermediate=False)
    eer = brentq(lambda x: 1 - x - float(interp1d(fpr, tpr)(x)), 0, 1)
    cost = TARGET_PRIOR * (1 - tpr) + (1 - TARGET_PRIOR) * fpr
    area = roc_auc_score(same, scores, sample_weight=weights)
    return eer, cost.min() / TARGET_PRIOR, area


def trials(number: int, speakers: int, seed: int, digits: int = 6, shift: float = 1.5):
    """Scores, labels and the speakers of both sides; half of the trials within one speaker."""
    generator = np.random.default_rng(seed)
    pairs = generator.integers(0, speakers, (number, 2))
    pairs[::2, 1] = pairs[::2, 0]
    same = pairs[:, 0] == pairs[:, 1]
    scores = np.round(shift * same + generator.normal(size=number), digits)
    return scores, same, pairs


@pytest.mark.parametrize("digits", [6, 1, 0])  # few and many ties
@pytest.mark.parametrize("shift", [1.5, 0.0, -1.0])
def test_rates_are_those_of_scikit_learn(digits: int, shift: float) -> None:
    scores, same, pairs = trials(300, 12, 1, digits, shift)
    found = Trials(scores, same, pairs, 12)(np.ones((1, 12)))
    expected = oracle(scores, same, np.ones(300))
    assert found["eer"][0] == pytest.approx(expected[0], abs=1e-9)
    assert found["min_dcf"][0] == pytest.approx(expected[1], abs=1e-9)
    assert found["auroc"][0] == pytest.approx(expected[2], abs=1e-9)


def test_resamples_are_those_of_the_trials_among_drawn_speakers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, same, pairs = trials(200, 9, 2, 1)
    pairs[::3] = pairs[::3, ::-1]  # the order of the two sides means nothing
    counts = resample_groups(np.arange(9), 0, 25).counts
    for block in (4_000_000, 700):  # all at once, and a few resamples at a time
        monkeypatch.setattr("benchmark.trials._BLOCK", block)
        found = Trials(scores, same, pairs, 9)(counts)
        for b, drawn in enumerate(counts):
            a, c = drawn[pairs].T
            weights = np.where(same, a, a * c)
            expected = oracle(scores[weights > 0], same[weights > 0], weights[weights > 0])
            for name, value in zip(("eer", "min_dcf", "auroc"), expected, strict=True):
                assert found[name][b] == pytest.approx(value, abs=1e-8), name


def test_a_resample_without_one_kind_of_trials_is_undefined() -> None:
    found = Trials(np.array([1.0, 0.0]), np.array([True, False]), np.array([[0, 0], [0, 1]]), 2)
    values = found(np.array([[1.0, 1.0], [2.0, 0.0]]))
    assert values["eer"][0] == 0
    assert np.isnan(values["eer"][1])


def test_all_scores_equal_are_chance() -> None:
    same = np.arange(10) % 2 == 0
    pairs = np.column_stack((np.arange(10), np.arange(10)))
    values = Trials(np.zeros(10), same, pairs, 10)(np.ones((1, 10)))
    assert (values["eer"][0], values["min_dcf"][0], values["auroc"][0]) == (0.5, 1.0, 0.5)


@pytest.mark.timeout(120)
def test_as_many_trials_as_voxceleb_are_bootstrapped_in_seconds() -> None:
    scores, same, pairs = trials(37_720, 40, 3)
    begun = time.process_time()
    found = Trials(scores, same, pairs, 40)(resample_groups(np.arange(40)).counts)
    assert time.process_time() - begun < 20
    assert 0.2 < found["eer"].mean() < 0.3


def speakers(number: int, each: int, noise: float, seed: int = 0) -> Split:
    """Recordings of speakers; each is tried against the next of its own and of another speaker."""
    generator = np.random.default_rng(seed)
    label = np.repeat(np.arange(number), each)
    voices = generator.normal(size=(number, 16))
    x = voices[label] + noise * generator.normal(size=(len(label), 16))
    lists = []
    for i in range(len(label)):
        mate = i - i % each + (i + 1) % each
        other = (i + each) % len(label)
        lists.append(np.array([[mate, 1], [other, 0]] if i % each else [], dtype=np.int64))
    lists = [rows.reshape(-1, 2) for rows in lists]
    names = np.array([f"speaker {c}" for c in label])
    ids = np.array([f"r{i}" for i in range(len(label))])
    return Split(x.astype(np.float32), lists, names, ids)


def test_voices_are_verified(make_card) -> None:
    card = make_card("pairs", "eer")
    test = speakers(30, 6, 0.5)
    scores = protocol("verification").run(test, None, test, card)
    assert scores.metrics == protocol("verification").run(test, None, test, card).metrics
    found = scores.metrics["eer"]
    assert found.value < 0.05
    assert 0 <= found.low <= found.value <= found.high
    assert (scores.chance, scores.ceiling, scores.main) == (0.5, 0.0, "eer")
    assert scores.counts["trials"] == 300
    assert scores.counts["same_trials"] == 150
    assert scores.counts["test_groups"] == 30
    blind = protocol("verification").run(test, None, speakers(30, 6, 50), card)
    assert blind.metrics["eer"].value == pytest.approx(0.5, abs=0.12)
    assert blind.metrics["eer"].low < 0.5 < blind.metrics["eer"].high
    assert blind.metrics["min_dcf"].value > 0.9
    costs = protocol("verification").run(test, None, test, make_card("pairs", "min_dcf"))
    assert (costs.main, costs.chance) == ("min_dcf", 1.0)


def test_trials_of_one_kind_and_other_targets_are_refused(make_card, make_split) -> None:
    test = speakers(4, 3, 0.5)
    test.targets = [rows[rows[:, 1] == 1] for rows in test.targets]
    with pytest.raises(SslBenchError, match="all 8 are of one kind"):
        protocol("verification").run(test, None, test, make_card("pairs", "eer"))
    split = make_split(8, 1)
    with pytest.raises(SslBenchError, match="does not score multiclass"):
        protocol("verification").run(split, None, split, make_card())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: None if i == 2 else [[0, 1]], "1 of 4 examples of test have no list"),
        (lambda i: [[i + 1, 1]], r"trials of '3' are not \(n, 2\) with positions below 4"),
        (lambda i: [[0, 2 if i == 1 else 0]], r"trials of '1' are not \(n, 2\)"),
    ],
)
def test_trials_that_name_no_example_are_refused(make_card, own_cache, change, message) -> None:
    class Voices(Task):
        source = "mock-voices"
        splits = ("test",)

        def examples(self, split):
            for i in range(4):
                listed = change(i)
                yield {
                    "id": i, "group": i,
                    "input": {"waveform": np.zeros(8, np.float32), "sample_rate": 8},
                    "y": None if listed is None else np.array(listed, np.int64).reshape(-1, 2),
                }  # fmt: skip

    task = Voices(make_card("pairs", "eer"))
    prepare(task)
    with pytest.raises(DatasetError, match=message):
        read_targets(task, "test")
