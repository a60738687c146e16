"""DISCOVR: the authors' outputs, VideoMAE's own classifier, and checkpoints that do not fit."""

import argparse
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
    assert len(windows) == 1
    clip = spec.collate(windows)["video"][0].numpy()
    assert clip.shape == (3, 64, 112, 112)
    expected = (np.arange(64) * 3 / 255 - 0.456) / 0.224
    np.testing.assert_allclose(clip[1, :, 0, 0], expected, atol=1e-5)


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


@pytest.mark.long
def test_the_card_counts_the_full_model():
    card = next(card for card in ENCODERS if card.name == "discovr")
    with torch.device("meta"):
        encoder = Discovr(**card.options)
    assert card.parameters == sum(p.numel() for p in encoder.parameters())
    assert card.dimension == encoder.fc_norm.weight.numel()


def pretraining_state(seed, width=48, depth=2, tokens=27, biases=False):
    """One branch of a pretraining checkpoint, random: a class token, a final `norm`."""
    torch.manual_seed(seed)
    state = {
        "cls_token": torch.randn(1, 1, width),
        "pos_embed": torch.randn(1, tokens + 1, width),
        "patch_embed.proj.weight": 0.05 * torch.randn(width, 3, 2, 16, 16),
        "patch_embed.proj.bias": torch.randn(width),
        "norm.weight": torch.rand(width),
        "norm.bias": torch.randn(width),
    }
    for i in range(depth):
        for name, shape in (
            ("norm1", (width,)),
            ("norm2", (width,)),
            ("attn.proj", (width, width)),
            ("mlp.fc1", (4 * width, width)),
            ("mlp.fc2", (width, 4 * width)),
        ):
            state[f"blocks.{i}.{name}.weight"] = 0.2 * torch.randn(shape)
            state[f"blocks.{i}.{name}.bias"] = 0.2 * torch.randn(shape[0])
        state[f"blocks.{i}.attn.qkv.weight"] = 0.2 * torch.randn(3 * width, width)
        for part in ("q_bias", "v_bias") if biases else ():
            state[f"blocks.{i}.attn.{part}"] = torch.randn(width)
    return state


def class_token(state, video, heads=3):
    """The normalised class token, written from the equations."""
    x = torch.nn.functional.conv3d(
        video, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=(2, 16, 16)
    )
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1) + state["pos_embed"]
    width = x.shape[-1]

    def norm(x, key):
        weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
        return torch.nn.functional.layer_norm(x, (width,), weight, bias, 1e-6)

    def linear(x, key):
        return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]

    for i in range(sum(key.endswith("qkv.weight") for key in state)):
        here = f"blocks.{i}"
        q, k, v = (norm(x, f"{here}.norm1") @ state[f"{here}.attn.qkv.weight"].T).chunk(3, -1)
        q = q + state.get(f"{here}.attn.q_bias", 0)
        v = v + state.get(f"{here}.attn.v_bias", 0)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        weights = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).softmax(-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"{here}.attn.proj")
        hidden = torch.nn.functional.gelu(linear(norm(x, f"{here}.norm2"), f"{here}.mlp.fc1"))
        x = x + linear(hidden, f"{here}.mlp.fc2")
    return norm(x, "norm")[:, 0]


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("taught", [True, False])
@torch.no_grad()
def test_a_published_checkpoint_gives_the_class_token_of_the_teacher(saved, taught, biases):
    teacher, student = (pretraining_state(seed, biases=biases) for seed in (0, 1))
    model = {f"encoder.{key}": value for key, value in student.items()}
    model |= {"decoder.blocks.0.norm1.weight": torch.ones(3), "mask_token": torch.ones(1, 1, 3)}
    model |= {"image_teacher.cls_token": torch.ones(1, 1, 48)}
    if taught:
        model |= {f"video_teacher.{key}": value for key, value in teacher.items()}
    options = argparse.Namespace(model="pretrain_videomae_base_patch16_224")
    encoder = small(seed=2)
    load_into(encoder, saved({"model": model, "epoch": 799, "args": options}), "discovr")
    video = torch.randn(2, 3, 6, 48, 48)
    expected = class_token(teacher if taught else student, video)
    assert torch.allclose(encoder(video), expected, atol=1e-5)
    layers = encoder.layers(video)
    assert torch.allclose(encoder.fc_norm(layers[-1]), expected, atol=1e-5)
    assert encoder.patches(video).shape == (2, 3, 3, 48)
    frames = encoder.patches(video)[:, 0, 0]  # the first patch, not the class token
    assert not torch.allclose(frames, expected, atol=1e-2)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda s: s.pop("norm.bias"), "missing: norm.bias"),
        (lambda s: s.pop("blocks.1.norm2.bias"), "missing: blocks.1.norm2.bias"),
        (lambda s: s.update({"blocks.0.gamma_1": torch.ones(48)}), "surplus: blocks.0.gamma_1"),
        (
            lambda s: s.update({"pos_embed": torch.ones(1, 27, 48)}),
            "pos_embed is (1, 27, 48), should be (1, 28, 48)",
        ),
        (
            lambda s: s.update({"cls_token": torch.ones(1, 1, 8)}),
            "cls_token is (1, 1, 8), should be (1, 1, 48)",
        ),
    ],
)
def test_a_published_checkpoint_that_does_not_fit_names_its_key(saved, damage, words):
    state = pretraining_state(0)
    damage(state)
    model = {f"video_teacher.{key}": value for key, value in state.items()}
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_into(small(), saved({"model": model}), "discovr")
