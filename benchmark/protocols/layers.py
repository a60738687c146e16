"""The linear probe on an encoder's layers: the best one, and a learned average of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.paths import explained, scratch_folder
from benchmark.protocols.checks import sizes, subset
from benchmark.protocols.contract import Scores, Split, layer
from benchmark.protocols.probing import probe_kind, probe_splits
from benchmark.protocols.scoring import measure
from benchmark.sharded import ArrayOnDisk, spilled
from benchmark.task import TaskCard

Array = NDArray[Any]
STEPS = 100
LEARNING_RATE = 0.05
MAX_EXAMPLES = 2_000  # for the weights alone, evenly spaced through train
DECAY = 1e-2
IN_MEMORY = 1 << 30  # bytes of one layer that is held, though all together stay on the disk


def probe_layers(
    train: Split,
    validation: Split | None,
    test: Split,
    task: TaskCard,
    *,
    seed: int,
    device: str,
    encoder: str,
) -> Scores:
    """Probe every layer and the learned average (softmax weights, as in SUPERB, Yang et al. 2021).

    Average weights are learned on train together with a linear head, then the averaged embedding is
    probed as any other. The one with the best selection score (validation split, else
    cross-validation) is the main result, the earlier layer among equals; the best layer and the
    average are both in `metrics`, and `curve` has the test score of each layer.
    """
    parts = [s for s in (train, validation, test) if s is not None]
    assert train.layers is not None
    depth = train.layers.shape[1]
    measured, selected, penalties = [], [], []
    weights = average_weights(train, task, device)
    with scratch_folder("layers") as folder:
        for index in range(depth + 1):
            which = index if index < depth else weights
            chosen = [_at(split, which, folder / str(n)) for n, split in enumerate(parts)]
            probed = probe_splits(
                chosen[0], chosen[1] if validation is not None else None, task,
                seed=seed, device=device, encoder=encoder,
            )  # fmt: skip
            measured.append(measure(task, test, probed.predict(chosen[-1].embeddings), seed))
            selected.append(probed.selected)
            penalties.append(float(probed.probe.penalty))
    best = int(np.argmax(selected[:depth]))
    winner = depth if selected[depth] > selected[best] else best
    scores = measured[winner].scores(task.metric)
    for name, index in (("best layer", best), ("layer average", depth)):
        scores.metrics[f"{task.metric} ({name})"] = measured[index].estimates[task.metric]
    scores.curve = [
        {"layer": float(index), "value": found.value, "low": found.low, "high": found.high}
        for index in range(depth)
        for found in [measured[index].estimates[task.metric]]
    ]
    scores.hyperparameters = {
        "chosen": f"layer {best}" if winner == best else "layer average",
        "best_layer": best,
        "layer_weights": [round(float(w), 6) for w in weights],
        "selection_scores": selected,
        "penalties": penalties,
    }
    scores.counts = sizes(train, validation, test)
    return scores


def _at(split: Split, chosen: int | Array, scratch: Path) -> Split:
    """The split at one layer, or with its layers averaged by weights (L,). Of layers on the disk it
    is read once: into memory up to `IN_MEMORY`, else into the file `scratch`."""
    values = layer(split.layers, chosen)
    if isinstance(values, ArrayOnDisk):
        if values.size * 4 <= IN_MEMORY:
            values = np.asarray(values)
        else:
            with explained(scratch.parent):
                values = spilled(values, scratch)
    return replace(split, embeddings=values, layers=None)


def average_weights(train: Split, task: TaskCard, device: str = "cpu") -> Array:
    """Layer weights (L,), positive with sum 1, learned with a linear head by full-batch Adam.

    At most 2,000 examples. All layers are centred and share one scale, so the weights hold for the
    layers as they are. The start is zero, hence no seed.
    """
    import torch

    from benchmark.protocols.adamw import AdamW

    rows = np.unique(np.linspace(0, len(train) - 1, min(len(train), MAX_EXAMPLES)).astype(int))
    train = subset(train, rows)
    layers = torch.as_tensor(np.asarray(train.layers, dtype=np.float32)).to(device)
    mean = layers.mean(0, keepdim=True)
    scale = (layers - mean).square().mean().sqrt().clamp_min(1e-8)
    layers = (layers - mean) / scale
    kind = probe_kind(task)
    target, outputs = _loss_target(train, kind, len(task.target.classes))
    y = torch.as_tensor(target).to(device)
    logits = torch.zeros(layers.shape[1], device=device, requires_grad=True)
    head = torch.zeros(layers.shape[2], outputs, device=device, requires_grad=True)
    bias = torch.zeros(outputs, device=device, requires_grad=True)
    optimiser = AdamW([logits, head, bias], LEARNING_RATE, decay=0.0)
    losses: dict[str, Any] = {
        "multiclass": torch.nn.functional.cross_entropy,
        "multilabel": torch.nn.functional.binary_cross_entropy_with_logits,
        "regression": torch.nn.functional.mse_loss,
    }
    for _ in range(STEPS):
        # heads first: (N, L, C) is far smaller than an averaged (N, D) kept for the backward pass
        output = torch.einsum("nlc,l->nc", layers @ head, torch.softmax(logits, 0)) + bias
        optimiser.step(losses[kind](output, y) + DECAY * head.square().sum() / 2)
    return torch.softmax(logits.detach(), 0).cpu().numpy().astype(np.float64)


def _loss_target(train: Split, kind: str, classes: int) -> tuple[Array, int]:
    targets = np.asarray(train.targets)
    if kind == "multiclass":
        return targets.astype(np.int64), classes
    if kind == "multilabel":
        return targets.astype(np.float32), targets.shape[1]
    spread = float(targets.std()) or 1.0
    return ((targets - targets.mean()) / spread).astype(np.float32)[:, None], 1
