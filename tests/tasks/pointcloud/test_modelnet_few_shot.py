"""The published few-shot runs of ModelNet40."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from box_shapes import cloud_of

from benchmark.catalog import load_task
from benchmark.errors import DatasetError
from benchmark.prepare import read_row

SETTINGS = [(5, 10), (5, 20), (10, 10), (10, 20)]
CLASSES = load_task("modelnet40").card.target.classes
QUERIES = 2
Item = tuple[np.ndarray, int, Any]


def run_of(ways: int, shots: int, run: int) -> dict[str, list[Item]]:
    """What a file holds: (cloud with normals, label in the run, label in ModelNet40 as numpy has
    it)."""
    rng = np.random.default_rng(run)
    picked = rng.permutation(len(CLASSES))[:ways]
    content: dict[str, list[Item]] = {}
    for part, count in (("train", shots), ("test", QUERIES)):
        items = [
            (np.hstack([cloud_of(CLASSES[label], f"{part}{run}{k}", 48)] * 2), i, np.int32(label))
            for i, label in enumerate(picked)
            for k in range(count)
        ]
        content[part] = [items[k] for k in rng.permutation(len(items))]
    return content


def write(root: Path, ways: int, shots: int, name: str = "{}way_{}shot") -> Path:
    folder = root / "ModelNetFewshot" / name.format(ways, shots)
    folder.mkdir(parents=True)
    for run in range(10):
        (folder / f"{run}.pkl").write_bytes(pickle.dumps(run_of(ways, shots, run)))
    return folder


@pytest.mark.parametrize("name", ["{}way_{}shot", "{}way{}shot"])
@pytest.mark.parametrize(("ways", "shots"), SETTINGS)
def test_every_run_is_a_training_and_a_test_set(
    tmp_path: Path, ways: int, shots: int, name: str
) -> None:
    write(tmp_path, ways, shots, name)
    task = load_task(f"modelnet40-{ways}way-{shots}shot", tmp_path)
    assert task.card.chance == pytest.approx(1 / ways)
    data = task.load()
    assert len(data) == 20
    for run in (1, 10):
        train, test = data[f"run-{run}-train"], data[f"run-{run}-test"]
        assert (len(train), len(test)) == (ways * shots, ways * QUERIES)
        assert np.unique(train["target"], return_counts=True)[1].tolist() == [shots] * ways
        assert set(test["target"]) == set(train["target"])
        cloud, _, label = run_of(ways, shots, run - 1)["train"][0]
        row = read_row(train, 0)
        np.testing.assert_array_equal(row["input"]["points"], cloud[:, :3])
        assert row["target"] == label


@pytest.mark.long
def test_the_score_is_the_mean_over_runs(
    tmp_path: Path, score: Callable[..., Any], findings: Callable[..., Any]
) -> None:
    write(tmp_path, 5, 10)
    task = "modelnet40-5way-10shot"
    result = score(task, tmp_path, "shape-descriptors")
    runs = [run["accuracy"] for run in result.hyperparameters["runs"]]
    assert len(runs) == 10
    assert result.score.value == pytest.approx(np.mean(runs))
    assert result.score.value > 0.5
    assert min(runs) <= result.score.low <= result.score.value <= result.score.high
    assert result.counts["runs"] == 10
    found = findings(task, tmp_path)
    assert all(finding.passed for finding in found.values()), found


def test_a_query_that_stands_among_the_training_shapes_is_found(
    tmp_path: Path, findings: Callable[..., Any]
) -> None:
    folder = write(tmp_path, 5, 10)
    content = run_of(5, 10, 2)
    content["test"][0] = content["train"][0]
    (folder / "2.pkl").write_bytes(pickle.dumps(content))
    # the same shape in another run is another dataset's
    other = run_of(5, 10, 3)
    other["train"] = content["train"]
    other["test"] = run_of(5, 10, 2)["test"]
    (folder / "3.pkl").write_bytes(pickle.dumps(other))
    found = findings("modelnet40-5way-10shot", tmp_path)["duplicates"]
    assert not found.passed
    assert "run-3-train and run-3-test" in found.detail
    assert "run-4" not in found.detail


class Harmful:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_harmful_file_is_refused_and_not_run(tmp_path: Path) -> None:
    path = write(tmp_path, 5, 10) / "3.pkl"
    content: dict[str, Any] = {**run_of(5, 10, 3), "more": Harmful(tmp_path / "run")}
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetError, match=r"3\.pkl: it names (posix|nt)\.system.*nothing in it"):
        load_task("modelnet40-5way-10shot", tmp_path).load()
    assert not (tmp_path / "run").exists()


def _train(change: Callable[[list[Item]], list[Any]]) -> Callable[[Any], Any]:
    return lambda content: {**content, "train": change(content["train"])}


def _nan(items: list[Item]) -> list[Item]:
    items[0][0][0, 0] = np.nan
    return items


DAMAGE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda content: content["train"], "has no 'train' and 'test'"),
    (lambda content: {"train": content["train"]}, "has no 'train' and 'test'"),
    (_train(lambda items: items[1:]), "has .* training shapes per class"),
    (_train(lambda items: [item[:2] for item in items]), "has items that are not"),
    (
        lambda content: {
            part: [(c, i, 40 if i == 0 else k) for c, i, k in items]
            for part, items in content.items()
        },
        "a label",
    ),
    (_train(lambda items: [(c, i, min(i, 3)) for c, i, _ in items]), "asks for classes|one label"),
    (_train(lambda items: [(c[:, :4], i, k) for c, i, k in items]), "a cloud has shape"),
    (_train(lambda items: [(c.tolist(), i, k) for c, i, k in items]), "a cloud has list"),
    (_train(_nan), "holds NaN"),
    (lambda content: {**content, "test": []}, "asks for classes"),
    (lambda content: {**content, "test": [(c, 9, k) for c, _, k in content["test"]]}, "asks for"),
]


@pytest.mark.parametrize(("damage", "told"), DAMAGE)
def test_damage_is_told_with_file_and_remedy(
    tmp_path: Path,
    damage: Callable[[Any], Any],
    told: str,
    refused: Callable[[str, Path], str],
) -> None:
    path = write(tmp_path, 5, 10) / "0.pkl"
    path.write_bytes(pickle.dumps(damage(run_of(5, 10, 0))))
    text = refused("modelnet40-5way-10shot", tmp_path)
    assert re.search(rf"0\.pkl.*({told}).*get the file again", text), text


def test_a_missing_or_truncated_run_is_told(
    tmp_path: Path, refused: Callable[[str, Path], str]
) -> None:
    folder = write(tmp_path, 5, 10)
    path = folder / "4.pkl"
    path.write_bytes(path.read_bytes()[:-100])
    assert re.search(r"4\.pkl cannot be read", refused("modelnet40-5way-10shot", tmp_path))
    path.unlink()
    text = refused("modelnet40-5way-10shot", tmp_path)
    assert re.search(r"lacks 5way_10shot/4\.pkl.*data fetch modelnet40-5way-10shot", text)
