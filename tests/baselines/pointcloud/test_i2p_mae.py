import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from baselines.pointcloud.i2p_mae import I2PMAE
from baselines.pointcloud.sampling import patches_of
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError

SMALL = {
    "num_groups": (64, 16, 6),
    "group_sizes": (8, 4, 3),
    "encoder_dims": (12, 24, 48),
    "encoder_depths": (1, 2, 1),
    "num_heads": 3,
}
PRETRAINING = (
    "h_decoder.0.blocks.0.norm1.weight",
    "decoder_pos_embeds.0.0.weight",
    "decoder_norm.weight",
    "token_prop.0.fuse.net.0.weight",
    "rec_head_2d.weight",
    "rec_head_3d.bias",
    "clip_model.visual.conv1.weight",
    "mask_token",
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def published(net: I2PMAE) -> dict[str, torch.Tensor]:
    keys = {f"h_encoder.{key}": value for key, value in net.state_dict().items()}
    keys |= {key: torch.ones(3) for key in PRETRAINING}
    return {f"module.{key}": value for key, value in keys.items()}


def save(state: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / "pre-train.pth"
    torch.save({"base_model": state, "epoch": 1, "metrics": {"acc": 93.35}}, path)
    return path


@pytest.mark.shared_data
@torch.inference_mode()
def test_the_authors_output_is_reproduced(shared_data: Path, tmp_path: Path) -> None:
    with safe_open(shared_data.parent / "fixtures/i2p-mae.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    config.pop("note")
    net = I2PMAE(**config).eval()
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    state |= {f"module.{key}": torch.ones(2) for key in PRETRAINING}
    load_into(net, save(state, tmp_path), "i2p-mae")
    assert (net(tensors["input/points"]) - tensors["output/clip"]).abs().max() <= 1e-4


@torch.inference_mode()
def test_a_checkpoint_loads_in_its_published_layout(tmp_path: Path) -> None:
    donor, net = I2PMAE(**SMALL).eval(), I2PMAE(**SMALL).eval()
    load_into(net, save(published(donor), tmp_path), "i2p-mae")
    points = torch.randn(2, 200, 3)
    torch.testing.assert_close(net(points), donor(points), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "missing: encoder_norms.0.bias"),
        ("surplus", "surplus: cls_head.0.weight"),
        ("shape", r"encoder_pos_embeds.0.0.weight is \(6, 3\), should be \(12, 3\)"),
        ("other", "surplus: MAE_encoder.norm.weight"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_key(change: str, message: str, tmp_path: Path) -> None:
    net = I2PMAE(**SMALL)
    state = published(net)
    position = "module.h_encoder.encoder_pos_embeds.0.0.weight"
    if change == "missing":
        del state["module.h_encoder.encoder_norms.0.bias"]
    elif change == "surplus":
        state["module.cls_head.0.weight"] = torch.ones(1)
    elif change == "shape":
        state[position] = state[position][:6]
    else:
        state = {"module.MAE_encoder.norm.weight": torch.ones(3)}
    with pytest.raises(EncoderError, match=message):
        load_into(net, save(state, tmp_path), "i2p-mae")


@torch.inference_mode()
def test_a_token_outside_every_patch_of_the_next_level_changes_nothing() -> None:
    net = I2PMAE(**SMALL).eval()
    points = torch.randn(1, 200, 3)
    _, centres, _ = patches_of(points, 64, 8)
    _, _, index = patches_of(centres, 16, 4)
    unseen = sorted(set(range(64)) - set(index.flatten().tolist()))
    assert unseen  # there are such tokens
    embed = net.token_embed[0]
    before = net(points)

    def disturb(module: object, inputs: object, tokens: torch.Tensor) -> torch.Tensor:
        changed = tokens.clone()
        changed[:, unseen] += 10
        return changed

    handle = embed.register_forward_hook(disturb)
    torch.testing.assert_close(net(points), before, rtol=0, atol=1e-6)
    handle.remove()
    embed.register_forward_hook(lambda module, inputs, tokens: tokens + 10)
    assert (net(points) - before).abs().max() > 1e-3


@torch.inference_mode()
def test_any_number_of_points_and_levels() -> None:
    net = I2PMAE(**SMALL).eval()
    for count in (1, 5, 64, 333):
        assert net(torch.randn(2, count, 3)).shape == (2, 48)
    single = I2PMAE((16,), (8,), (24,), (1,), 3).eval()
    assert single.tokens(torch.randn(2, 50, 3)).shape == (2, 16, 24)


def test_levels_must_agree() -> None:
    with pytest.raises(EncoderError, match="a value for each level"):
        I2PMAE(num_groups=(64, 16))


@torch.inference_mode()
def test_half_precision_changes_little() -> None:
    net = load_encoder("i2p-mae", init="random", reduced=True).module
    points = torch.randn(2, 1024, 3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(points)
    assert torch.cosine_similarity(mixed, net(points)).min() > 0.999
