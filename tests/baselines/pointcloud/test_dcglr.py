from pathlib import Path

import pytest
import torch
from scipy.spatial import cKDTree

from baselines.pointcloud.dcglr import DCGLR
from baselines.pointcloud.dgcnn import DGCNN, nearest_features
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError

SMALL = {"neighbours": 6, "widths": (8, 8, 16, 16), "width": 24}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def saved(state: object, folder: Path) -> Path:
    path = folder / "teacher.pth"
    torch.save(state, path)
    return path


def trained() -> DCGLR:
    """Norms that are not the identity."""
    net = DCGLR(**SMALL)
    for name, values in net.state_dict().items():
        if values.ndim == 1:
            values.uniform_(0.5, 1.5).mul_(-1 if name.endswith("1.weight") else 1)
            values.abs_() if "running_var" in name else None
    return net.eval()


@torch.inference_mode()
def test_an_edge_convolution_is_a_convolution_of_the_edges() -> None:
    net = trained().backbone
    points = torch.randn(1, 50, 3)
    layer = net.get_submodule("conv1")
    index = nearest_features(points, 6)[0]
    near = points[0][index]
    own = points[0][:, None].expand_as(near)
    edges = torch.cat([near - own, own], -1).permute(2, 0, 1)[None]
    expected = layer(edges).amax(-1).mT
    torch.testing.assert_close(net._edge_convolution(layer, points), expected)


@torch.inference_mode()
def test_neighbours_are_those_of_a_tree() -> None:
    features = torch.randn(2, 60, 16)
    for rows, index in zip(features, nearest_features(features, 7), strict=True):
        _, expected = cKDTree(rows.numpy()).query(rows.numpy(), 7)
        assert [set(row) for row in index.tolist()] == [set(row) for row in expected.tolist()]


@torch.inference_mode()
@pytest.mark.parametrize("layout", ["mapping", "keys", "distributed", "reference", "bare"])
def test_the_documented_layouts_load(layout: str, tmp_path: Path) -> None:
    donor, net = trained(), DCGLR(**SMALL).eval()
    state = donor.backbone.state_dict()
    full = {f"backbone.{key}": value for key, value in state.items()}
    full |= {"head.mlp.0.weight": torch.ones(2)}
    student = {key: torch.zeros_like(value) for key, value in full.items()}
    distributed = {f"module.{key}": value for key, value in full.items()}
    layouts = {
        "mapping": {"teacher": full, "student": student, "epoch": 3},
        "keys": {f"teacher.{k}": v for k, v in full.items()}
        | {f"student.{k}": v for k, v in student.items()},
        "distributed": {"teacher": distributed, "student": student},
        "reference": state | {"bn1.weight": torch.ones(2), "bn5.running_var": torch.ones(2)},
        "bare": state,
    }
    load_into(net, saved(layouts[layout], tmp_path), "dcglr")
    points = torch.randn(2, 64, 3)
    torch.testing.assert_close(net(points), donor(points), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "missing: conv5.0.weight"),
        ("surplus", "surplus: linear1.weight"),
        ("shape", r"conv1.0.weight is \(4, 6, 1, 1\), should be \(8, 6, 1, 1\)"),
        ("other", "surplus: MAE_encoder.norm.weight"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_key(change: str, message: str, tmp_path: Path) -> None:
    net = DCGLR(**SMALL)
    state = {f"backbone.{key}": value for key, value in net.backbone.state_dict().items()}
    if change == "missing":
        del state["backbone.conv5.0.weight"]
    elif change == "surplus":
        state["backbone.linear1.weight"] = torch.ones(1)
    elif change == "shape":
        state["backbone.conv1.0.weight"] = state["backbone.conv1.0.weight"][:4]
    else:
        state = {"MAE_encoder.norm.weight": torch.ones(1)}
    with pytest.raises(EncoderError, match=message):
        load_into(net, saved({"teacher": state}, tmp_path), "dcglr")


@torch.inference_mode()
def test_order_of_points_and_precision_do_not_matter() -> None:
    net = DGCNN(**SMALL).eval()
    points = torch.randn(2, 100, 3)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(points[:, order]), net(points), rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(points)
    torch.testing.assert_close(mixed, net(points), rtol=0, atol=0)
    assert net(torch.randn(1, 2, 3)).shape == (1, 48)  # fewer points than neighbours


def test_the_title_says_that_it_is_our_reading() -> None:
    encoder = load_encoder("dcglr", init="random", reduced=True)
    assert "our reading" in encoder.card.title


def test_without_weights_it_says_that_none_are_published() -> None:
    with pytest.raises(EncoderError, match=r"none published.*--checkpoint"):
        load_encoder("dcglr")
