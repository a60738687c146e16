"""TMED-2: a tiny copy of the official layout."""

import numpy as np
import pytest
from echo_files import change, cut, write_table
from PIL import Image

from benchmark.catalog import load_task
from benchmark.prepare import read_row

VIEWS = ["PLAX", "PSAX", "A4C", "A2C", "A4CorA2CorOther"]
GRADES = ["no_AS", "mild_AS", "mildtomod_AS", "moderate_AS", "severe_AS"]
SPLITS = ["train"] * 15 + ["val"] * 10 + ["test"] * 10
INDEX = "TMED2_fold0_labeledpart.csv"
BOTH, ONLY_VIEW = "view_and_diagnosis_labeled_set", "view_labeled_set"


def picture(path, kind, grade, seed):
    pixels = np.random.default_rng(seed).integers(0, 10 + 15 * grade, (112, 112)).astype(np.uint8)
    pixels[20 * kind : 20 * kind + 20] += 180
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    inside = tmp_path / "data" / "tmed2" / "approved_users_only"
    rows = []
    for i, split in enumerate(SPLITS):
        patient = 100 + i
        for k, view in enumerate(VIEWS):
            name = f"{patient}s1_{k}.png"
            diagnosed = k < 4
            folder = BOTH if diagnosed else ONLY_VIEW
            picture(inside / folder / "labeled" / name, k, i % 5, 10 * i + k)
            rows.append(
                {"query_key": name, "view_label": view,
                 "diagnosis_label": GRADES[i % 5] if diagnosed else "Not_Provided",
                 "SourceFolder": folder, "view_classifier_split": split,
                 "diagnosis_classifier_split": split if diagnosed else "not_used"}
            )  # fmt: skip
    write_table(inside / "DEV479" / INDEX, rows)
    return tmp_path / "data"


@pytest.mark.parametrize("task", ["tmed2-view", "tmed2-as"])
def test_checks_and_scores(root, findings, score, task):
    assert all(finding.passed for finding in findings(task, root).values())
    assert score(task, root, "flow-statistics").score.value > 0.5


def test_examples(root):
    data = load_task("tmed2-view", root).load()
    assert [part.num_rows for part in data.values()] == [75, 50, 50]
    assert read_row(data["train"], 0)["input"]["video"].shape == (1, 112, 112)
    assert set(data["train"]["group"]) == {str(100 + i) for i in range(15)}


def test_studies_are_bags_of_their_diagnosed_images(root):
    data = load_task("tmed2-as", root).load()["train"]
    assert data.num_rows == 60
    grades = dict(zip(data["bag"], data["target"], strict=True))
    assert [grades[f"{100 + i}s1"] for i in range(5)] == [0, 1, 1, 2, 2]


def images(folder):
    return folder / BOTH / "labeled"


@pytest.mark.parametrize(
    ("task", "damage", "words"),
    [
        ("view", lambda d: (images(d) / "104s1_1.png").unlink(), ["104s1_1.png", INDEX]),
        ("view", lambda d: cut(images(d) / "104s1_1.png"), ["104s1_1.png", "get the file again"]),
        ("view", lambda d: change(d / "DEV479" / INDEX, "view_label", "view"), ["'view_label'"]),
        ("view", lambda d: change(d / "DEV479" / INDEX, "A2C", "A9C"), ["A9C"]),
        ("as", lambda d: change(d / "DEV479" / INDEX, "severe_AS", "bad_AS"), ["bad_AS"]),
        ("view", lambda d: change(d / "DEV479" / INDEX, "104s1_1.png", "first.png"),
         ["first.png", "patient"]),
        ("view", lambda d: (d / "DEV479" / INDEX).unlink(), [INDEX, "data fetch"]),
    ],
)  # fmt: skip
def test_damage_is_told_by_name(root, refused, task, damage, words):
    damage(root / "tmed2" / "approved_users_only")
    told = refused(f"tmed2-{task}", root)
    assert all(word in told for word in words), told
