"""The linear probe on patch embeddings: dense labels from a linear head."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.bootstrap import seed_from
from benchmark.errors import SslBenchError
from benchmark.metrics import check_metric
from benchmark.overlap import Overlap
from benchmark.probe import fit_probe
from benchmark.protocols.blocks import row_blocks
from benchmark.protocols.checks import sizes
from benchmark.protocols.contract import Scores, Split
from benchmark.protocols.probing import best_score
from benchmark.protocols.scoring import measure_statistics
from benchmark.protocols.selection import as_array
from benchmark.task import TaskCard

Array = NDArray[Any]
MAX_PATCHES = 20_000
IGNORED = 255


def probe_patches(
    train: Split,
    validation: Split | None,
    test: Split,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
) -> Scores:
    """Multinomial logistic regression on patches, scored at the resolution of the masks.

    A patch's target is the share of each class among its annotated pixels (soft labels). At most
    20,000 training (and as many validation) patches are used, a seeded draw. The penalty is chosen
    by Dice or IoU of hard predictions against the shares on validation patches. Logits are
    upsampled bilinearly (pixel centres aligned at the half, as in PyTorch's align_corners=False)
    and the largest is predicted. A class named `background` is not foreground for Dice.
    """
    check_metric(task.metric, "segmentation")
    if task.metric in ("instance_miou", "class_miou"):
        raise SslBenchError(
            f"{task.name}: {task.metric} scores the parts of point clouds; for images the card "
            "needs `metric: dice` or `metric: miou`"
        )
    names = task.target.classes
    foreground = np.array([name != "background" for name in names])
    if not foreground.any():
        foreground[:] = True
    x, y, groups, ids = _patches(train, task, seed, encoder)
    held_out = None if validation is None else _patches(validation, task, seed, encoder)[:2]
    probe = fit_probe(
        x, y, kind="multiclass", n_classes=len(names), validation=held_out, groups=groups,
        score=lambda decision, soft: _overlap_score(
            as_array(decision), as_array(soft), task.metric, foreground
        ),
        seed=seed, device=device, name=encoder, ids=ids.tolist(),
    )  # fmt: skip
    tables = []
    for images, block in row_blocks(test.embeddings):
        logits = as_array(probe.decision(block.reshape(-1, block.shape[3])))
        maps = logits.reshape(*block.shape[:3], len(names))
        masks = test.targets[images]
        tables += [
            pixel_counts(image, np.asarray(mask), device)
            for image, mask in zip(maps, masks, strict=True)
        ]
    hits, truth, predicted = (np.stack(columns) for columns in zip(*tables, strict=True))
    found: list[Overlap] = []

    def build(codes: Array, total: int) -> Overlap:
        found.append(Overlap(hits, truth, predicted, codes, total, foreground))
        return found[0]

    measured = measure_statistics(build, test.groups, seed)
    classwise = found[0].classwise(np.ones((1, len(found[0].dice_sums))))
    measured.per_class = {
        name: {
            **{key: float(v[0, i]) for key, v in classwise.items() if np.isfinite(v[0, i])},
            "pixels": float(truth[:, i].sum()),
        }
        for i, name in enumerate(names)
    }
    return measured.scores(
        task.metric,
        hyperparameters={
            "penalty": float(probe.penalty), "selection": str(probe.selection),
            "selection_score": best_score(probe), "max_patches": MAX_PATCHES,
        },
        counts={**sizes(train, validation, test), "train_patches": len(x)},
    )  # fmt: skip


def patch_shares(mask: Array, grid: tuple[int, int], classes: int) -> Array:
    """Class shares (H', W', C) of the annotated pixels of each patch. Patches of sizes that do not
    divide the mask overlap by a pixel."""
    import torch

    onehot = torch.from_numpy((mask[None] == np.arange(classes)[:, None, None]).astype(np.float32))
    pooled = torch.nn.functional.adaptive_avg_pool2d(onehot, grid).permute(1, 2, 0).double()
    annotated = pooled.sum(-1)
    shares: Array = (pooled / annotated.clamp_min(1e-12)[..., None]).numpy()
    return shares


def _patches(
    split: Split, task: TaskCard, seed: int, encoder: str
) -> tuple[Array, Array, Array, Array]:
    """Embeddings, soft labels, groups and ids of a seeded draw of annotated patches."""
    embeddings = split.embeddings
    if embeddings.ndim != 4:
        raise SslBenchError(
            f"{encoder} on {task.name}: segmentation needs patch embeddings (N, H', W', D), got "
            f"shape {embeddings.shape}; let the encoder offer patches()"
        )
    grid = (embeddings.shape[1], embeddings.shape[2])
    size, classes = grid[0] * grid[1], len(task.target.classes)
    annotated = [annotated_patches(np.asarray(mask), grid, classes) for mask in split.targets]
    rows = np.flatnonzero(np.concatenate(annotated))
    if len(rows) > MAX_PATCHES:
        generator = np.random.default_rng(seed_from("patches", task.name, seed))
        rows = np.sort(generator.choice(rows, MAX_PATCHES, replace=False))
    image = rows // size
    x = np.empty((len(rows), embeddings.shape[3]), dtype=np.float32)
    y = np.empty((len(rows), classes))
    for i in np.unique(image):
        own = image == i
        patches = rows[own] - i * size
        x[own] = np.asarray(embeddings[int(i)]).reshape(size, -1)[patches]
        shares = patch_shares(np.asarray(split.targets[i]), grid, classes)
        y[own] = shares.reshape(size, -1)[patches]
    return x, y, np.asarray(split.groups)[image], np.asarray(split.ids)[image]


def annotated_patches(mask: Array, grid: tuple[int, int], classes: int) -> Array:
    """(H' · W',) whether any pixel of a patch of `mask` (H, W) is annotated."""
    import torch

    known = torch.from_numpy((mask < classes)[None].astype(np.float32))
    pooled = torch.nn.functional.adaptive_max_pool2d(known, grid)
    return pooled.numpy().ravel() > 0


def _overlap_score(decision: Array, soft: Array, metric: str, foreground: Array) -> Array:
    """Dice or IoU (K,) of hard patch predictions (n, C, K) against class shares (n, C)."""
    classes = decision.shape[1]
    hard = decision.argmax(1)[:, None] == np.arange(classes)[:, None]  # (n, C, K)
    hits = np.einsum("nck,nc->ck", hard, soft)
    both = hard.sum(0) + soft.sum(0)[:, None]
    above, below = (2 * hits, both) if metric == "dice" else (hits, both - hits)
    ratio = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    kept = foreground if metric == "dice" else np.ones(classes, dtype=bool)
    mean: Array = ratio[kept].mean(0)
    return mean


def pixel_counts(logits: Array, mask: Array, device: str = "cpu") -> tuple[Array, Array, Array]:
    """Pixels hit, true and predicted per class, each (C,), of one image.

    `logits` (H', W', C) are upsampled to the (H, W) `mask`; pixels of 255 do not count.
    """
    import torch

    grid = torch.from_numpy(logits.transpose(2, 0, 1)[None]).to(device)
    full = torch.nn.functional.interpolate(grid, mask.shape, mode="bilinear", align_corners=False)
    predicted = full[0].argmax(0).cpu().numpy()
    size = logits.shape[2]
    known = mask != IGNORED
    table = np.bincount(mask[known].astype(np.int64) * size + predicted[known], minlength=size**2)
    table = table.reshape(size, size).astype(np.float64)
    return table.diagonal(), table.sum(1), table.sum(0)
