"""Gated attention over the tiles of a bag (Ilse, Tomczak & Welling 2018, eq. 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.pipeline import one_ahead
from benchmark.protocols.adamw import AdamW
from benchmark.protocols.selection import softmax

Array = NDArray[Any]
HIDDEN = 64
LEARNING_RATE = 2e-3
DECAY = 1e-2
EPOCHS = 100
PATIENCE = 15
_BLOCK = 20_000_000  # elements of one padded batch
_HELD = 250_000_000  # elements of batches that are kept from epoch to epoch


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass
class Bags:
    """Tiles (T, D), perhaps on the disk, the bag `index` (T,) of each, `targets` (B,) of the bags,
    and the `mean` and `spread` (D,) by which tiles are standardised."""

    tiles: Any
    index: Array
    targets: Array
    mean: Array
    spread: Array

    @cached_property
    def sizes(self) -> Array:
        """Tiles of each bag, (B,)."""
        return np.bincount(self.index, minlength=len(self.targets))

    @cached_property
    def places(self) -> Array:
        """Tiles bag by bag, (T,)."""
        return np.argsort(self.index, kind="stable")

    def batches(self, device: str) -> Iterable[Batch]:
        """Zero-padded batches of bags in order: tiles (b, T, D), mask (b, T), targets (b,). They
        are kept, on the device, up to 1 GB, else read anew by each who goes through them."""
        longest, width = int(self.sizes.max()), self.tiles.shape[1]
        step = max(1, _BLOCK // (longest * width))
        starts = range(0, len(self.sizes), step)
        calls = [partial(self._batch, start, start + step, device) for start in starts]
        if len(self.sizes) * longest * width <= _HELD:
            return [call() for call in calls]
        return _ReadAnew(calls)

    def _batch(self, start: int, stop: int, device: str) -> Batch:
        ends = np.concatenate(([0], np.cumsum(self.sizes)))
        sizes = self.sizes[start:stop]
        tiles = np.zeros((len(sizes), int(self.sizes.max()), self.tiles.shape[1]), np.float32)
        for row, (size, end) in enumerate(zip(sizes, ends[start + 1 :], strict=False)):
            own = np.asarray(self.tiles[self.places[end - size : end]], np.float32)
            tiles[row, :size] = (own - self.mean) / self.spread
        mask = np.arange(tiles.shape[1]) < sizes[:, None]
        parts = (tiles, mask, self.targets[start:stop])
        a, b, c = (torch.from_numpy(part).to(device) for part in parts)
        return a, b, c


class _ReadAnew:
    """Batches that are read whenever one goes through them, the next while one is worked on."""

    def __init__(self, calls: Sequence[Callable[[], Batch]]) -> None:
        self.calls = calls

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(1, "read") as reader:
            yield from one_ahead(reader, self.calls)


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
        return softmax(_logits(self.model, bags.batches(self.device)))


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
    batches, held_out = train.batches(device), validation.batches(device)
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


def _logits(model: GatedAttention, batches: Iterable[Batch]) -> Array:
    with torch.no_grad():
        return np.concatenate([model(t, m).double().cpu().numpy() for t, m, _ in batches])
