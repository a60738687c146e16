import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from baselines.pointcloud.open3d_import import import_open3d
from baselines.pointcloud.sampling import (
    NEAR_ORIGIN,
    farthest_points,
    nearest_points,
    patches_of,
    take,
)
from benchmark.catalog import load_task
from benchmark.prepare import read_row


def clouds(count: int, points: int, seed: int = 0) -> torch.Tensor:
    """Ball surfaces, flattened differently; none near the origin."""
    rng = np.random.default_rng(seed)
    shapes = rng.normal(size=(count, points, 3))
    shapes /= np.linalg.norm(shapes, axis=2, keepdims=True)
    return torch.tensor(shapes * rng.uniform(0.5, 1, (count, 1, 3)), dtype=torch.float32)


@pytest.fixture(scope="module")
def furniture(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Real shapes of the furniture task: (6, 1024, 3)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_BENCH_CACHE", str(tmp_path_factory.mktemp("prepared")))
        rows = load_task("furniture20").load()["test"]
        picked = [read_row(rows, i)["input"]["points"] for i in range(0, 60, 10)]
    return torch.tensor(np.stack(picked), dtype=torch.float32)


def slow_farthest(cloud: np.ndarray, count: int) -> list[int]:
    """The rule of pointnet2_ops, point by point."""
    nearest = np.full(len(cloud), 1e10)
    order = [0]
    for _ in range(count - 1):
        best, choice = -1.0, 0
        for k, point in enumerate(cloud):
            if (point**2).sum() <= NEAR_ORIGIN:
                continue
            nearest[k] = min(nearest[k], ((point - cloud[order[-1]]) ** 2).sum())
            if nearest[k] > best:
                best, choice = nearest[k], k
        order.append(choice)
    return order


@pytest.mark.parametrize("count", [64, 512])
def test_farthest_points_are_those_of_open3d(count: int) -> None:
    shapes = clouds(4, 1024)
    open3d = import_open3d()
    found = farthest_points(shapes, count)
    for cloud, index in zip(shapes, found, strict=True):
        points = open3d.utility.Vector3dVector(cloud.double().numpy())
        sampled = open3d.geometry.PointCloud(points).farthest_point_down_sample(count, 0)
        # Open3D gives the points in their old order
        expected = np.asarray(sampled.points)
        np.testing.assert_array_equal(cloud[index.sort().values].double().numpy(), expected)


def test_farthest_points_of_real_shapes_are_those_of_open3d(furniture: torch.Tensor) -> None:
    open3d = import_open3d()
    found = farthest_points(furniture, 256, start=5, near_origin=-1)
    for cloud, index in zip(furniture, found, strict=True):
        points = open3d.utility.Vector3dVector(cloud.double().numpy())
        sampled = open3d.geometry.PointCloud(points).farthest_point_down_sample(256, 5)
        expected = np.asarray(sampled.points)
        np.testing.assert_array_equal(cloud[index.sort().values].double().numpy(), expected)


def test_points_near_the_origin_are_never_picked_after_the_first() -> None:
    rng = np.random.default_rng(1)
    cloud = rng.normal(size=(60, 3)) * rng.uniform(0, 0.1, (60, 1))
    near = (cloud**2).sum(1) <= NEAR_ORIGIN
    assert 5 < near.sum() < 55
    cloud[0] = 0.001  # the start is taken although it is near the origin
    far = int((~near).sum()) - 1
    found = farthest_points(torch.tensor(cloud[None], dtype=torch.float32), far)[0].tolist()
    assert found == slow_farthest(cloud.astype(np.float32), far)
    assert found[0] == 0
    assert not near[found[1:]].any()


@pytest.mark.parametrize("seed", range(3))
def test_farthest_points_follow_the_rule(seed: int) -> None:
    cloud = np.random.default_rng(seed).uniform(-0.3, 0.3, (80, 3)).astype(np.float32)
    found = farthest_points(torch.tensor(cloud[None]), 30)[0].tolist()
    assert found == slow_farthest(cloud, 30)


def test_more_centres_than_points_repeat_and_a_cloud_at_the_origin_gives_its_first() -> None:
    cloud = clouds(1, 5)
    found = farthest_points(cloud, 9)[0]
    assert sorted(found[:5].tolist()) == [0, 1, 2, 3, 4]
    assert farthest_points(torch.zeros(2, 7, 3), 4).tolist() == [[0] * 4] * 2


def test_a_cloud_is_sampled_alike_in_any_batch_and_left_as_it_was(furniture: torch.Tensor) -> None:
    before = furniture.clone()
    together = farthest_points(furniture, 100)
    alone = torch.cat([farthest_points(cloud[None], 100) for cloud in furniture])
    assert torch.equal(together, alone)
    assert torch.equal(furniture, before)


def test_nearest_points_are_those_of_a_tree(furniture: torch.Tensor) -> None:
    queries = take(furniture, farthest_points(furniture, 64)) + 0.013
    found = nearest_points(furniture, queries, 32)
    for cloud, centres, index in zip(furniture, queries, found, strict=True):
        expected, _ = cKDTree(cloud.double().numpy()).query(centres.double().numpy(), 32)
        distances = (take(cloud[None], index[None])[0] - centres[:, None]).double().norm(dim=-1)
        np.testing.assert_allclose(distances.numpy(), expected, atol=1e-6)


def test_nearest_points_do_not_depend_on_how_a_batch_is_cut(
    furniture: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = nearest_points(furniture, furniture[:, :50], 16)
    monkeypatch.setattr("baselines.pointcloud.sampling.PAIRS", 1)
    assert torch.equal(nearest_points(furniture, furniture[:, :50], 16), whole)


def test_few_points_are_repeated_cyclically() -> None:
    cloud = clouds(2, 3)
    found = nearest_points(cloud, cloud, 7)
    assert found.shape == (2, 3, 7)
    assert torch.equal(found[..., 3:6], found[..., :3])


def test_neighbours_are_found_in_float32_under_autocast(furniture: torch.Tensor) -> None:
    plain = patches_of(furniture, 64, 16)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = patches_of(furniture, 64, 16)
    for a, b in zip(plain, mixed, strict=True):
        assert torch.equal(a, b)


def test_patches_are_relative_to_their_centres(furniture: torch.Tensor) -> None:
    patches, centres, index = patches_of(furniture, 64, 16)
    assert patches.shape == (6, 64, 16, 3)
    torch.testing.assert_close(patches + centres[:, :, None], take(furniture, index))
    assert (patches[:, :, 0].abs().amax() == 0).item()  # the nearest point is the centre itself
