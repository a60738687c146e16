"""Scores of dense labels: overlap of regions in images, of parts in shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import Counts, group_sums, mean_of_defined, ratio

Array = NDArray[Any]


class Overlap:
    """Segmentation scores from per-image pixel counts, each (N, C): intersection, truth, predicted.

    `dice` is the medical convention (nnU-Net): per image and foreground class, images where the
    class is in neither truth nor prediction left out, averaged over images and then over classes.
    `miou` is the scene-parsing convention: intersection over union of pixels pooled over the split,
    averaged over all classes that occur, background included.
    """

    def __init__(
        self, hits: Array, truth: Array, predicted: Array, codes: Array, groups: int,
        foreground: Array,
    ) -> None:  # fmt: skip
        self.pooled = Counts(*(group_sums(codes, groups, m) for m in (hits, truth, predicted)))
        dice = ratio(2.0 * hits, (truth + predicted).astype(np.float64))
        seen = np.isfinite(dice)
        self.dice_sums = group_sums(codes, groups, np.where(seen, dice, 0.0))
        self.dice_counts = group_sums(codes, groups, seen.astype(np.float64))
        self.foreground = foreground

    def classwise(self, counts: Array) -> dict[str, Array]:
        """dice and iou, each (B, C)."""
        hits, truth, predicted = self.pooled.totals(counts)
        return {
            "dice": ratio(counts @ self.dice_sums, counts @ self.dice_counts),
            "iou": ratio(hits, truth + predicted - hits),
        }

    def __call__(self, counts: Array) -> dict[str, Array]:
        values = self.classwise(counts)
        return {
            "dice": mean_of_defined(values["dice"][:, self.foreground]),
            "miou": mean_of_defined(values["iou"]),
        }


class PartOverlap:
    """Part segmentation of shapes as ShapeNetPart is scored.

    `iou` (N,) is each shape's mean IoU over the parts of its category, `category` (N,) an index
    below `categories`. `instance_miou` is the mean over shapes, `class_miou` the mean over the
    categories that occur of the mean over their shapes.
    """

    def __init__(
        self, iou: Array, category: Array, categories: int, codes: Array, groups: int
    ) -> None:
        members = (category[:, None] == np.arange(categories)).astype(np.float64)
        self.sums = group_sums(codes, groups, members * iou[:, None])
        self.members = group_sums(codes, groups, members)

    def classwise(self, counts: Array) -> Array:
        """Mean IoU of each category's shapes, (B, categories)."""
        return ratio(counts @ self.sums, counts @ self.members)

    def __call__(self, counts: Array) -> dict[str, Array]:
        sums, members = counts @ self.sums, counts @ self.members
        return {
            "instance_miou": ratio(sums.sum(1), members.sum(1)),
            "class_miou": mean_of_defined(ratio(sums, members)),
        }
