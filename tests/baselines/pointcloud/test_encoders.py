import ctypes
import importlib
import sys
from itertools import combinations

import numpy as np
import pytest
import torch

from baselines.pointcloud import ENCODERS, open3d_import
from baselines.pointcloud.random_pointnet import RandomPointNet
from baselines.pointcloud.shape_descriptors import (
    ShapeDescriptors,
    covariance_eigenvalues,
    cylinder_histogram,
    d2_histogram,
    eigenvalue_features,
)
from benchmark.catalog import import_target
from benchmark.errors import SslBenchError
from benchmark.inputs import input_spec

STARTERS = [card for card in ENCODERS if card.kind in ("features", "control")]


@pytest.fixture(scope="module")
def clouds() -> torch.Tensor:
    """Three shapes: a ball's surface, a plate and a rod; (3, 1024, 3)."""
    rng = np.random.default_rng(0)
    shapes = rng.normal(size=(3, 1024, 3))
    shapes[0] /= np.linalg.norm(shapes[0], axis=1, keepdims=True)
    shapes[1] *= [1, 0.01, 1]
    shapes[2] *= [0.02, 1, 0.02]
    spec = input_spec("pointcloud", {})
    return spec.collate([spec.windows({"points": points})[0] for points in shapes])["points"]


@pytest.fixture(scope="module", params=[card.name for card in STARTERS])
def encoder(request: pytest.FixtureRequest) -> torch.nn.Module:
    card = next(card for card in STARTERS if card.name == request.param)
    torch.manual_seed(0)
    net: torch.nn.Module = import_target(card.target)(**card.options).eval()
    return net


@torch.no_grad()
def test_embeddings_match_the_card_and_do_not_depend_on_the_batch(
    encoder: torch.nn.Module, clouds: torch.Tensor
) -> None:
    card = next(c for c in STARTERS if import_target(c.target) is type(encoder))
    together = encoder(clouds)
    assert together.shape == (3, card.dimension)
    assert together.dtype == torch.float32
    assert torch.isfinite(together).all()
    assert sum(p.numel() for p in encoder.parameters()) == card.parameters
    alone = torch.cat([encoder(cloud[None]) for cloud in clouds])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(clouds), together, rtol=0, atol=0)


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 3, 100, 1024])
def test_degenerate_and_small_clouds_give_finite_embeddings(
    encoder: torch.nn.Module, count: int
) -> None:
    assert torch.isfinite(encoder(torch.zeros(1, count, 3))).all()
    assert torch.isfinite(encoder(torch.rand(1, count, 3))).all()


@torch.no_grad()
def test_pointnet_ignores_the_order_of_points(clouds: torch.Tensor) -> None:
    torch.manual_seed(0)
    net = RandomPointNet().eval()
    order = torch.randperm(1024, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(clouds[:, order]), net(clouds), rtol=0, atol=1e-6)


@torch.no_grad()
def test_pointnet_is_the_maximum_of_its_points(clouds: torch.Tensor) -> None:
    net = RandomPointNet().eval()
    single = net(clouds[0, :, None])  # every point as a cloud of its own
    torch.testing.assert_close(net(clouds[:1])[0], single.amax(0), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_descriptors_ignore_heading_and_separate_shapes(clouds: torch.Tensor) -> None:
    net = ShapeDescriptors().eval()
    c, s = np.cos(0.7), np.sin(0.7)
    turn = torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=torch.float32)
    own, turned = net(clouds), net(clouds @ turn)
    change = (own - turned).norm(dim=1)
    apart = torch.pdist(own)
    assert change.max() < 0.2 * apart.min()


def test_d2_is_the_histogram_of_all_pairs() -> None:
    points = np.random.default_rng(3).uniform(-0.5, 0.5, (60, 3))
    pairs = [np.linalg.norm(a - b) for a, b in combinations(points, 2)]
    expected = np.histogram(pairs, 16, (0, 2))[0] / len(pairs)
    found = d2_histogram(torch.tensor(points, dtype=torch.float32), 16).numpy()
    np.testing.assert_allclose(found, expected, atol=2 / len(pairs))
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_cylinder_histogram_places_points() -> None:
    points = torch.tensor([[0.0, -0.99, 0.0], [0.9, 0.99, 0.0]])
    found = cylinder_histogram(points, up=1, heights=2, rings=2)
    assert found.tolist() == [0.5, 0, 0, 0.5]
    assert cylinder_histogram(points, up=0, heights=2, rings=2).tolist() == [0, 0, 0, 1.0]


def test_eigenvalue_features_of_line_plane_and_ball() -> None:
    values = torch.tensor([[0, 0, 1.0], [0, 1, 1], [1, 1, 1], [0, 0, 0]])
    features = eigenvalue_features(values)
    assert features[:3, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert features[2, 5].item() == pytest.approx(np.log(3))  # eigenentropy
    assert features[2, 6].item() == pytest.approx(1 / 3)  # change of curvature
    assert (features[3] == 0).all()


def test_covariance_eigenvalues_against_numpy() -> None:
    points = np.random.default_rng(4).normal(size=(80, 3)) * [1, 2, 3]
    expected = np.linalg.eigvalsh(np.cov(points.T, bias=True))
    np.testing.assert_allclose(covariance_eigenvalues(torch.tensor(points)), expected)


def test_local_features_against_a_plain_neighbour_search(clouds: torch.Tensor) -> None:
    from sklearn.neighbors import NearestNeighbors

    net = ShapeDescriptors(neighbours=(10,))
    points = clouds[0, :200].double().numpy()
    shape = net.open3d.geometry.PointCloud(net.open3d.utility.Vector3dVector(points))
    near = NearestNeighbors(n_neighbors=10).fit(points).kneighbors(points)[1]
    expected = eigenvalue_features(covariance_eigenvalues(torch.tensor(points[near])))
    torch.testing.assert_close(net._local(shape)[0], expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("missing", ["open3d", "libusb"])
def test_missing_packages_are_named_with_the_pip_line(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == "open3d" and missing == "open3d":
            raise ModuleNotFoundError("No module named 'open3d'", name="open3d")
        if name == "open3d":
            raise OSError("libusb-1.0.so.0: cannot open shared object file")
        if name == "libusb_package" and missing == "libusb":
            raise ModuleNotFoundError("No module named 'libusb_package'", name="libusb_package")
        return real(name, package)

    monkeypatch.setattr(open3d_import.importlib, "import_module", without)
    with pytest.raises(SslBenchError, match=rf"{missing}.*pip install .*libusb-package"):
        open3d_import.import_open3d()


def test_libusb_is_loaded_before_open3d(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    real = importlib.import_module

    def record(name: str, package: str | None = None) -> object:
        events.append(name)
        return real(name, package)

    monkeypatch.setattr(open3d_import.importlib, "import_module", record)
    monkeypatch.setattr(
        open3d_import.ctypes, "CDLL", lambda path, mode: events.append(f"{path} {mode}")
    )
    open3d_import.import_open3d()
    assert events[0] == "libusb_package"
    assert "libusb" in events[1]
    assert events[1].endswith(str(ctypes.RTLD_GLOBAL))
    assert events[2] == "open3d"


def test_the_cards_are_read_without_torch_or_open3d() -> None:
    import subprocess

    code = "import sys, baselines.pointcloud; print({'torch', 'open3d'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
