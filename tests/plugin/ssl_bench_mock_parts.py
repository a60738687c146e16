"""The mock tasks and encoders themselves; imports torch, so only on use."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.task import Task

COUNTS = {"train": 60, "validation": 30, "test": 45}
CLASSES = 3


class MockAudio(Task):
    """Tones of three pitches; two clips to a group; clip lengths differ."""

    source = "mock-audio"

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        for index in range(COUNTS[split]):
            rng = np.random.default_rng([ord(split[0]), ord(split[1]), index])
            label = index % CLASSES
            pitch = 300.0 * (label + 1) + rng.normal(0, 60)
            t = np.arange(int(rng.integers(2400, 4000))) / 4000
            wave = np.sin(2 * np.pi * pitch * t) + 0.8 * rng.standard_normal(len(t))
            middle = t[-1] / 2
            wave[t < middle] *= 0.05  # the tone comes on half way
            yield {
                "id": f"{split}-{index}",
                "group": f"{split}-{index // 2}",
                "input": {"waveform": (0.2 * wave).astype(np.float32), "sample_rate": 4000},
                "pitch_class": label,
                "pitch": pitch if index % 5 else None,
                "tags": np.array([label == 0, label != 2], np.int8),
                "events": np.array([[middle, t[-1], 0.0]]),
            }


class MockTiles(Task):
    """Tiles with a dark disc; four tiles to a slide; a slide is positive when a disc is red."""

    source = "mock-tiles"

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        for index in range(COUNTS[split] // 3 * 4):
            rng = np.random.default_rng([ord(split[0]), ord(split[1]), index])
            slide = index // 4
            positive = slide % 2
            y, x = np.mgrid[:32, :32]
            cy, cx = rng.uniform(8, 24, 2)
            mask = ((y - cy) ** 2 + (x - cx) ** 2 < 36).astype(np.uint8)
            image = rng.integers(180, 256, (32, 32, 3))
            image[mask == 1] = (200, 60, 60) if positive and index % 4 == 0 else (90, 60, 140)
            yield {
                "id": f"{split}-{index}",
                "group": f"{split}-{slide}",
                "bag": f"{split}-{slide}",
                "input": {"image": image.astype(np.uint8)},
                "positive": positive,
                "mask": mask,
            }


class Spectrum(torch.nn.Module):
    """Log power in 32 bands over the valid samples, by frames of 0.02 s."""

    modality = "audio"
    input = {"sample_rate": 4000, "seconds": 2}
    frame_rate = 50.0

    def frames(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        pieces = waveform[:, : waveform.shape[1] // 80 * 80].unflatten(1, (-1, 80))
        power = torch.fft.rfft(pieces, dim=-1).abs().square()[..., :32]
        return torch.log(power + 1e-4)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        frames = self.frames(waveform, lengths)
        valid = torch.arange(frames.shape[1])[None] < (lengths // 80)[:, None]
        return (frames * valid[..., None]).sum(1) / valid.sum(1, keepdim=True)


class Net(torch.nn.Module):
    """A random projection of the spectrum."""

    modality = "audio"
    input = {"sample_rate": 4000, "seconds": 2}

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum()
        self.project = torch.nn.Linear(32, 16)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.project(self.spectrum(waveform, lengths)))


class Patient(Net):
    """The same; takes its time, to be built and for each batch."""

    def __init__(self) -> None:
        super().__init__()
        time.sleep(1.5)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        time.sleep(0.3)
        return super().forward(waveform, lengths)


class Crashing(Net):
    """The same; its process dies where others embed."""

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(waveform, lengths)


class Stumbling(Crashing):
    """The same, but only where it has not been before."""

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        trace = Path(os.environ["SSL_BENCH_CACHE"]) / "stumbled"
        if trace.exists():
            return Net.forward(self, waveform, lengths)
        trace.touch()
        return super().forward(waveform, lengths)


class Colours(torch.nn.Module):
    """Mean colour, and of each 4 × 4 cell."""

    modality = "histopathology"
    input = {"size": 32}

    def patches(self, image: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(image, 4).permute(0, 2, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([image.mean((2, 3)), image.amin((2, 3))], 1)


class MockMany(Task):
    """Enough short clips for many shards."""

    source = "mock-many"

    def examples(self, split: str) -> Iterator[dict[str, Any]]:
        for index in range(1280 if split == "train" else 64):
            rng = np.random.default_rng([len(split), index])
            label = index % CLASSES
            wave = rng.standard_normal(200) + 2 * np.sin(np.arange(200) * (0.2 + 0.2 * label))
            yield {
                "id": f"{split}-{index}",
                "group": f"{split}-{index // 4}",
                "input": {"waveform": wave.astype(np.float32), "sample_rate": 4000},
                "label": label,
            }


class Slow(torch.nn.Module):
    """Takes its time, and writes down how many examples it was given."""

    modality = "audio"
    input = {"sample_rate": 4000}

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        time.sleep(float(os.environ.get("MOCK_SECONDS", "0.02")))
        if "MOCK_LOG" in os.environ:
            with open(os.environ["MOCK_LOG"], "a") as log:
                log.write(f"{len(waveform)}\n")
        return torch.fft.rfft(waveform[:, :200], dim=-1).abs()
