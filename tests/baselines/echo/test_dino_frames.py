"""DINO on frames: timm's own features, averaged by hand."""

import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn.functional import cosine_similarity

from baselines.echo import ENCODERS
from baselines.echo.dino_frames import DinoFrames
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

SMALL = {"size": 64, "frames": 4, "depth": 2}


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(5)
    return timm.create_model("vit_small_patch16_224", num_classes=0, img_size=64, depth=2).eval()


@pytest.fixture(scope="module")
def loaded(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("dino") / "model.safetensors"
    save_file(theirs.state_dict(), path)
    encoder = DinoFrames(**SMALL).eval()
    load_into(encoder, path, "dino-frames")
    return encoder


@torch.no_grad()
def test_the_mean_of_timms_features_over_the_valid_frames(theirs, loaded):
    video, lengths = torch.randn(3, 3, 4, 64, 64), torch.tensor([4, 2, 1])
    expected = torch.stack(
        [
            theirs(clip[:, :length].transpose(0, 1)).mean(0)
            for clip, length in zip(video, lengths.tolist(), strict=True)
        ]
    )
    out = loaded(video, lengths)
    assert torch.allclose(out, expected, atol=1e-5)
    layers = loaded.layers(video, lengths)
    assert layers.shape == (2, 3, 384)
    assert torch.allclose(layers[-1], expected, atol=1e-5)
    patches = loaded.patches(video, lengths)
    tokens = theirs.forward_features(video[:, :, 0])[:, 1:]
    assert patches.shape == (3, 4, 4, 384)
    assert torch.allclose(patches.flatten(1, 2), tokens, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = loaded(video, lengths)
    assert half.dtype == torch.float32
    assert cosine_similarity(half, out).min() > 0.999


def test_dinov2_and_the_authors_wrapping_load_too(tmp_path):
    options = {"architecture": "vit_small_patch14_dinov2.lvd142m", "size": 56, "depth": 1}
    state = DinoFrames(**options).model.state_dict()
    wrapped = {f"module.backbone.{key}": value for key, value in state.items()}
    extra = {"module.head.mlp.0.weight": torch.ones(1), "module.backbone.mask_token": torch.ones(1)}
    torch.save(wrapped | extra, tmp_path / "w.pth")
    encoder = DinoFrames(**options)
    load_into(encoder, tmp_path / "w.pth", "dino-frames")
    assert torch.equal(encoder.model.cls_token, state["cls_token"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm.weight": None}, "missing: norm.weight"),
        ({"blocks.2.norm1.weight": torch.ones(1)}, "surplus: blocks.2.norm1.weight"),
        ({"pos_embed": torch.ones(1, 197, 384)}, "pos_embed is (1, 197, 384), should be"),
    ],
)
def test_a_checkpoint_that_does_not_fit(theirs, tmp_path, change, words):
    state = dict(theirs.state_dict())
    for key, value in change.items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_into(DinoFrames(**SMALL), tmp_path / "w.safetensors", "dino-frames")


def test_the_card_counts_the_full_model():
    card = next(card for card in ENCODERS if card.name == "dino-frames")
    with torch.device("meta"):
        full = timm.create_model("vit_small_patch16_224.dino", num_classes=0)
    assert card.parameters == sum(p.numel() for p in full.parameters())
    assert card.dimension == full.num_features
