"""A randomly initialised 1-D ResNet-18: the control for the ECG tasks."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn


def _masked(values: Tensor, lengths: Tensor) -> Tensor:
    """Zero beyond the valid steps, so that padding never flows back through a convolution."""
    return (
        values * (torch.arange(values.shape[2], device=values.device) < lengths[:, None])[:, None]
    )


def _halved(lengths: Tensor) -> Tensor:
    return (lengths + 1) // 2


class BasicBlock(nn.Module):
    """Two convolutions of width 3 and a shortcut (He et al. 2016), in one dimension."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv1d(channels, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm1d(out)
        self.conv2 = nn.Conv1d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm1d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv1d(channels, out, 1, stride, bias=False), nn.BatchNorm1d(out)
            )

    def forward(self, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T), (B,) -> (B, C', T / stride), (B,), before the last ReLU."""
        values = torch.relu(values)
        lengths = _halved(lengths) if self.stride == 2 else lengths
        inner = _masked(torch.relu(self.norm1(self.conv1(values))), lengths)
        total = self.norm2(self.conv2(inner)) + self.shortcut(values)
        return _masked(total, lengths), lengths


class RandomResNet1d(nn.Module):
    """ResNet-18 with one-dimensional convolutions, as widely used for ECGs, never trained.

    The layout is that of He et al. (2016) in one dimension (for ECGs: Ribeiro et al. 2020, Nat.
    Commun. 11:1760; Liu et al. 2024, MERL), with a stem of width 15 and, for speed, half the
    channels. Batch normalisation stays at its initial statistics.
    """

    modality: ClassVar[str] = "ecg"
    input: ClassVar[dict[str, Any]] = {"sample_rate": 250, "normalise": "zscore"}
    frame_rate: ClassVar[float] = 31.25

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Conv1d(12, width, 15, 2, 7, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.pool = nn.MaxPool1d(3, 2, 1)
        sizes = [width * 2**i for i in range(4)]
        before = [width, *sizes[:3]]
        self.stages = nn.ModuleList(
            nn.ModuleList([BasicBlock(a, b, 1 if i == 0 else 2), BasicBlock(b, b, 1)])
            for i, (a, b) in enumerate(zip(before, sizes, strict=True))
        )
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.eval()

    def _maps(self, signal: Tensor, lengths: Tensor, stages: int) -> list[tuple[Tensor, Tensor]]:
        values = torch.relu(self.norm(self.stem(_masked(signal, lengths))))
        lengths = _halved(lengths)
        values = self.pool(_masked(values, lengths))
        lengths = _halved(lengths)
        values, maps = _masked(values, lengths), []
        for stage in list(self.stages)[:stages]:
            for block in stage:  # type: ignore[attr-defined]
                values, lengths = block(values, lengths)
            maps.append((values, lengths))
        return maps

    def forward(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, 12, T) at 250 Hz, (B,) valid samples -> (B, 8 width): mean of the last stage."""
        values, steps = self._maps(signal, lengths, 4)[-1]
        return torch.relu(values).sum(2) / steps.clamp(min=1)[:, None]

    def frames(self, signal: Tensor, lengths: Tensor) -> Tensor:
        """(B, 12, T), (B,) -> (B, T / 8, 7 width) at 31.25 Hz: three stages side by side.

        The stages are taken before their last ReLU, since without training some channels would
        hardly ever be active after it, and brought to unit length in every frame before they are
        joined (ParseNet, Liu et al. 2015).
        """
        fine, middle, coarse = (values for values, _ in self._maps(signal, lengths, 3))
        size = middle.shape[2]
        fine = nn.functional.avg_pool1d(nn.functional.pad(fine, (0, fine.shape[2] % 2)), 2)
        coarse = coarse.repeat_interleave(2, 2)[:, :, :size]
        unit = [nn.functional.normalize(stage, dim=1) for stage in (fine, middle, coarse)]
        return torch.cat(unit, 1).transpose(1, 2)
