"""The task and the encoders; sizes come from the environment, so that workers have the same."""

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmark import embed
from benchmark.task import Task

EXAMPLES = int(os.environ.get("SSL_BENCH_SPEED_EXAMPLES", "1024"))
SIDE = int(os.environ.get("SSL_BENCH_SPEED_SIDE", "96"))
if "SSL_BENCH_SPEED_SHARD" in os.environ:
    embed.SHARD = dict.fromkeys(embed.SHARD, int(os.environ["SSL_BENCH_SPEED_SHARD"]))


class Tiles(Task):
    """Noise; the class shows in the brightness."""

    source = "speed-tiles"
    splits = ("train", "test")

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(len(split))
        for index in range(EXAMPLES if split == "train" else 64):
            label = index % 2
            image = rng.integers(60 * label, 180 + 60 * label, (SIDE, SIDE, 3), dtype=np.uint8)
            yield {
                "id": f"{split}-{index}",
                "group": f"{split}-{index // 4}",
                "input": {"image": image},
                "label": label,
            }


class ResNet(torch.nn.Module):
    """ResNet-18."""

    modality = "histopathology"
    input = {"size": 96}

    def __init__(self) -> None:
        super().__init__()
        import timm

        self.net = timm.create_model("resnet18", num_classes=0)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image)


class Nothing(torch.nn.Module):
    """The first pixels."""

    modality = "histopathology"
    input = {"size": 8}

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1)[:, :4]


class Waiting(Nothing):
    """The same after 0.3 s a batch, in which the CPU is free: as if a GPU had the work."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        time.sleep(0.3)
        return super().forward(image)
