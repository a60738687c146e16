"""Phikon against transformers, which reads the very same published files."""

import json

import pytest
import torch
from safetensors.torch import save_file

from baselines.histopathology.phikon import Phikon
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

SIZE, WIDTH, DEPTH, HEADS = 64, 32, 3, 4
GEOMETRY = {"image_size": SIZE, "width": WIDTH, "depth": DEPTH, "heads": HEADS}
CONFIG = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": HEADS,
    "image_size": SIZE,
    "patch_size": 16,
}


def shapes(version):
    """The layout that transformers published until 2025, when it renamed its own modules."""
    first = {
        "layernorm_before": (WIDTH,),
        "attention.output.dense": (WIDTH, WIDTH),
        "layernorm_after": (WIDTH,),
        "intermediate.dense": (4 * WIDTH, WIDTH),
        "output.dense": (WIDTH, 4 * WIDTH),
    }
    second = {
        "norm1": (WIDTH,),
        "attention.output.dense": (WIDTH, WIDTH),
        "norm2": (WIDTH,),
        "mlp.fc1": (4 * WIDTH, WIDTH),
        "mlp.fc2": (WIDTH, 4 * WIDTH),
    }
    sizes = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.position_embeddings": (1, 17, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, 16, 16),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    if version == 2:
        sizes["embeddings.mask_token"] = (1, WIDTH)
    for i in range(DEPTH):
        block = dict(second if version == 2 else first)
        block |= {f"attention.attention.{part}": (WIDTH,) * 2 for part in ("query", "key", "value")}
        for name, size in block.items():
            sizes[f"encoder.layer.{i}.{name}.weight"] = size
            sizes[f"encoder.layer.{i}.{name}.bias"] = size[:1]
        if version == 2:
            sizes[f"encoder.layer.{i}.layer_scale1.lambda1"] = (WIDTH,)
            sizes[f"encoder.layer.{i}.layer_scale2.lambda1"] = (WIDTH,)
    return sizes


@pytest.fixture(params=[1, 2], ids=["phikon", "phikon-v2"])
def published(request, tmp_path):
    """(version, weights, folder as on the hub)."""
    torch.manual_seed(0)
    weights = {
        key: torch.randn(size) * (0.05 if len(size) > 1 else 0.1)
        + (len(size) == 1 and not key.endswith("bias"))
        for key, size in shapes(request.param).items()
    }
    kind = {"model_type": "vit", "architectures": ["ViTModel"], "intermediate_size": 4 * WIDTH}
    if request.param == 2:
        kind = {"model_type": "dinov2", "architectures": ["Dinov2Model"], "mlp_ratio": 4}
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | kind))
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return request.param, weights, tmp_path


def test_the_published_file_gives_transformers_embedding(published):
    from transformers import Dinov2Model, ViTModel

    version, _, folder = published
    if version == 2:
        theirs = Dinov2Model.from_pretrained(folder)
    else:
        theirs = ViTModel.from_pretrained(folder, add_pooling_layer=False)
    ours = Phikon(version, **GEOMETRY).eval()
    load_into(ours, folder / "model.safetensors", "phikon")
    image = torch.randn(3, 3, SIZE, SIZE)
    output = theirs.eval()(pixel_values=image, output_hidden_states=True)
    states = output.last_hidden_state
    torch.testing.assert_close(ours(image), states[:, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(ours.patches(image).flatten(1, 2), states[:, 1:], rtol=0, atol=1e-4)
    layers = theirs.layernorm(torch.stack(output.hidden_states[1:])[:, :, 0])
    torch.testing.assert_close(ours.layers(image), layers, rtol=0, atol=1e-4)


def test_a_file_with_prefix_and_pooler_loads(published, save):
    version, weights, _ = published
    prefix = "dinov2." if version == 2 else "vit."
    entries = {prefix + key: value for key, value in weights.items()}
    ours = Phikon(version, **GEOMETRY)
    load_into(ours, save(entries | {f"{prefix}pooler.dense.bias": torch.zeros(WIDTH)}), "phikon")
    torch.testing.assert_close(ours.vit.norm.bias, weights["layernorm.bias"])


def test_what_does_not_fit_is_named(published, save):
    version, weights, _ = published
    key = "encoder.layer.1.attention.attention.key.weight"
    with pytest.raises(EncoderError, match=f"missing: {key}"):
        entries = {k: v for k, v in weights.items() if k != key}
        load_into(Phikon(version, **GEOMETRY), save(entries), "phikon")
    with pytest.raises(EncoderError, match=r"surplus: classifier\.weight"):
        entries = weights | {"classifier.weight": torch.zeros(2, WIDTH)}
        load_into(Phikon(version, **GEOMETRY), save(entries), "phikon")
    with pytest.raises(EncoderError, match=r"\(32,\), should be \(64,\)"):
        load_into(Phikon(version, **(GEOMETRY | {"width": 64})), save(weights), "phikon")
    with pytest.raises(EncoderError, match="missing: encoder.layer.0"):
        load_into(Phikon(3 - version, **GEOMETRY), save(weights), "phikon")


@pytest.mark.parametrize("name", ["phikon", "phikon-v2"])
def test_the_card(name, meets_its_card):
    meets_its_card(name)
