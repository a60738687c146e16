import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.special import erf

from baselines.pointcloud.point_nn import PointNN
from baselines.pointcloud.sampling import farthest_points
from benchmark.errors import EncoderError


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def sines(xyz: np.ndarray, width: int, alpha: float, beta: float) -> np.ndarray:
    """Equations 4 and 5 of the paper, number by number."""
    steps = width // 6
    out = np.zeros((*xyz.shape[:-1], width))
    for axis in range(3):
        for i in range(steps):
            angle = beta * xyz[..., axis] / alpha ** (i / steps)
            out[..., 2 * (axis * steps + i)] = np.sin(angle)
            out[..., 2 * (axis * steps + i) + 1] = np.cos(angle)
    return out


def reference(
    cloud: np.ndarray, counts: list[int], width: int, k: int, alpha: float, beta: float
) -> np.ndarray:
    """One cloud in float64 with a tree for the neighbours."""
    centres, features = cloud, sines(cloud, width, alpha, beta)
    for count in counts:
        chosen = farthest_points(torch.tensor(centres[None], dtype=torch.float32), count)[0].numpy()
        _, index = cKDTree(centres).query(centres[chosen], k)
        offsets = centres[index] - centres[chosen][:, None]
        change = features[index] - features[chosen][:, None]
        offsets, change = (x / (x.std(ddof=1) + 1e-5) for x in (offsets, change))
        own = np.broadcast_to(features[chosen][:, None], change.shape)
        wave = sines(offsets, 2 * features.shape[-1], alpha, beta)
        weighted = (np.concatenate([change, own], -1) + wave) * wave
        pooled = (weighted.max(1) + weighted.mean(1)) / math.sqrt(1 + 1e-5)
        features = pooled * (1 + erf(pooled / math.sqrt(2))) / 2
        centres = centres[chosen]
    return features.max(0) + features.mean(0)


@pytest.fixture(scope="module")
def clouds() -> torch.Tensor:
    points = np.random.default_rng(0).normal(size=(3, 256, 3))
    return torch.tensor(points / np.linalg.norm(points, axis=2, keepdims=True), dtype=torch.float32)


def test_the_equations_are_followed(clouds: torch.Tensor) -> None:
    net = PointNN(256, 3, 24, 12)
    for cloud, found in zip(clouds, net(clouds), strict=True):
        expected = reference(cloud.double().numpy(), [128, 64, 32], 24, 12, 1000, 100)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_a_cloud_does_not_depend_on_its_batch(clouds: torch.Tensor) -> None:
    net = PointNN(256, 2, 12, 12)
    scaled = clouds * torch.tensor([1.0, 0.1, 3.0])[:, None, None]
    alone = torch.cat([net(cloud[None]) for cloud in scaled])
    torch.testing.assert_close(net(scaled), alone, rtol=0, atol=0)


def test_precision_is_kept_under_autocast(clouds: torch.Tensor) -> None:
    net = PointNN(256, 2, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(clouds)
    torch.testing.assert_close(mixed, net(clouds), rtol=0, atol=0)


@pytest.mark.parametrize("count", [1, 3, 50])
def test_small_clouds_are_finite(count: int) -> None:
    net = PointNN(64, 2, 12, 12)
    assert torch.isfinite(net(torch.randn(2, count, 3))).all()
    assert torch.isfinite(net(torch.zeros(2, count, 3))).all()


def test_it_has_nothing_to_train_and_refuses_odd_widths() -> None:
    assert not list(PointNN().parameters())
    with pytest.raises(EncoderError, match="multiple of 6"):
        PointNN(embed_dim=70)
