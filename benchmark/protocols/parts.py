"""The linear probe on patches of point clouds: which part of a shape each point belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import seed_from
from benchmark.errors import SslBenchError
from benchmark.metrics import check_metric
from benchmark.overlap import PartOverlap
from benchmark.probe import LinearProbe, fit_probe
from benchmark.protocols.checks import sizes
from benchmark.protocols.contract import Scores, Split
from benchmark.protocols.probing import best_score
from benchmark.protocols.scoring import measure_statistics
from benchmark.protocols.selection import as_array
from benchmark.task import TaskCard

Array = NDArray[Any]
MAX_POINTS = 20_000
IGNORED = 255
NEIGHBOURS = 3
NEAR = 1e-10  # squared distance below which a centre's own features count


@dataclass(frozen=True)
class PartScheme:
    """`categories` in the order in which they occur in the card; `category` (C,) that of each
    class, which is named `category/part`."""

    categories: tuple[str, ...]
    category: Array

    @classmethod
    def of(cls, task: TaskCard) -> PartScheme:
        """The scheme of a card.

        Raises:
            SslBenchError: a class without a category.
        """
        plain = [name for name in task.target.classes if "/" not in name]
        if plain:
            raise SslBenchError(
                f"{task.name}: classes of parts are named `category/part`, but the card lists "
                f"{plain[0]!r}"
            )
        own = [name.partition("/")[0] for name in task.target.classes]
        categories = tuple(dict.fromkeys(own))
        return cls(categories, np.array([categories.index(name) for name in own]))

    def of_shape(self, labels: Array, name: str, task: TaskCard) -> int:
        """The category of a shape, from the labels (n,) of its annotated points.

        Raises:
            SslBenchError: parts of several categories, or none.
        """
        found = np.unique(self.category[labels])
        if len(found) != 1:
            shown = " and ".join(self.categories[c] for c in found) or "no category"
            raise SslBenchError(f"{task.name}: the points of {name!r} are parts of {shown}")
        return int(found[0])


def probe_parts(
    train: Split,
    validation: Split | None,
    test: Split,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
) -> Scores:
    """Multinomial logistic regression on points, scored by the mean IoU over each shape's parts.

    A point's embedding is that of the three nearest patch centres, weighted by inverse squared
    distance (Qi et al., PointNet++, NeurIPS 2017, eq. 2). At most 20,000 annotated training (and as
    many validation) points are used, a seeded draw. The penalty is chosen by IoU on validation
    points. At test the largest logit among the parts of the shape's own category is predicted: the
    category is given, as is usual on ShapeNetPart. A part that neither truth nor prediction has in
    a shape counts as 1.
    """
    metric = check_metric(task.metric, "segmentation")
    if metric not in ("instance_miou", "class_miou"):
        raise SslBenchError(
            f"{task.name}: {metric} does not score the parts of point clouds; the card needs "
            "`metric: instance_miou` or `metric: class_miou`"
        )
    scheme = PartScheme.of(task)
    x, y, groups, ids = draw_points(train, task, seed, encoder)
    held_out = None if validation is None else draw_points(validation, task, seed, encoder)[:2]
    probe = fit_probe(
        x, y, kind="multiclass", n_classes=len(scheme.category), validation=held_out,
        groups=groups, score=lambda decision, truth: _point_score(decision, truth, scheme, metric),
        seed=seed, device=device, name=encoder, ids=ids.tolist(),
    )  # fmt: skip
    rows = [shape_iou(probe, test, i, scheme, task) for i in range(len(test))]
    iou, category = (np.array(column) for column in zip(*rows, strict=True))

    def build(codes: Array, total: int) -> PartOverlap:
        return PartOverlap(iou, category, len(scheme.categories), codes, total)

    measured = measure_statistics(build, test.groups, seed)
    measured.per_class = {
        name: {"miou": float(iou[category == c].mean()), "shapes": float((category == c).sum())}
        for c, name in enumerate(scheme.categories)
        if (category == c).any()
    }
    return measured.scores(
        metric,
        hyperparameters={
            "penalty": float(probe.penalty), "selection": str(probe.selection),
            "selection_score": best_score(probe), "max_points": MAX_POINTS,
        },
        counts={**sizes(train, validation, test), "train_points": len(x)},
    )  # fmt: skip


def draw_points(
    split: Split, task: TaskCard, seed: int, encoder: str
) -> tuple[Array, Array, Array, Array]:
    """Embeddings, labels, groups and ids of a seeded draw of annotated points."""
    if split.points is None or split.centres is None:
        raise SslBenchError(
            f"{encoder} on {task.name}: parts need patch embeddings with their centres; let the "
            "encoder offer patches()"
        )
    labels = np.concatenate([np.asarray(target).ravel() for target in split.targets])
    starts = np.concatenate(([0], np.cumsum([len(target) for target in split.targets])))
    rows = np.flatnonzero(labels != IGNORED)
    if len(rows) > MAX_POINTS:
        generator = np.random.default_rng(seed_from("points", task.name, seed))
        rows = np.sort(generator.choice(rows, MAX_POINTS, replace=False))
    shape = np.searchsorted(starts, rows, side="right") - 1
    x = np.empty((len(rows), split.embeddings.shape[-1]), dtype=np.float32)
    for i in np.unique(shape):
        chosen = shape == i
        points = _points(split, int(i), task)[rows[chosen] - starts[i]]
        x[chosen] = interpolate(split.embeddings[i], split.centres[i], points)
    names = np.asarray(split.groups)[shape], np.asarray(split.ids)[shape]
    return x, labels[rows].astype(np.int64), *names


def _points(split: Split, index: int, task: TaskCard) -> Array:
    """The points (n, 3) of a shape, as many as it has labels."""
    assert split.points is not None
    points, labels = np.asarray(split.points[index]), split.targets[index]
    if len(points) != len(labels):
        raise SslBenchError(
            f"{task.name}: {str(split.ids[index])!r} has {len(points)} points and {len(labels)} "
            "labels; every point needs one"
        )
    return points


def interpolate(values: Array, centres: Array, points: Array) -> Array:
    """Values (G, D) that stand at `centres` (G, 3), at `points` (n, 3): (n, D).

    The mean of the three nearest, weighted by inverse squared distance.
    """
    from scipy.spatial import cKDTree

    nearest = min(NEIGHBOURS, len(centres))
    distance, index = cKDTree(centres).query(points, k=list(range(1, nearest + 1)))
    weights = 1 / np.maximum(distance.astype(np.float64) ** 2, NEAR)
    weights /= weights.sum(1, keepdims=True)
    blended: Array = np.einsum("nk,nkd->nd", weights, np.asarray(values, np.float64)[index])
    return blended


def shape_iou(
    probe: LinearProbe, split: Split, index: int, scheme: PartScheme, task: TaskCard
) -> tuple[float, int]:
    """Mean IoU over the parts of one shape's category, and the category."""
    labels = np.asarray(split.targets[index]).ravel().astype(np.int64)
    known = labels != IGNORED
    category = scheme.of_shape(labels[known], str(split.ids[index]), task)
    parts = np.flatnonzero(scheme.category == category)
    # the probe is affine and the weights sum to 1, so the logits may be interpolated instead
    values = np.ascontiguousarray(split.embeddings[index], dtype=np.float32)
    logits = as_array(probe.decision(values))[:, parts]
    points = _points(split, index, task)[known]
    assert split.centres is not None
    predicted = interpolate(logits, split.centres[index], points).argmax(1)
    truth = np.searchsorted(parts, labels[known])
    size = len(parts)
    table = np.bincount(truth * size + predicted, minlength=size * size).reshape(size, size)
    hits, union = table.diagonal(), table.sum(0) + table.sum(1) - table.diagonal()
    return float(np.divide(hits, union, out=np.ones(size), where=union > 0).mean()), category


def _point_score(decision: Any, truth: Any, scheme: PartScheme, metric: str) -> Array:
    """Mean over categories of the IoU of their parts (K,) on points: decision (n, C, K), truth
    (n,). For `instance_miou` categories weigh by their points."""
    logits, y = as_array(decision), as_array(truth).astype(np.int64)
    size, count = len(scheme.category), len(scheme.categories)
    others = scheme.category[y][:, None] != scheme.category
    weights = np.bincount(scheme.category[y], minlength=count).astype(np.float64)
    if metric == "class_miou":
        weights = (weights > 0).astype(np.float64)
    values = []
    for k in range(logits.shape[2]):
        predicted = np.where(others, -np.inf, logits[:, :, k]).argmax(1)
        hits = np.bincount(y[predicted == y], minlength=size)
        union = np.bincount(y, minlength=size) + np.bincount(predicted, minlength=size) - hits
        iou = np.divide(hits, union, out=np.zeros(size), where=union > 0)
        occurs = np.bincount(scheme.category, weights=union > 0, minlength=count)
        mean = np.bincount(scheme.category, weights=iou, minlength=count) / np.maximum(occurs, 1)
        values.append((mean * weights).sum() / weights.sum())
    return np.array(values)
