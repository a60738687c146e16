"""`open_clip:*`: every way to name a model, open_clip's own output, and clear errors offline."""

import json
import re

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

from baselines.generic.open_clip_model import OpenClip
from benchmark.check import check_encoder
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError

NAME = "ssl-bench-tiny"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 2,
        "layers": 1,
    },
}
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    """A small model that open_clip knows by name, as `add_model_config` lets users do."""
    path = tmp_path_factory.mktemp("config") / f"{NAME}.json"
    path.write_text(json.dumps(CONFIG))
    open_clip.add_model_config(path)
    torch.manual_seed(7)
    return open_clip.CLIP(**CONFIG).eval()


@pytest.fixture
def folder(tiny, tmp_path):
    config = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    save_file(tiny.state_dict(), tmp_path / "open_clip_model.safetensors")
    return tmp_path


@torch.no_grad()
def same(encoder, tiny):
    images = torch.randn(3, 3, 64, 64)
    expected = normalize(tiny.encode_image(images), dim=-1)
    texts = normalize(tiny.encode_text(open_clip.tokenize(["a cell", "a heart"])), dim=-1)
    return torch.allclose(encoder.module(images), expected, atol=1e-6) and torch.allclose(
        encoder.module.encode_text(["a cell", "a heart"]), texts, atol=1e-6
    )


def test_a_folder_as_the_hub_has_it(tiny, folder):
    encoder = load_encoder(f"open_clip:{folder}")
    assert encoder.weights == "published"
    assert encoder.modality == "histopathology"
    assert encoder.spec.mean == MEAN
    assert encoder.spec.std == STD
    assert encoder.spec.size == 64
    assert same(encoder, tiny)


def test_a_name_with_a_checkpoint(tiny, folder, tmp_path):
    file = folder / "open_clip_model.safetensors"
    assert same(load_encoder(f"open_clip:{NAME}/{file}"), tiny)
    assert same(load_encoder(f"open_clip:{NAME}", checkpoint=file), tiny)
    saved = {f"module.{key}": value for key, value in tiny.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": saved}, tmp_path / "epoch_1.pt")
    assert same(load_encoder(f"open_clip:{NAME}/{tmp_path / 'epoch_1.pt'}"), tiny)


def test_random_weights_are_a_control_and_pass_the_check(tiny):
    encoder = load_encoder(f"open_clip:{NAME}", init="random")
    assert encoder.weights == "random"
    assert not same(encoder, tiny)
    findings = list(check_encoder(encoder))
    assert [f for f in findings if not f.passed] == []
    assert {"patches", "text"} <= {f.check for f in findings}


@torch.no_grad()
def test_echo_frames_are_averaged(tiny, folder):
    encoder = load_encoder(f"open_clip:{folder}", modality="echo")
    assert [f for f in check_encoder(encoder) if not f.passed] == []
    video = torch.randn(2, 3, 5, 64, 64)
    out = encoder.module(video, torch.tensor([5, 2]))
    frames = normalize(tiny.encode_image(video[1, :, :2].transpose(0, 1)), dim=-1)
    assert torch.allclose(out[1], frames.mean(0), atol=1e-6)


@torch.no_grad()
def test_patches_are_the_last_blocks_tokens_on_their_grid(tiny, folder):
    encoder = load_encoder(f"open_clip:{folder}").module
    images = torch.randn(2, 3, 64, 64)
    tiny.visual.output_tokens = True
    tokens = tiny.visual(images)[1]
    tiny.visual.output_tokens = False
    patches = encoder.patches(images)
    assert patches.shape == (2, 4, 4, 64)
    assert torch.allclose(patches.flatten(1, 2), tokens, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-32", r"say which weights.*openai.*laion2b_s34b_b79k.*--init random"),
        ("ViT-B-32/no_such_tag", "say which weights"),
        ("ViT-B-99", r"no model 'ViT-B-99'\. Did you mean 'ViT-B"),
        ("hf-hub:nobody/nothing", "cannot be had .*connect to the hub once"),
    ],
)
def test_what_cannot_be_had_is_said_with_a_remedy(name, words):
    with pytest.raises(EncoderError, match=words):
        load_encoder(f"open_clip:{name}")


def test_a_modality_without_images_is_refused():
    with pytest.raises(EncoderError, match="--modality histopathology, echo or astronomy"):
        load_encoder(f"open_clip:{NAME}", init="random", modality="audio")


def test_a_folder_without_weights_or_configuration(tmp_path):
    with pytest.raises(EncoderError, match=r"open_clip_config\.json"):
        load_encoder(f"open_clip:{tmp_path}")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG}))
    with pytest.raises(EncoderError, match="has no weights"):
        load_encoder(f"open_clip:{tmp_path}")
    assert load_encoder(f"open_clip:{tmp_path}", init="random").weights == "random"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ln_final.bias": None}, "missing: ln_final.bias"),
        ({"visual.more": torch.ones(1)}, "surplus: visual.more"),
        ({"visual.proj": torch.ones(64, 8)}, "visual.proj is (64, 8), should be (64, 32)"),
    ],
)
def test_a_checkpoint_that_does_not_fit(tiny, tmp_path, change, words):
    state = dict(tiny.state_dict())
    for key, value in change.items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_encoder(f"open_clip:{NAME}/{tmp_path / 'w.safetensors'}")


def test_image_scaling_and_activation_follow_the_named_weights():
    siglip = OpenClip._options(
        "ViT-B-16-SigLIP", "", open_clip.list_pretrained_tags_by_model("ViT-B-16-SigLIP")
    )
    assert siglip["force_preprocess_cfg"] == {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    tags = open_clip.list_pretrained_tags_by_model("ViT-B-32")
    assert OpenClip._options("ViT-B-32", "openai", tags)["force_quick_gelu"]
    assert "force_quick_gelu" not in OpenClip._options("ViT-B-32", "laion2b_s34b_b79k", tags)
