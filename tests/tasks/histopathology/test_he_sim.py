"""The simulated H&E tasks: cards, splits, labels, and what may not leak."""

import hashlib
from collections import defaultdict
from importlib import import_module

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmark.catalog import load_task
from benchmark.prepare import read_row
from benchmark.task import SPLITS
from tasks.histopathology.he_sim_slides import NORMAL, TUMOURS, HeSimSlides
from tasks.histopathology.nuclei import MPP
from tasks.histopathology.tissues import NEIGHBOURS, TISSUES

NAMES = ("he-sim-tissue", "he-sim-nuclei", "he-sim-slides")
FEW = {"train": 4, "validation": 2, "test": 4}


@pytest.fixture(scope="module")
def rows():
    """A few slides of every task, as the generator yields them."""
    found = {}
    for name in NAMES:
        task = load_task(name)
        task.slides = FEW
        found[name] = {split: list(task.examples(split)) for split in SPLITS}
    return found


def _digest(row):
    return hashlib.sha256(row["input"]["image"].tobytes()).hexdigest()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_tiles_of_the_stated_size(rows, name):
    for split in SPLITS:
        for row in rows[name][split]:
            assert row["input"]["image"].shape == (96, 96, 3)
            assert row["input"]["image"].dtype == np.uint8
            assert row["input"]["mpp"] == MPP


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_in_two_splits_and_no_tile_occurs_twice(rows, name):
    groups = {split: {row["group"] for row in rows[name][split]} for split in SPLITS}
    assert not groups["train"] & groups["validation"]
    assert not groups["train"] & groups["test"]
    assert not groups["validation"] & groups["test"]
    everything = [row for split in SPLITS for row in rows[name][split]]
    assert len({row["id"] for row in everything}) == len(everything)
    assert len({_digest(row) for row in everything}) == len(everything)


@pytest.mark.parametrize("name", NAMES)
def test_full_splits_have_no_group_in_common_and_as_many_slides_as_the_card_says(name, monkeypatch):
    """All slides, with blank tiles in place of the drawn ones."""
    task = load_task(name)

    def blank(split, tissues, slide, rng):
        return np.zeros((len(tissues), 1, 1, 3), np.uint8), np.zeros((len(tissues), 1, 1), bool)

    module = import_module(type(task).__module__)
    monkeypatch.setattr(module, "draw_tiles", blank)
    rows = {split: list(task.examples(split)) for split in SPLITS}
    groups = [{row["group"] for row in rows[split]} for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups))
    slides = [{row.get("bag", row["group"]) for row in rows[split]} for split in SPLITS]
    ends = np.cumsum([len(names) for names in slides]) - 1
    assert f"slides 0-{ends[0]} train" in task.card.split
    assert f"-{ends[1]} validation" in task.card.split
    assert f"-{ends[2]} test" in task.card.split
    assert f"{sum(map(len, rows.values())):,} tiles" in task.card.size or "bag" in rows["test"][0]


def test_no_texture_and_no_nucleus_is_shared_between_splits():
    from tasks.histopathology.he_sim import _pieces

    train, test = _pieces("train"), _pieces("test")
    assert abs(np.corrcoef(train.textures.fine.ravel(), test.textures.fine.ravel())[0, 1]) < 0.05
    assert not np.allclose(train.bank.paint, test.bank.paint)


def test_the_generator_is_deterministic_and_leaves_the_global_state_alone():
    task = load_task("he-sim-nuclei")
    task.slides = FEW
    state = np.random.get_state()[1].copy()
    first, second = (next(iter(task.examples("test"))) for _ in range(2))
    assert _digest(first) == _digest(second)
    assert (first["nuclei"] == second["nuclei"]).all()
    assert (np.random.get_state()[1] == state).all()


def test_tissue_classes_of_the_card_are_those_of_the_generator(rows):
    card = load_task("he-sim-tissue").card
    assert card.target.classes == tuple(TISSUES)
    assert set(card.target.prompts) == set(TISSUES)
    assert card.chance == pytest.approx(1 / len(TISSUES))
    counts = defaultdict(list)
    for row in rows["he-sim-tissue"]["train"]:
        counts[row["group"]].append(row["tissue"])
    for labels in counts.values():  # every slide has every class equally often
        assert (np.bincount(labels, minlength=len(TISSUES)) == 3).all()


def test_neighbours_of_benign_tiles_are_never_tumour():
    assert not set(TUMOURS) & set(NORMAL)
    assert not set(TUMOURS) & {name for others in NEIGHBOURS.values() for name in others}


def test_colour_says_less_than_the_full_range(rows):
    """Mean colour does not give the class away; it does say what is fat."""
    tiles = rows["he-sim-tissue"]

    def colours(split):
        images = np.stack([row["input"]["image"] for row in tiles[split]])
        return images.mean((1, 2)), np.array([row["tissue"] for row in tiles[split]])

    probe = make_pipeline(StandardScaler(), LogisticRegression()).fit(*colours("train"))
    accuracy = probe.score(*colours("test"))
    assert accuracy < 0.6
    assert accuracy > 0.125


def test_masks_hold_the_dark_pixels(rows):
    card = load_task("he-sim-nuclei").card
    assert card.target.classes == ("background", "nucleus")
    for split in SPLITS:
        for row in rows["he-sim-nuclei"][split]:
            mask, image = row["nuclei"], row["input"]["image"].astype(float)
            assert mask.shape == image.shape[:2]
            assert set(np.unique(mask)) <= {0, 1}
            assert 0.005 < mask.mean() < 0.7
            red = image[..., 0]  # haematoxylin absorbs red, eosin does not
            assert red[mask == 1].mean() < red[mask == 0].mean() - 5


def test_chance_dice_of_the_card_is_that_of_calling_everything_nucleus(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_BENCH_CACHE", str(tmp_path))
    task = load_task("he-sim-nuclei")
    data = task.load()["test"]
    masks = np.stack([read_row(data, i)["target"] for i in range(len(data))])
    area = masks.mean((1, 2))
    dice = np.mean(2 * area / (area + 1))
    assert task.card.chance == pytest.approx(dice, abs=0.005)


@pytest.mark.long
def test_bags_have_one_label_and_patients_have_both(rows):
    bags, patients = defaultdict(set), defaultdict(set)
    for row in rows["he-sim-slides"]["train"]:
        bags[row["bag"]].add(row["tumour"])
        patients[row["group"]].add(row["bag"])
    assert all(len(labels) == 1 for labels in bags.values())
    for slides in patients.values():
        assert sorted(next(iter(bags[slide])) for slide in slides) == [0, 1]


def test_slides_with_tumour_hold_few_tumour_tiles(monkeypatch):
    """The label of a bag is what was drawn into its tiles."""
    from tasks.histopathology import he_sim_slides

    drawn = []

    def record(split, tissues, slide, rng):
        drawn.append(list(tissues))
        return np.zeros((len(tissues), 1, 1, 3), np.uint8), np.zeros((len(tissues), 1, 1), bool)

    monkeypatch.setattr(he_sim_slides, "draw_tiles", record)
    task = load_task("he-sim-slides")
    rows = list(task.examples("train"))
    labels = [row["tumour"] for row in rows[:: HeSimSlides.tiles]]
    tumours = [sum(name in TUMOURS for name in names) for names in drawn]
    assert [count > 0 for count in tumours] == [bool(label) for label in labels]
    assert {count for count in tumours if count} == {2, 3}
    assert len(labels) == HeSimSlides.slides["train"]
