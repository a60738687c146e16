"""Intensity and optical-flow statistics: what a classical pipeline measures of a moving heart."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad

from baselines.echo.local_contrast import local_features

FLOW_SIZE = 32  # pixels; coarse enough for a quick dense flow, fine enough for a moving wall
GRID = 8  # cells a side of the intensity and flow statistics
CYCLES = 4  # Fourier coefficients of a clip's time course


class FlowStatistics(nn.Module):
    """Per cell of a grid: brightness and its variation in time; dense optical flow (Farneback,
    SCIA 2003, doi:10.1007/3-540-45103-X_50, by OpenCV) integrated to displacement, its extent, and
    the area change that its divergence sums up to; amplitudes of the clip's main rhythm.

    Displacements are summed from frame to frame, so they do not depend on the frame rate.
    A single frame has no motion: those features are zero.
    """

    modality: ClassVar[str] = "echo"
    input: ClassVar[dict[str, Any]] = {"size": 64, "channels": 1}

    def forward(self, video: Tensor, lengths: Tensor) -> Tensor:
        """(B, 1, T, H, W), (B,) valid frames -> (B, D)."""
        clips = [v[0, :n].float().cpu() for v, n in zip(video, lengths.tolist(), strict=True)]
        return torch.stack([clip_statistics(clip) for clip in clips]).to(video.device)

    def patches(self, video: Tensor, lengths: Tensor) -> Tensor:
        """Local contrast, context and place: (B, H / 4, W / 4, D) of the first frame."""
        del lengths  # the first frame is always valid
        return local_features(video[:, 0, 0].float())


def clip_statistics(frames: Tensor) -> Tensor:
    """(T, H, W) -> (D,) float32."""
    cells = adaptive_avg_pool2d(frames[:, None], GRID)[:, 0]  # (T, GRID, GRID)
    mean = cells.mean(0)
    wobble = cells.std(0, correction=0)
    small = adaptive_avg_pool2d(frames[:, None], FLOW_SIZE)[:, 0]
    spread = small.std(0, correction=0)
    flow = torch.from_numpy(dense_flow(small.numpy()))
    parts = [mean.flatten(), wobble.flatten(), (wobble / (mean + 0.05)).flatten()]
    parts += [spread.mean()[None], mean.std()[None], *_motion(flow), _rhythm(small)]
    return torch.cat(parts).float()


def dense_flow(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, H, W) -> (max(T - 1, 1), H, W, 2) displacement in pixels between consecutive frames."""
    import cv2

    low, high = float(frames.min()), float(frames.max())
    grey = ((frames - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    if len(grey) < 2:
        return np.zeros((1, *grey.shape[1:], 2), np.float32)
    steps = [
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 2, 9, 1, 5, 1.1, 0)  # type: ignore[call-overload]
        for a, b in pairwise(grey)
    ]
    return np.stack(steps)


def _motion(flow: Tensor) -> list[Tensor]:
    """Statistics of (T, H, W, 2) flow: speed, extent of displacement and of area change."""
    flow = flow - flow.mean((1, 2), keepdim=True)  # the probe's own motion
    speed = flow.norm(dim=-1)
    path = _detrended(flow.permute(0, 3, 1, 2).cumsum(0))
    extent = adaptive_avg_pool2d(path.std(0, correction=0)[None], GRID // 2)[0]
    divergence = _divergence(flow)
    cells = adaptive_avg_pool2d(divergence[:, None], GRID // 2)[:, 0]
    area = _detrended(cells.cumsum(0)).std(0, correction=0)
    centre = _detrended(adaptive_avg_pool2d(divergence[:, None], 1)[:, 0].cumsum(0))
    wide = torch.stack([centre.amax() - centre.amin(), centre.std(correction=0)])
    quantiles = torch.quantile(speed.mean(0).flatten(), torch.tensor([0.5, 0.75, 0.9, 0.97]))
    top = torch.quantile(path.norm(dim=1).amax(0).flatten(), torch.tensor([0.5, 0.75, 0.9, 0.97]))
    pace = speed.mean((1, 2))
    rate = torch.stack([pace.mean(), pace.std(correction=0), pace.amax()])
    return [extent.flatten(), area.flatten(), wide, quantiles, top, rate]


def _detrended(path: Tensor) -> Tensor:
    """Remove the straight line through time (drift) from (T, ...)."""
    steps = len(path)
    if steps < 3:
        return path - path.mean(0)
    time = torch.linspace(-1, 1, steps).reshape(-1, *[1] * (path.ndim - 1))
    slope = (path * time).sum(0) / (time**2).sum()
    return path - path.mean(0) - time * slope


def _divergence(flow: Tensor) -> Tensor:
    """(T, H, W, 2) -> (T, H, W) central differences of pixels per pixel."""
    across = torch.gradient(flow[..., 0], dim=2)[0]
    down = torch.gradient(flow[..., 1], dim=1)[0]
    return across + down


def _rhythm(small: Tensor) -> Tensor:
    """Energy of the first Fourier coefficients in time, by ring around the image's centre, and
    how far the brightest components of the clip's variation swing."""
    steps = len(small)
    cells = adaptive_avg_pool2d(small[:, None], 16)[:, 0].reshape(steps, -1)
    centred = cells - cells.mean(0)
    power = torch.fft.rfft(centred, dim=0).abs()[1 : CYCLES + 1] / steps
    power = pad(power, (0, 0, 0, CYCLES - len(power)))
    strength = power.pow(2).mean(1).sqrt()
    values = torch.linalg.svdvals(centred)[:4] / steps**0.5
    values = pad(values, (0, 4 - len(values)))
    return torch.cat([strength, values])
