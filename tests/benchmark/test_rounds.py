"""Which splits are trained and tested together."""

from benchmark.rounds import rivals, rounds
from benchmark.task import Task, folds, runs


def task(*names: str) -> Task:
    class Some(Task):
        splits = names

    return Some.__new__(Some)


def test_every_fold_is_tested_once_with_the_others_for_training() -> None:
    found = rounds(task(*folds(3)))
    assert [r.test for r in found] == ["fold-1", "fold-2", "fold-3"]
    assert found[1].train == ("fold-1", "fold-3")
    assert len(rivals(task(*folds(3)))) == 3


def test_runs_have_nothing_to_do_with_each_other() -> None:
    some = task(*runs(2))
    assert [(r.train, r.test) for r in rounds(some)] == [
        (("run-1-train",), "run-1-test"),
        (("run-2-train",), "run-2-test"),
    ]
    assert rivals(some) == (("run-1-train", "run-1-test"), ("run-2-train", "run-2-test"))


def test_fixed_splits_are_one_round() -> None:
    (found,) = rounds(task("train", "validation", "test"))
    assert found == (("train",), "validation", "test")
    assert len(rivals(task("train", "validation", "test"))) == 3
    (alone,) = rounds(task("test"))
    assert alone == ((), None, "test")
