import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from baselines.pointcloud.point_mae import PointMAE
from baselines.pointcloud.point_mae_transformer import Attention, Block
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError

SMALL = {
    "num_group": 16,
    "group_size": 8,
    "encoder_dims": 24,
    "trans_dim": 24,
    "depth": 2,
    "num_heads": 4,
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def published(net: PointMAE) -> dict[str, torch.Tensor]:
    """The keys of a pretraining checkpoint: the encoder's and the decoder's."""
    decoder = ("MAE_decoder.norm.weight", "decoder_pos_embed.0.bias", "increase_dim.0.bias")
    keys = {f"MAE_encoder.{key}": value for key, value in net.state_dict().items()}
    keys |= {key: torch.ones(3) for key in (*decoder, "mask_token")}
    return {f"module.{key}": value for key, value in keys.items()}


def save(state: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / "pretrain.pth"
    extras = {"epoch": 300, "optimizer": {"state": {}}, "metrics": {"acc": 0.0}}
    torch.save({"base_model": state, **extras}, path)
    return path


@pytest.mark.shared_data
@torch.inference_mode()
def test_the_authors_output_is_reproduced(shared_data: Path, tmp_path: Path) -> None:
    with safe_open(shared_data.parent / "fixtures/point-mae.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config = json.loads(file.metadata()["config"])
    config.pop("note")
    net = PointMAE(**config).eval()
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    load_into(net, save(state, tmp_path), "point-mae")
    clip, tokens = net(tensors["input/points"]), net.tokens(tensors["input/points"])
    assert (tokens - tensors["output/tokens"]).abs().max() <= 1e-4
    assert (clip - tensors["output/clip"]).abs().max() <= 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("layout", ["published", "bare"])
def test_a_checkpoint_loads_in_its_published_layout_and_bare(layout: str, tmp_path: Path) -> None:
    donor, net = PointMAE(**SMALL).eval(), PointMAE(**SMALL).eval()
    state = published(donor) if layout == "published" else donor.state_dict()
    path = tmp_path / "bare.pth"
    if layout == "published":
        path = save(state, tmp_path)
    else:
        torch.save(state, path)
    load_into(net, path, "point-mae")
    points = torch.randn(2, 100, 3)
    torch.testing.assert_close(net(points), donor(points), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "missing: norm.weight"),
        ("surplus", "surplus: cls_token"),
        ("shape", r"blocks.blocks.0.attn.qkv.weight is \(48, 24\), should be \(72, 24\)"),
        ("deeper", "surplus: blocks.blocks.2"),
        ("other", "missing: blocks.blocks.0"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_key(change: str, message: str, tmp_path: Path) -> None:
    net = PointMAE(**SMALL)
    state = published(net)
    qkv = "module.MAE_encoder.blocks.blocks.0.attn.qkv.weight"
    if change == "missing":
        del state["module.MAE_encoder.norm.weight"]
    elif change == "surplus":
        state["module.cls_token"] = torch.ones(1)
    elif change == "shape":
        state[qkv] = state[qkv][:48]
    elif change == "deeper":
        state = published(PointMAE(**{**SMALL, "depth": 3}))
    else:
        state = {"h_encoder.encoder_norms.0.weight": torch.ones(3)}
    with pytest.raises(EncoderError, match=message):
        load_into(net, save(state, tmp_path), "point-mae")


@torch.inference_mode()
def test_tokens_of_any_number_of_points() -> None:
    net = PointMAE(**SMALL).eval()
    for count in (1, 7, 16, 333):
        assert net(torch.randn(2, count, 3)).shape == (2, 48)
        assert net.tokens(torch.randn(2, count, 3)).shape == (2, 16, 24)


@torch.inference_mode()
def test_attention_is_that_of_torch() -> None:
    own, reference = Attention(24, 4), torch.nn.MultiheadAttention(24, 4, batch_first=True)
    reference.in_proj_weight.copy_(own.qkv.weight)
    reference.out_proj.load_state_dict(own.proj.state_dict())
    tokens = torch.randn(2, 9, 24)
    hidden = torch.rand(2, 9) < 0.3
    expected = reference(tokens, tokens, tokens, key_padding_mask=hidden)[0]
    torch.testing.assert_close(own(tokens, ~hidden[:, None, None]), expected)


@torch.inference_mode()
def test_a_block_is_that_of_timm() -> None:
    from timm.models.vision_transformer import Block as TimmBlock

    own, reference = Block(24, 4).eval(), TimmBlock(24, 4).eval()
    reference.load_state_dict(own.state_dict())
    tokens = torch.randn(2, 9, 24)
    torch.testing.assert_close(own(tokens), reference(tokens))


@torch.inference_mode()
def test_half_precision_changes_little() -> None:
    net = load_encoder("point-mae", init="random", reduced=True).module
    points = torch.randn(2, 1024, 3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = net(points)
    assert mixed.dtype == torch.float32
    assert torch.cosine_similarity(mixed, net(points)).min() > 0.999


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(EncoderError, match="width of 24 does not divide into 5"):
        PointMAE(**{**SMALL, "num_heads": 5})
