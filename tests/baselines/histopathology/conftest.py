"""What the tests of published tile encoders share: random weights, real files, the card."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.catalog import encoder_card, import_target
from benchmark.encoder import load_encoder

Save = Callable[[Mapping[str, Any]], Path]


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a checkpoint as published ones are written, with torch.save."""

    def write(entries: Mapping[str, Any]) -> Path:
        path = tmp_path / f"{random.randrange(10**9)}.pth"
        torch.save(dict(entries), path)
        return path

    return write


@pytest.fixture
def randomise() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Draw weights, norms and running statistics at random, so that nothing is neutral."""

    def draw(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
        torch.manual_seed(seed)
        for name, parameter in module.named_parameters():
            parameter.normal_(std=0.05 if parameter.ndim > 1 else 0.1)
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        return module.eval()

    return draw


@pytest.fixture
def meets_its_card() -> Callable[[str], None]:
    """The reduced encoder keeps its embedding in bfloat16; the full one has the card's width."""

    def meet(name: str) -> None:
        encoder = load_encoder(name, init="random", reduced=True)
        size = encoder.spec.size
        image = torch.randn(2, 3, size, size)
        exact = encoder.module(image)
        assert exact.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            rounded = encoder.module(image).float()
        assert torch.cosine_similarity(exact, rounded).min() >= 0.999
        card = encoder_card(name)
        with torch.device("meta"):
            full = import_target(card.target)(**card.options).eval()
            size = full.input["size"]
            assert full(torch.empty(1, 3, size, size)).shape == (1, card.dimension)

    return meet
