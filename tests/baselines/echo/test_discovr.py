"""DISCOVR: the authors' outputs, VideoMAE's own classifier, and checkpoints that do not fit."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn.functional import cosine_similarity
from transformers import VideoMAEConfig, VideoMAEForVideoClassification

from baselines.echo import ENCODERS
from baselines.echo.discovr import Discovr, published
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError
from benchmark.inputs import input_spec

SMALL = {"size": 48, "frames": 6, "patch": 16, "dimension": 48, "depth": 2, "heads": 3}


def small(seed=0, **changes):
    torch.manual_seed(seed)
    encoder = Discovr(**{**SMALL, **changes}).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases and norms are not trivial
    return encoder


def published_state(encoder):
    """An encoder's weights in the published layout, written independently of its loader."""
    state, out = encoder.state_dict(), {}
    for i in range(len(encoder.model.encoder.layer)):
        here = f"model.encoder.layer.{i}.attention.attention."
        parts = [state[f"{here}{part}.weight"] for part in ("query", "key", "value")]
        out[f"blocks.{i}.attn.qkv.weight"] = torch.cat(parts)
        out[f"blocks.{i}.attn.q_bias"] = state[f"{here}query.bias"]
        out[f"blocks.{i}.attn.v_bias"] = state[f"{here}value.bias"]
        for theirs, ours in (
            ("attn.proj", "attention.output.dense"),
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            ("mlp.fc1", "intermediate.dense"),
            ("mlp.fc2", "output.dense"),
        ):
            for kind in ("weight", "bias"):
                key = f"model.encoder.layer.{i}.{ours}.{kind}"
                out[f"blocks.{i}.{theirs}.{kind}"] = state[key]
    for kind in ("weight", "bias"):
        projection = state[f"model.embeddings.patch_embeddings.projection.{kind}"]
        out[f"patch_embed.proj.{kind}"] = projection
        out[f"fc_norm.{kind}"] = state[f"fc_norm.{kind}"]
    return out


@pytest.fixture
def saved(tmp_path):
    def save(state, name="checkpoint.pth"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.shared_data
@pytest.mark.parametrize("wrap", ["bare", "model", "module", "encoder"])
def test_the_authors_output_is_reproduced(shared_data, saved, wrap):
    path = shared_data.parent / "fixtures" / "discovr-vit.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    tensors = load_file(path)
    state = {k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")}
    layouts = {
        "bare": state,
        "model": {"model": {**state, "head.weight": torch.ones(2, 96), "head.bias": torch.ones(2)}},
        "module": {"module": {f"module.backbone.{k}": v for k, v in state.items()}, "epoch": 3},
        "encoder": {
            "model": {f"encoder.{k}": v for k, v in state.items()} | {"decoder.x": torch.ones(1)}
        },
    }
    encoder = Discovr(
        size=config["img_size"],
        frames=config["frames"],
        tubelet=config["tubelet_size"],
        patch=config["patch_size"],
        dimension=config["embed_dim"],
        depth=config["depth"],
        heads=config["num_heads"],
    ).eval()
    load_into(encoder, saved(layouts[wrap]), "discovr")
    with torch.no_grad():
        clip = encoder(tensors["input/video"], torch.tensor([16, 16]))
    assert (clip - tensors["output/clip"]).abs().max() <= 1e-4


@pytest.mark.parametrize(
    "changes", [{}, {"size": 32, "frames": 8}, {"tubelet": 3, "patch": 8, "mlp_ratio": 2.0}]
)
@torch.no_grad()
def test_it_is_transformers_classifier_without_its_head(saved, changes):
    source = small(seed=1, **changes)
    options = {**SMALL, "tubelet": 2, "mlp_ratio": 4.0, **changes}
    config = VideoMAEConfig(
        image_size=options["size"],
        num_frames=options["frames"],
        patch_size=options["patch"],
        tubelet_size=options["tubelet"],
        hidden_size=options["dimension"],
        num_hidden_layers=options["depth"],
        num_attention_heads=options["heads"],
        intermediate_size=int(options["mlp_ratio"] * options["dimension"]),
        layer_norm_eps=1e-6,
    )
    classifier = VideoMAEForVideoClassification(config).eval()
    classifier.fc_norm.eps = 1e-6
    mine = {
        k.replace("model.", "videomae."): v
        for k, v in source.state_dict().items()
        if "position_embeddings" not in k
    }
    classifier.load_state_dict(mine, strict=False)
    classifier.classifier = torch.nn.Identity()

    encoder = small(seed=2, **changes)
    load_into(encoder, saved(published_state(source)), "discovr")
    video = torch.randn(3, 3, options["frames"], options["size"], options["size"])
    expected = classifier(video.transpose(1, 2)).logits
    assert torch.allclose(encoder(video), expected, atol=1e-5)


@torch.no_grad()
def test_a_short_clip_repeats_its_own_last_frame():
    encoder, video = small(), torch.randn(1, 3, 4, 48, 48)
    repeated = torch.cat([video, video[:, :, -1:], video[:, :, -1:]], 2)
    alone = encoder(video, torch.tensor([4]))
    assert torch.allclose(alone, encoder(repeated, torch.tensor([6])), atol=1e-6)
    padded = torch.cat([video, torch.full((1, 3, 2, 48, 48), 9.0)], 2)
    others = torch.cat([padded, torch.randn(2, 3, 6, 48, 48)])
    together = encoder(others, torch.tensor([4, 6, 1]))
    assert torch.allclose(together[:1], alone, atol=1e-5)


@torch.no_grad()
def test_layers_and_patches():
    encoder, video = small(), torch.randn(2, 3, 6, 48, 48)
    layers = encoder.layers(video)
    assert layers.shape == (3, 2, 48)
    assert torch.allclose(encoder.fc_norm(layers[-1]), encoder(video), atol=1e-6)
    still = encoder.patches(video[:, :, :1], torch.tensor([1, 1]))
    assert still.shape == (2, 3, 3, 48)


@torch.no_grad()
def test_half_precision_gives_the_same_direction():
    encoder, video = small(), torch.randn(2, 3, 6, 48, 48)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(video)
    assert half.dtype == torch.float32
    assert cosine_similarity(half, encoder(video)).min() > 0.999


def test_input_is_every_third_frame_scaled_by_imagenet():
    encoder = Discovr(depth=1, dimension=12, heads=1)
    spec = input_spec("echo", encoder.input)
    video = np.arange(200, dtype=np.uint8)[:, None, None].repeat(112, 1).repeat(112, 2)
    windows = spec.windows({"video": video, "fps": 50.0})
    assert [w.arrays["video"].shape for w in windows] == [(3, 64, 112, 112)]
    expected = (np.arange(64) * 3 / 255 - 0.456) / 0.224
    np.testing.assert_allclose(windows[0].arrays["video"][1, :, 0, 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda s: s.pop("blocks.1.attn.q_bias"), "missing: blocks.1.attn.q_bias"),
        (lambda s: s.pop("blocks.0.attn.qkv.weight"), "missing: blocks.0.attn.qkv.weight"),
        (lambda s: s.pop("patch_embed.proj.bias"), "missing: patch_embed.proj.bias"),
        (lambda s: s.update({"cls_token": torch.ones(1)}), "surplus: cls_token"),
        (
            lambda s: s.update({"blocks.0.mlp.fc1.bias": torch.ones(3)}),
            "blocks.0.mlp.fc1.bias is (3,), should be (192,)",
        ),
        (
            lambda s: s.update({"blocks.0.attn.qkv.weight": torch.ones(96, 32)}),
            "blocks.0.attn.qkv.weight is (96, 32), should be (144, 48)",
        ),
        (
            lambda s: s.update({"pos_embed": torch.ones(1, 5, 48)}),
            "pos_embed is (1, 5, 48), should be (1, 27, 48)",
        ),
        (lambda s: s.update({"blocks.2.norm1.bias": torch.ones(48)}), "surplus: blocks.2.norm1"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_published_key(saved, damage, words):
    state = published_state(small())
    damage(state)
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_into(small(), saved(state), "discovr")


def test_every_name_has_a_published_one():
    encoder = small()
    names = {published(name) for name in encoder.state_dict()}
    assert names == set(published_state(encoder)) | {"pos_embed"}


def test_the_card_counts_the_full_model():
    card = next(card for card in ENCODERS if card.name == "discovr")
    with torch.device("meta"):
        encoder = Discovr(**card.options)
    assert card.parameters == sum(p.numel() for p in encoder.parameters())
    assert card.dimension == encoder.fc_norm.weight.numel()
