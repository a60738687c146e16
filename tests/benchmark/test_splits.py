"""What a task's splits hand to the protocols."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.catalog import load_task
from benchmark.splits import class_texts


class Texts(torch.nn.Module):
    """A text tower that remembers what it was asked."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        for name, value in attributes.items():
            setattr(self, name, value)

    def encode_text(self, prompts: list[str]) -> torch.Tensor:
        self.asked.append(prompts)
        return torch.eye(4)[: len(prompts)]


@pytest.mark.parametrize(
    ("task", "attributes", "index", "prompts"),
    [
        ("modelnet40", {}, 23, ["a point cloud model of night stand."]),
        ("scanobjectnn-obj-only", {}, 1, ["a point cloud model of bin."]),
        (
            "modelnet40",
            {"prompt_templates": ("{}", "a {}.")},
            23,
            ["night stand", "a night stand."],
        ),
        ("gtzan-genre", {}, 4, ["hip hop music"]),
    ],
)
def test_every_class_is_prompted(
    task: str, attributes: dict[str, Any], index: int, prompts: list[str]
) -> None:
    """By the card's prompts, else by its name in the encoder's sentences, else in the card's."""
    tower = Texts(**attributes)
    found = load_task(task)
    texts = class_texts(SimpleNamespace(module=tower), found)  # type: ignore[arg-type]
    assert texts.shape == (len(found.card.target.classes), 4)
    assert tower.asked[index] == prompts
