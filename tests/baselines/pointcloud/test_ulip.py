from pathlib import Path
from string import Formatter

import pytest
import torch

from baselines.pointcloud.ulip import ULIP
from baselines.pointcloud.ulip_templates import TEMPLATES
from baselines.pointcloud.ulip_text import tokenise
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError

SMALL = {
    "num_group": 16,
    "group_size": 8,
    "encoder_dims": 20,
    "trans_dim": 24,
    "depth": 2,
    "num_heads": 4,
    "text_width": 32,
    "text_layers": 2,
    "text_heads": 4,
    "context_length": 20,
    "embed_dim": 16,
    "tokenizer": "bytes",
}
IMAGE = ("visual.cls_token", "visual.blocks.0.norm1.weight", "image_projection")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def save(state: dict[str, torch.Tensor], folder: Path) -> Path:
    path = folder / "checkpoint_pointbert.pt"
    torch.save({"epoch": 250, "state_dict": state, "best_acc1": 60.3}, path)
    return path


def published(net: ULIP) -> dict[str, torch.Tensor]:
    keys = {**net.state_dict(), **{key: torch.ones(3) for key in IMAGE}}
    return {f"module.{key}": value for key, value in keys.items()}


@torch.inference_mode()
def test_a_checkpoint_loads_in_its_published_layout(tmp_path: Path) -> None:
    donor, net = ULIP(**SMALL).eval(), ULIP(**SMALL).eval()
    load_into(net, save(published(donor), tmp_path), "ulip")
    points, texts = torch.randn(2, 100, 3), ["a chair", "a table"]
    torch.testing.assert_close(net(points), donor(points), rtol=0, atol=0)
    torch.testing.assert_close(net.encode_text(texts), donor.encode_text(texts), rtol=0, atol=0)


def test_the_full_model_has_the_published_keys_and_shapes() -> None:
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in ULIP().state_dict().items()}
    assert shapes["point_encoder.blocks.blocks.11.attn.qkv.weight"] == (1152, 384)
    assert shapes["point_encoder.encoder.second_conv.3.weight"] == (256, 512, 1)
    assert shapes["point_encoder.reduce_dim.weight"] == (384, 256)
    assert shapes["point_encoder.cls_pos"] == (1, 1, 384)
    assert shapes["pc_projection"] == (768, 512)
    assert shapes["transformer.resblocks.11.attn.in_proj_weight"] == (1536, 512)
    assert shapes["transformer.resblocks.0.mlp.c_fc.weight"] == (2048, 512)
    assert shapes["transformer.resblocks.0.ln_2.bias"] == (512,)
    assert shapes["token_embedding.weight"] == (49_408, 512)
    assert shapes["positional_embedding"] == (77, 512)
    assert shapes["text_projection"] == (512, 512)
    assert shapes["ln_final.weight"] == (512,)
    assert shapes["logit_scale"] == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "missing: text_projection"),
        ("surplus", "surplus: point_encoder.cls_head_finetune.0.weight"),
        ("shape", r"pc_projection is \(48, 8\), should be \(48, 16\)"),
        ("other", "surplus: MAE_encoder.norm.weight"),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_key(change: str, message: str, tmp_path: Path) -> None:
    net = ULIP(**SMALL)
    state = published(net)
    if change == "missing":
        del state["module.text_projection"]
    elif change == "surplus":
        state["module.point_encoder.cls_head_finetune.0.weight"] = torch.ones(1)
    elif change == "shape":
        state["module.pc_projection"] = state["module.pc_projection"][:, :8]
    else:
        state = {"module.MAE_encoder.norm.weight": torch.ones(1)}
    with pytest.raises(EncoderError, match=message):
        load_into(net, save(state, tmp_path), "ulip")


@torch.inference_mode()
def test_the_text_tower_is_clips() -> None:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=258, hidden_size=32, intermediate_size=128, projection_dim=16,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=20,
        hidden_act="quick_gelu", eos_token_id=257, bos_token_id=256, pad_token_id=0,
    )  # fmt: skip
    reference = CLIPTextModelWithProjection(config).eval()
    net = ULIP(**SMALL).eval()
    own = net.state_dict()
    names = {
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
    }
    layer_names = {
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
    }  # fmt: skip
    for layer in range(2):
        theirs = f"text_model.encoder.layers.{layer}"
        ours = f"transformer.resblocks.{layer}"
        for part in ("weight", "bias"):
            for a, b in layer_names.items():
                names[f"{theirs}.{a}.{part}"] = f"{ours}.{b}.{part}"
    state = {a: own[b] for a, b in names.items()}
    for layer in range(2):
        for part in ("weight", "bias"):
            joint = own[f"transformer.resblocks.{layer}.attn.in_proj_{part}"]
            for letter, piece in zip("qkv", joint.chunk(3), strict=True):
                state[f"text_model.encoder.layers.{layer}.self_attn.{letter}_proj.{part}"] = piece
    state["text_projection.weight"] = own["text_projection"].T
    reference.load_state_dict(state)
    texts = ["chair", "a longer text that is cut at its end", "é"]
    ids = tokenise(texts, 20, "bytes")
    expected = reference(input_ids=ids).text_embeds
    torch.testing.assert_close(net.encode_text(texts), expected, rtol=1e-4, atol=1e-5)


def test_clips_tokens() -> None:
    ids = tokenise(["a photo of a cat", ""], 77)
    assert ids.shape == (2, 77)
    # the ids that OpenAI's tokeniser gives
    assert ids[0, :8].tolist() == [49406, 320, 1125, 539, 320, 2368, 49407, 0]
    assert ids[1, :3].tolist() == [49406, 49407, 0]
    assert tokenise(["chair " * 100], 77)[0, -1] == 49407


def test_bytes_as_tokens() -> None:
    ids = tokenise(["ab", "abcdefgh"], 6, "bytes")
    assert ids.tolist() == [[256, 97, 98, 257, 0, 0], [256, 97, 98, 99, 100, 257]]


@torch.inference_mode()
def test_a_text_does_not_depend_on_its_neighbours_and_differs_from_them() -> None:
    net = ULIP(**SMALL).eval()
    together = net.encode_text(["a chair", "a long text here", "a chair"])
    torch.testing.assert_close(net.encode_text(["a chair"])[0], together[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(together[2], together[0])
    assert (together[1] - together[0]).abs().max() > 1e-2
    assert net.encode_text(["x"]).shape == (1, 16)
    assert net(torch.randn(1, 50, 3)).shape == (1, 16)


def test_the_templates_take_one_class_name_each() -> None:
    assert len(TEMPLATES) == len(set(TEMPLATES)) == 64
    for template in TEMPLATES:
        assert [field for _, field, _, _ in Formatter().parse(template) if field is not None] == [
            ""
        ]
    assert TEMPLATES[0].format("chair") == "a point cloud model of chair."
    assert ULIP.prompt_templates is TEMPLATES


@torch.inference_mode()
def test_half_precision_changes_little() -> None:
    net = load_encoder("ulip", init="random", reduced=True).module
    points = torch.randn(2, 2048, 3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, text = net(points), net.encode_text(["a chair"])
    assert mixed.dtype == text.dtype == torch.float32
    assert torch.cosine_similarity(mixed, net(points)).min() > 0.999
    assert torch.cosine_similarity(text, net.encode_text(["a chair"])).min() > 0.999


def test_an_unknown_tokeniser_is_refused() -> None:
    with pytest.raises(EncoderError, match="not one of: clip, bytes"):
        ULIP(**{**SMALL, "tokenizer": "words"})
