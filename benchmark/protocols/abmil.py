"""Gated attention over the tiles of a bag (Ilse, Tomczak & Welling 2018, eq. 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.protocols.adamw import AdamW
from benchmark.protocols.selection import softmax

Array = NDArray[Any]
HIDDEN = 64
LEARNING_RATE = 2e-3
DECAY = 1e-2
EPOCHS = 100
PATIENCE = 15
_BLOCK = 20_000_000  # elements of one padded batch


@dataclass
class Bags:
    """Standardised `tiles` (T, D), the bag `index` (T,) of each, `targets` (B,) of the bags."""

    tiles: Array
    index: Array
    targets: Array


class GatedAttention(torch.nn.Module):
    """(B, T, D) tiles and (B, T) mask to class logits (B, C)."""

    def __init__(self, width: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.content = torch.nn.Linear(width, HIDDEN)
        self.gate = torch.nn.Linear(width, HIDDEN)
        self.attention = torch.nn.Linear(HIDDEN, 1)
        self.head = torch.nn.Linear(width, classes)
        for parameter in self.parameters():
            bound = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.0
            draw = torch.rand(parameter.shape, generator=generator)
            parameter.data = (2 * draw - 1) * bound
        self.head.weight.data.zero_()  # the start is the prior, whatever the seed

    def forward(self, tiles: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        gated = torch.tanh(self.content(tiles)) * torch.sigmoid(self.gate(tiles))
        weights = self.attention(gated)[..., 0].masked_fill(~mask, -float("inf")).softmax(1)
        # a matrix product rather than a scatter: deterministic on every device
        logits: torch.Tensor = self.head((weights[:, None] @ tiles)[:, 0])
        return logits


@dataclass
class Abmil:
    """A trained model; `selected` is its validation score (higher is better)."""

    model: GatedAttention
    selected: float
    epochs: int
    device: str

    def predict(self, bags: Bags) -> Array:
        """Class probabilities (B, C)."""
        return softmax(_logits(self.model, _batches(bags, self.device)))


def fit_abmil(
    train: Bags,
    validation: Bags,
    classes: int,
    score: Callable[[Any, Any], Array],
    *,
    seed: int,
    device: str,
) -> Abmil:
    """Train with AdamW on all bags at once; keep the epoch with the best validation score.

    Stops after 15 epochs without improvement (a lower validation loss breaks ties), at most 100.
    Deterministic for a seed.
    """
    generator = torch.Generator().manual_seed(seed)
    model = GatedAttention(train.tiles.shape[1], classes, generator).to(device)
    optimiser = AdamW(list(model.parameters()), LEARNING_RATE, DECAY)
    batches, held_out = _batches(train, device), _batches(validation, device)
    best, state, best_epoch = (-np.inf, -np.inf), model.state_dict(), 0
    for epoch in range(1, EPOCHS + 1):
        for tiles, mask, targets in batches:
            optimiser.step(torch.nn.functional.cross_entropy(model(tiles, mask), targets))
        logits = _logits(model, held_out)
        chosen = np.log(softmax(logits)[np.arange(len(logits)), validation.targets] + 1e-12)
        current = float(score(logits[:, :, None], validation.targets)[0]), float(chosen.mean())
        if current > best:
            best, best_epoch = current, epoch
            state = {name: value.clone() for name, value in model.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(state)
    return Abmil(model, best[0], best_epoch, device)


def _batches(bags: Bags, device: str) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Zero-padded batches of bags in order: tiles (b, T, D), mask (b, T), targets (b,)."""
    sizes = np.bincount(bags.index, minlength=len(bags.targets))
    longest, width = int(sizes.max()), bags.tiles.shape[1]
    place = np.argsort(bags.index, kind="stable")
    column = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    step = max(1, _BLOCK // (longest * width))
    batches = []
    for start in range(0, len(sizes), step):
        stop = min(start + step, len(sizes))
        rows = bags.index[place]
        inside = (rows >= start) & (rows < stop)
        tiles = np.zeros((stop - start, longest, width), dtype=np.float32)
        tiles[rows[inside] - start, column[inside]] = bags.tiles[place[inside]]
        mask = np.arange(longest) < sizes[start:stop, None]
        parts = (tiles, mask, bags.targets[start:stop])
        a, b, c = (torch.from_numpy(part).to(device) for part in parts)
        batches.append((a, b, c))
    return batches


def _logits(model: GatedAttention, batches: list[Any]) -> Array:
    with torch.no_grad():
        return np.concatenate([model(t, m).double().cpu().numpy() for t, m, _ in batches])
