"""Part segmentation of point clouds: interpolation, IoU per shape, the way from a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from benchmark.bootstrap import resample_groups
from benchmark.check import check_encoder
from benchmark.embed import EmbedOptions, embed_split
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError, SslBenchError
from benchmark.inputs import input_spec
from benchmark.overlap import PartOverlap
from benchmark.paths import store_root
from benchmark.prepare import fingerprints, open_source, read_row
from benchmark.protocols import parts as parts_module
from benchmark.protocols import protocol
from benchmark.protocols.contract import Split
from benchmark.protocols.parts import PartScheme, _point_score, draw_points, interpolate, shape_iou
from benchmark.splits import build_split
from benchmark.store import EmbeddingStore
from benchmark.task import Task

CLASSES = ("lamp/foot", "lamp/pole", "lamp/shade", "mug/body", "mug/handle")


def lamp(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc, a pole and a cone on one axis."""
    label = generator.integers(0, 3, n)
    angle, share = generator.uniform(0, 2 * np.pi, n), generator.random(n)
    radius = np.choose(label, [0.4 * share**0.5, 0.03, 0.35 - 0.2 * share])
    height = np.choose(label, [0 * share, share, 1 + 0.3 * share])
    return np.stack((radius * np.cos(angle), height, radius * np.sin(angle)), 1), label


def mug(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A cylinder with a handle on its side; some have none."""
    label = 3 + (generator.random(n) < 0.3)
    angle, share = generator.uniform(0, 2 * np.pi, n), generator.random(n)
    body = np.stack((0.4 * np.cos(angle), share, 0.4 * np.sin(angle)), 1)
    handle = np.stack((0.45 + 0.2 * np.sin(angle / 2), 0.3 + 0.4 * share, 0 * angle), 1)
    return np.where(label[:, None] == 3, body, handle), label


def shapes(number: int, seed: int, noise: float = 0.2, size: int = 24, width: int = 12) -> Split:
    """Shapes whose patch embeddings are a random map of their centre's part, plus noise."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(len(CLASSES), width))
    points, labels, tokens, centres = [], [], [], []
    for i in range(number):
        n = int(generator.integers(150, 250))
        cloud, label = (lamp if i % 2 else mug)(generator, n)
        chosen = generator.permutation(n)[:size]
        tokens.append(mixing[label[chosen]] + noise * generator.normal(size=(size, width)))
        centres.append(cloud[chosen])
        points.append(cloud.astype(np.float32))
        labels.append(label.astype(np.uint8))
    return Split(
        np.stack(tokens).astype(np.float32), labels,
        np.array([f"{seed}-{i // 3}" for i in range(number)]),
        np.array([f"{seed}-{i}" for i in range(number)]),
        points=points, centres=np.stack(centres).astype(np.float32),
    )  # fmt: skip


@pytest.fixture
def card(make_card):
    return make_card("segmentation", "instance_miou", classes=CLASSES)


def test_parts_are_found(card, make_card):
    splits = shapes(20, 1), shapes(8, 2), shapes(16, 3)
    scores = protocol("linear-probe").run(*splits, card)
    assert scores.metrics == protocol("linear-probe").run(*splits, card).metrics
    found = scores.metrics["instance_miou"]
    assert found.value > 0.7
    assert found.low < found.value < found.high
    rows = scores.per_class
    assert set(rows) == {"lamp", "mug"}
    mean = np.mean([rows["lamp"]["miou"], rows["mug"]["miou"]])
    assert scores.metrics["class_miou"].value == pytest.approx(mean)
    assert rows["lamp"]["shapes"] + rows["mug"]["shapes"] == scores.counts["test"] == 16
    by_class = make_card("segmentation", "class_miou", classes=CLASSES)
    assert protocol("linear-probe").run(*splits, by_class).main == "class_miou"
    blind = protocol("linear-probe").run(
        *(shapes(n, s, 30) for n, s in ((20, 1), (8, 2), (16, 3))), card
    )
    assert blind.metrics["instance_miou"].value < 0.5
    alone = protocol("linear-probe").run(splits[0], None, splits[2], card)
    assert "cross-validation" in alone.hyperparameters["selection"]
    assert alone.metrics["instance_miou"].value > 0.7


def test_interpolation_is_that_of_pointnet_plus_plus():
    generator = np.random.default_rng(0)
    centres, values = generator.normal(size=(10, 3)), generator.normal(size=(10, 4))
    points = np.concatenate((generator.normal(size=(20, 3)), centres[:2]))
    distance = np.linalg.norm(points[:, None] - centres[None], axis=2)
    for found, own in zip(interpolate(values, centres, points), distance, strict=True):
        nearest = np.argsort(own)[:3]
        weights = 1 / np.maximum(own[nearest] ** 2, 1e-10)
        expected = (weights[:, None] * values[nearest]).sum(0) / weights.sum()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(interpolate(values, centres, centres), values, atol=1e-6)
    one = interpolate(values[:1], centres[:1], points)
    np.testing.assert_allclose(one, np.repeat(values[:1], len(points), 0))


def test_iou_of_each_shape_is_that_of_scikit_learn(card):
    train, test = shapes(20, 1), shapes(12, 3, noise=1.5)
    scheme = PartScheme.of(card)
    assert scheme.categories == ("lamp", "mug")
    x, y, *_ = draw_points(train, card, 0, "mock")
    probe = parts_module.fit_probe(x, y, kind="multiclass", n_classes=5, penalties=(0.1,))
    values, seen_absent = [], False
    for i in range(12):
        truth = test.targets[i].astype(int)
        truth[:20] = 255 if i == 4 else truth[:20]  # points without annotation do not count
        test.targets[i] = truth
        parts = (0, 1, 2) if i % 2 else (3, 4)
        logits = probe.decision(
            interpolate(test.embeddings[i], test.centres[i], test.points[i]).astype(np.float32)
        )
        predicted = np.array(parts)[logits[:, parts].argmax(1)]
        known = truth != 255
        own = []
        for part in parts:
            a, b = truth[known] == part, predicted[known] == part
            own.append(jaccard_score(a, b) if a.any() or b.any() else 1.0)
            seen_absent |= not (a.any() or b.any())
        found, category = shape_iou(probe, test, i, scheme, card)
        assert found == pytest.approx(np.mean(own), abs=1e-9)
        assert category == 1 - i % 2
        values.append(found)
    assert 0.2 < np.mean(values) < 0.95


def test_a_part_that_is_nowhere_counts_as_one(card):
    test = shapes(2, 3)
    test.points = [test.points[0][test.targets[0] == 3], test.points[1]]
    test.targets = [test.targets[0][test.targets[0] == 3], test.targets[1]]
    train = shapes(20, 1)
    scores = protocol("linear-probe").run(train, None, test, card)
    iou = scores.per_class["mug"]["miou"]
    # body alone is annotated: either nothing else is predicted, (1 + 1) / 2, or the handle gets 0
    assert iou == 1 or iou < 0.5


def test_means_over_shapes_and_categories_follow_the_resample():
    generator = np.random.default_rng(0)
    iou, category = generator.random(30), generator.integers(0, 3, 30)
    groups = generator.integers(0, 8, 30)
    drawn = resample_groups(groups, 0, 20)
    statistics = PartOverlap(iou, category, 4, drawn.codes, drawn.groups)
    found = statistics(drawn.counts)
    for b in range(20):
        rows = np.repeat(np.arange(30), drawn.counts[b][drawn.codes].astype(int))
        assert found["instance_miou"][b] == pytest.approx(iou[rows].mean())
        means = [iou[rows][category[rows] == c].mean() for c in np.unique(category[rows])]
        assert found["class_miou"][b] == pytest.approx(np.mean(means))


def test_the_penalty_is_chosen_by_iou_within_the_category(card):
    scheme = PartScheme.of(card)
    generator = np.random.default_rng(0)
    y = generator.integers(0, 5, 200)
    decision = generator.normal(size=(200, 5, 2))
    decision[:, :, 0] += 3 * np.eye(5)[y]
    found = {}
    for metric in ("instance_miou", "class_miou"):
        values = []
        for k in range(2):
            masked = np.where(
                scheme.category[y][:, None] == scheme.category, decision[:, :, k], -9e9
            )
            iou = jaccard_score(y, masked.argmax(1), average=None)
            means = [iou[:3].mean(), iou[3:].mean()]
            share = (y < 3).mean() if metric == "instance_miou" else 0.5
            values.append(share * means[0] + (1 - share) * means[1])
        found[metric] = _point_score(decision, y, scheme, metric)
        np.testing.assert_allclose(found[metric], values)
        assert values[0] > values[1]


def test_few_points_train_the_probe(card, monkeypatch):
    monkeypatch.setattr(parts_module, "MAX_POINTS", 400)
    scores = protocol("linear-probe").run(shapes(20, 1), shapes(8, 2), shapes(8, 3), card)
    assert scores.counts["train_points"] == 400
    assert scores.metrics["instance_miou"].value > 0.6


def test_what_cannot_be_scored_is_refused(card, make_card):
    parts = shapes(6, 1), shapes(6, 2), shapes(6, 3)
    run = protocol("linear-probe").run
    with pytest.raises(SslBenchError, match="instance_miou"):
        run(*parts, make_card("segmentation", "miou", classes=CLASSES))
    with pytest.raises(SslBenchError, match="category/part.*'shade'"):
        run(*parts, make_card("segmentation", "instance_miou", classes=(*CLASSES, "shade")))
    parts[2].targets[3] = np.arange(len(parts[2].targets[3])) % 5
    with pytest.raises(SslBenchError, match="'3-3' are parts of lamp and mug"):
        run(*parts, card)
    parts[0].targets[2] = parts[0].targets[2][:-5]
    with pytest.raises(SslBenchError, match="'1-2' has .* points and .* labels"):
        run(*parts, card)
    grids = Split(np.zeros((4, 2, 2, 3), np.float32), [np.zeros((4, 4), np.uint8)] * 4,
                  np.arange(4).astype(str), np.arange(4).astype(str))  # fmt: skip
    with pytest.raises(SslBenchError, match="for images the card needs"):
        run(grids, grids, grids, card)


class Furniture(Task):
    """Lamps and mugs on disk, off centre and of any size."""

    source = "mock-parts"

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        generator = np.random.default_rng(len(split))
        for i in range({"train": 20, "validation": 8, "test": 10}[split]):
            n = int(generator.integers(900, 1300))
            cloud, label = (lamp if i % 2 else mug)(generator, n)
            cloud = 5 + 40 * cloud
            yield {
                "id": f"{split}-{i}", "group": f"{split}-{i}",
                "input": {"points": cloud.astype(np.float32)}, "y": label.astype(np.uint8),
            }  # fmt: skip


def embedded(task: Task, split: str, encoder: Any) -> Split:
    arrays = embed_split(
        encoder, open_source(task, split), fingerprints(task)[split], "patches",
        EmbeddingStore(store_root()), options=EmbedOptions(),
    ).arrays  # fmt: skip
    return build_split(task, split, arrays, "patches", encoder)


@pytest.mark.long
@pytest.mark.parametrize("name", ["shape-descriptors", "point-mae", "i2p-mae", "ulip"])
def test_encoders_give_patches_where_the_shape_is(name: str, card, monkeypatch) -> None:
    monkeypatch.setattr(parts_module, "MAX_POINTS", 3000)
    task = Furniture(card.model_copy(update={"modality": "pointcloud"}))
    random = None if name == "shape-descriptors" else "random"
    encoder = load_encoder(name, init=random, reduced=True)
    assert all(f.passed for f in check_encoder(encoder) if f.check == "patches")
    splits = [embedded(task, split, encoder) for split in ("train", "validation", "test")]
    test = splits[2]
    assert test.embeddings.shape[:2] == test.centres.shape[:2]
    for i in (0, 5):
        points = test.points[i]
        stored = read_row(open_source(task, "test"), i)["input"]["points"]
        assert len(points) == len(stored) == len(test.targets[i])
        gaps = np.linalg.norm(test.centres[i][:, None] - points[None], axis=2).min(1)
        assert gaps.max() < 1e-5  # centres are points, in the same coordinates
    scores = protocol("linear-probe").run(*splits, task.card)
    assert scores.metrics["instance_miou"].value > (0.75 if random is None else 0.4)


def test_all_points_are_placed_as_the_encoder_places_its_own() -> None:
    points = 3 + np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32)
    for normalise in ("unit-sphere", "none"):
        spec = input_spec("pointcloud", {"points": 512, "normalise": normalise})
        own = spec.windows({"points": points})[0].arrays["points"]
        np.testing.assert_array_equal(spec.placed(points)[:512], own)
        few = spec.windows({"points": points[:100]})[0].arrays["points"]
        np.testing.assert_array_equal(spec.placed(points[:100]), few[:100])
        np.testing.assert_array_equal(few[100:200], few[:100])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x[:, :7], r"patches returns values \(4, 7, 3\); .*dict of `values` \(B, G, D\)"),
        (lambda x: {"values": x[:, :7], "centres": x[:, :6]}, r"centres \(4, 6, 3\)"),
        (lambda x: {"values": x[:, 0], "centres": x[:, :6]}, r"values \(4, 3\)"),
    ],
)
def test_patches_without_their_places_are_refused(output, message) -> None:
    encoder = load_encoder("random-pointnet")
    encoder.module.patches = output
    batch = {"points": torch.zeros(4, 1024, 3)}
    from benchmark.forward import forward

    with pytest.raises(EncoderError, match=message):
        forward(encoder, batch, "patches", EmbedOptions())
    failed = [f for f in check_encoder(encoder) if not f.passed]
    assert [f.check for f in failed] == ["patches"]
