"""Farthest-point sampling and nearest neighbours, batched, in plain torch on any device.

Both follow the CUDA kernels that point-cloud encoders were trained with, so that published weights
meet the patches they know: `furthest_point_sample` of pointnet2_ops (start at point 0, ignore
points near the origin) and the plain k nearest points by Euclidean distance. Everything is float32
arithmetic on coordinate differences, also under autocast: a neighbour more or less is a step, not
a rounding error.
"""

from __future__ import annotations

import torch

NEAR_ORIGIN = 1e-3  # squared norm at and below which pointnet2_ops never picks a point
UNREACHED = 1e10  # distance to an empty set of centres, as in pointnet2_ops
PAIRS = 1 << 22  # distances held at a time: 16 MiB, near the size of a CPU's cache


def farthest_points(
    points: torch.Tensor, count: int, start: int = 0, near_origin: float = NEAR_ORIGIN
) -> torch.Tensor:
    """Indices (B, count) of points (B, N, 3), each the farthest from those before it.

    Eldar, Lindenbaum, Porat, Zeevi, The farthest point strategy for progressive image sampling,
    IEEE TIP 6(9), 1997, with the rules of pointnet2_ops (sampling_gpu.cu): the first index is
    `start`; points whose squared norm is at most `near_origin` are never picked after that
    (a negative value switches this off); of equally far points the first is picked; where no point
    may be picked, point 0 is. More centres than points repeat points.
    """
    x, y, z = points.detach().float().unbind(-1)
    x, y, z = x.contiguous(), y.contiguous(), z.contiguous()
    ignored = x * x + y * y + z * z <= near_origin
    nearest = torch.full_like(x, UNREACHED).masked_fill_(ignored, -1)
    picked = torch.full((len(x), 1), start, dtype=torch.long, device=x.device)
    order = [picked]
    squared, step = torch.empty_like(x), torch.empty_like(x)
    for _ in range(count - 1):
        torch.sub(x, x.gather(1, picked), out=squared).square_()
        for axis in (y, z):
            squared += torch.sub(axis, axis.gather(1, picked), out=step).square_()
        torch.minimum(nearest, squared, out=nearest)  # an ignored point's -1 is never larger
        picked = nearest.argmax(1, keepdim=True)
        order.append(picked)
    return torch.cat(order, 1)


def nearest_points(points: torch.Tensor, queries: torch.Tensor, k: int) -> torch.Tensor:
    """Indices (B, M, k) of the k points (B, N, 3) nearest to each query (B, M, 3), nearest first.

    With fewer than k points the points are repeated cyclically, as the input specification
    repeats the points of a cloud that has too few.
    """
    points, queries = points.detach().float(), queries.detach().float()
    have = points.shape[1]
    rows = max(1, PAIRS // (have * queries.shape[1]))
    found = [
        torch.cdist(q, p, compute_mode="donot_use_mm_for_euclid_dist")
        .topk(min(k, have), largest=False)
        .indices
        for q, p in zip(queries.split(rows), points.split(rows), strict=True)
    ]
    index = torch.cat(found)
    return index if k <= have else index[..., torch.arange(k, device=index.device) % have]


def take(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Rows of values (B, N, C) by index (B, ...): (B, ..., C)."""
    rows = torch.arange(len(values), device=values.device)
    return values[rows.view(-1, *[1] * (index.ndim - 1)), index]


def patches_of(
    points: torch.Tensor, count: int, size: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut clouds (B, N, 3) into overlapping patches around farthest points.

    Returns the patches relative to their centre (B, count, size, 3), the centres (B, count, 3) and
    the index of every patch's points (B, count, size). Yu et al., Point-BERT, CVPR 2022, section
    3.1; Pang et al., Point-MAE, ECCV 2022, section 3.1.
    """
    centres = take(points, farthest_points(points, count))
    index = nearest_points(points, centres, size)
    return take(points, index) - centres[:, :, None], centres, index
