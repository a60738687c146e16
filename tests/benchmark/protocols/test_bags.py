from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark.errors import SslBenchError
from benchmark.protocols import protocol
from benchmark.protocols.abmil import Bags, GatedAttention
from benchmark.protocols.bags import held_out_groups
from benchmark.protocols.checks import pooled
from benchmark.protocols.contract import Split


def slides(number: int, seed: int, tumour_tiles: int, classes: int = 2) -> Split:
    """Slides of 8 to 16 tiles; in positive ones `tumour_tiles` tiles are shifted, or all (0)."""
    generator = np.random.default_rng(seed)
    x, y, bag = [], [], []
    for slide in range(number):
        label = slide % classes
        size = generator.integers(8, 17)
        tiles = generator.normal(size=(size, 10))
        if label:
            tiles[: tumour_tiles or size, label - 1] += 4.0 if tumour_tiles else 1.0
        x.append(tiles)
        y += [label] * size
        bag += [f"s{seed}-slide{slide:03d}"] * size
    bags = np.array(bag)
    return Split(
        np.concatenate(x).astype(np.float32), np.array(y),
        np.char.replace(bags, "slide", "patient"),
        np.array([f"{seed}-{i}" for i in range(len(y))]), bags=bags,
    )  # fmt: skip


@pytest.fixture
def card(make_card):
    return make_card("bags", "balanced_accuracy", classes=("benign", "tumour"))


def test_mean_pooling_and_attention_are_both_reported(card):
    parts = [slides(n, s, 0) for n, s in ((60, 1), (30, 2), (40, 3))]
    scores = protocol("linear-probe").run(*parts, card)
    again = protocol("linear-probe").run(*parts, card)
    assert scores.metrics == again.metrics
    assert {"balanced_accuracy (mean pooling)", "balanced_accuracy (abmil)"} < set(scores.metrics)
    named = scores.metrics[f"balanced_accuracy ({scores.hyperparameters['chosen']})"]
    assert scores.metrics["balanced_accuracy"] == named
    assert named.value > 0.85
    assert (scores.counts["test"], scores.counts["test_tiles"]) == (40, len(parts[2]))
    assert np.array(scores.confusion).sum() == 40


def test_attention_finds_a_tumour_in_few_tiles(card):
    parts = [slides(n, s, 1) for n, s in ((160, 1), (60, 2), (80, 3))]
    scores = protocol("linear-probe").run(*parts, card)
    found = {k: scores.metrics[f"balanced_accuracy ({k})"].value for k in ("abmil", "mean pooling")}
    assert found["abmil"] > found["mean pooling"]
    assert scores.hyperparameters["chosen"] == "abmil"
    assert scores.metrics["balanced_accuracy"].value == found["abmil"]


def test_mean_pooling_is_a_probe_on_mean_tiles(card):
    parts = [slides(n, s, 0) for n, s in ((60, 1), (30, 2), (40, 3))]
    scores = protocol("linear-probe").run(*parts, card)
    bags = []
    for part in parts:
        names = np.unique(part.bags)
        means = np.stack([part.embeddings[part.bags == name].mean(0) for name in names])
        bags.append((means, np.array([part.targets[part.bags == name][0] for name in names])))
    x, y = (np.concatenate([bags[0][i], bags[1][i]]) for i in (0, 1))
    scaler = StandardScaler().fit(x)
    c = scores.hyperparameters["mean_pooling"]["penalty"]
    model = LogisticRegression(C=c, tol=1e-8, max_iter=2000).fit(scaler.transform(x), y)
    expected = model.score(scaler.transform(bags[2][0]), bags[2][1])
    found = scores.metrics["balanced_accuracy (mean pooling)"].value  # the classes are balanced
    assert found == pytest.approx(expected, abs=0.026)


def test_without_validation_groups_are_held_out(card):
    scores = protocol("linear-probe").run(slides(60, 1, 0), None, slides(40, 3, 0), card)
    assert scores.metrics["balanced_accuracy"].value > 0.8
    train = slides(60, 1, 0)
    held = held_out_groups(train, card, 0)
    assert set(train.bags[held]).isdisjoint(train.bags[~held])
    per_class = [len(set(train.bags[held & (train.targets == c)])) for c in (0, 1)]
    assert per_class == [6, 6]


def test_the_other_protocols_pool_bags(card):
    parts = [slides(n, s, 0) for n, s in ((60, 1), (30, 2), (40, 3))]
    for name in ("knn", "retrieval", "anomaly"):
        scores = protocol(name).run(*parts, card)
        assert scores.counts["test"] == 40
        assert scores.metrics[scores.main].value > 0.55


def test_pooling_keeps_groups_and_targets():
    split = slides(6, 1, 0)
    bags = pooled(split)
    assert bags.ids.tolist() == sorted(set(split.bags))
    assert bags.targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert bags.groups[2] == "s1-patient002"


def test_padding_and_tile_order_do_not_change_a_bag():
    generator = np.random.default_rng(0)
    tiles = generator.normal(size=(7, 5)).astype(np.float32)
    model = GatedAttention(5, 3, torch.Generator().manual_seed(0))
    model.head.weight.data = torch.from_numpy(generator.normal(size=(3, 5)).astype(np.float32))
    scaling = np.zeros(5, np.float32), np.ones(5, np.float32)
    bag = Bags(tiles[:2], np.zeros(2, int), np.array([0]), *scaling)
    alone = model(*next(iter(bag.batches("cpu")))[:2])
    index = np.array([0, 0, 1, 1, 1, 1, 1])
    order = generator.permutation(7)
    both = Bags(tiles[order], index[order], np.array([0, 1]), *scaling)
    together = model(*next(iter(both.batches("cpu")))[:2])
    torch.testing.assert_close(together[0], alone[0])


def test_a_split_without_bags_is_refused(card, make_split):
    with pytest.raises(SslBenchError, match="no `bag` column"):
        protocol("linear-probe").run(make_split(40, 1), None, make_split(40, 2), card)
