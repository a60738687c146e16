"""Local features of one greyscale image, for dense prediction by a linear head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

STEP = 4  # pixels a cell
CONTEXT = 2  # cells to every side whose brightness a cell sees
SCALES = (3, 9, 17)  # pixels a side of the boxes around a cell


def local_features(images: Tensor) -> Tensor:
    """(B, H, W) -> (B, H / 4, W / 4, D).

    Brightness relative to the image's sector (its non-zero pixels), its mean and deviation in boxes
    of three sizes, the brightness of the cells around, of the darkest and brightest of four rays to
    the wall, and the place with its squares.
    """
    low = images.amin((1, 2), keepdim=True)
    inside = (images > low + 1e-6).float()
    count = inside.sum((1, 2), keepdim=True).clamp(min=1)
    mean = (images * inside).sum((1, 2), keepdim=True) / count
    deviation = (((images - mean) * inside) ** 2).sum((1, 2), keepdim=True).div(count).sqrt()
    relative = ((images - mean) / (deviation + 1e-3) * inside)[:, None]
    maps = [_boxes(relative, size) for size in SCALES]
    maps += [
        (_boxes(relative**2, size) - box**2).clamp(min=0).sqrt()
        for size, box in zip(SCALES, maps, strict=True)
    ]
    maps.append(_boxes(inside[:, None], 9))
    cells = avg_pool2d(torch.cat(maps, 1), STEP)
    smooth = avg_pool2d(relative, STEP)
    features = torch.cat([cells, _around(smooth), _rays(smooth), _place(smooth)], 1)
    return features.permute(0, 2, 3, 1).contiguous()


def _boxes(images: Tensor, size: int) -> Tensor:
    return avg_pool2d(images, size, stride=1, padding=size // 2, count_include_pad=False)


def _around(cells: Tensor) -> Tensor:
    """(B, 1, h, w) -> (B, (2 CONTEXT + 1)^2, h, w): the neighbours' brightness."""
    height, width = cells.shape[2:]
    wide = pad(cells, (CONTEXT,) * 4, mode="replicate")
    shifts = range(2 * CONTEXT + 1)
    return torch.cat([wide[:, :, i : i + height, j : j + width] for i in shifts for j in shifts], 1)


def _rays(cells: Tensor) -> Tensor:
    """Brightest cell met on the way left, right, up and down, and the mean of the four."""
    left = cells.cummax(3).values
    right = cells.flip(3).cummax(3).values.flip(3)
    up = cells.cummax(2).values
    down = cells.flip(2).cummax(2).values.flip(2)
    rays = torch.cat([left, right, up, down], 1)
    return torch.cat([rays, rays.amin(1, keepdim=True)], 1)


def _place(cells: Tensor) -> Tensor:
    batch, _, height, width = cells.shape
    y = torch.linspace(-1, 1, height, device=cells.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=cells.device)[None].expand(height, width)
    place = torch.stack([x, y, x * x, y * y, x * x * y, x * x * y * y, y**3])
    return place.expand(batch, -1, -1, -1)
