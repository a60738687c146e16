"""The embedded furniture models and their two tasks."""

import csv
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmark.catalog import load_task
from benchmark.errors import DatasetError
from benchmark.prepare import read_row
from benchmark.task import SPLITS
from tasks.pointcloud import furniture

TASKS = {"furniture20": "split", "furniture-transfer": "transfer_split"}


@pytest.fixture(scope="module")
def models() -> list[dict[str, str]]:
    with (furniture.DATA / "furniture.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", TASKS)
def test_splits_share_no_family_and_hold_every_class(name: str) -> None:
    task = load_task(name)
    groups: dict[str, set[str]] = {}
    for split in SPLITS:
        rows = list(task.examples(split))
        groups[split] = {row["group"] for row in rows}
        assert {row["class"] for row in rows} == set(range(len(task.card.target.classes)))
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]


def test_classes_have_ten_models_and_chance_is_the_commonest_class(
    models: list[dict[str, str]],
) -> None:
    counts = Counter(model["class"] for model in models)
    assert min(counts.values()) >= 10
    assert sorted(counts) == list(load_task("furniture20").card.target.classes)
    for name, column in TASKS.items():
        test = Counter(model["class"] for model in models if model[column] == "test")
        share = max(test.values()) / test.total()
        assert load_task(name).card.chance == pytest.approx(share, abs=1e-4)


def test_transfer_tests_a_library_that_training_never_sees(models: list[dict[str, str]]) -> None:
    libraries = defaultdict(set)
    for model in models:
        libraries[model["transfer_split"]].add(model["library"])
    assert libraries["test"] == {"Scopia"}
    assert "Scopia" not in libraries["train"] | libraries["validation"]


def test_known_copies_share_a_family(models: list[dict[str, str]]) -> None:
    family = {model["model"]: model["group"] for model in models}
    for a, b in [
        ("scopia/pine/pine.obj", "scopia/pineSnow/pineSnow.obj"),
        (
            "scopia/wooden_office_teak_table/wooden_office_teak_table.obj",
            "scopia/wooden_office_pear_table/wooden_office_pear_table.obj",
        ),
        ("scopia/coconutTree/coconutTree.obj", "scopia/coconutTreeBended/coconutTreeBended.obj"),
    ]:
        assert family[a] == family[b]
    assert len({model["class"] + model["group"] for model in models}) == len(set(family.values()))


def test_points_are_whole_clouds_in_the_unit_sphere() -> None:
    for row in load_task("furniture20").examples("validation"):
        points = row["input"]["points"]
        assert points.shape == (1024, 3)
        assert points.dtype == np.float32
        assert np.linalg.norm(points, axis=1).max() == pytest.approx(1, abs=1e-3)
        assert len(np.unique(points, axis=0)) > 1000
        assert (np.ptp(points, axis=0) > 0.002).all()


def test_no_cloud_stands_twice_and_the_prepared_copy_agrees() -> None:
    task = load_task("furniture20")
    data = task.load()
    assert {split: len(data[split]) for split in SPLITS} == {
        split: len(list(task.examples(split))) for split in SPLITS
    }
    first = next(iter(task.examples("test")))
    row = read_row(data["test"], 0)
    np.testing.assert_array_equal(row["input"]["points"], first["input"]["points"])
    assert (row["target"], row["group"]) == (first["class"], first["group"])
    seen = [e["input"]["points"].tobytes() for s in SPLITS for e in task.examples(s)]
    assert len(set(seen)) == len(seen)


def test_turning_keeps_height_and_shape() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    turned = furniture.turn_about_vertical(points, np.pi / 2)
    np.testing.assert_allclose(turned[:, 1], points[:, 1])
    np.testing.assert_allclose(turned @ turned.T, points @ points.T, atol=1e-5)
    np.testing.assert_allclose(turned[:, [0, 2]], points[:, [2, 0]] * [1, -1], atol=1e-6)


def test_every_model_has_its_creator_and_a_free_licence(models: list[dict[str, str]]) -> None:
    assert {model["licence"] for model in models} == {"CC0 1.0", "CC BY 3.0", "CC BY 3.0 US"}
    assert all(model["creator"] for model in models)


def test_prompts_name_every_class() -> None:
    target = load_task("furniture20").card.target
    assert list(target.prompts) == list(target.classes)
    assert min(map(len, target.prompts.values())) >= 3


def test_missing_data_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(furniture, "DATA", tmp_path)
    with pytest.raises(DatasetError, match=r"furniture20: .*furniture\.csv is missing"):
        load_task("furniture20").files()
