"""EchoCLIP: open_clip's model and tokeniser as oracle."""

import re

import open_clip
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from baselines.echo import ENCODERS
from baselines.echo.echoclip import CLIP_MEAN, CLIP_STD, EchoClip
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

CARD = next(card for card in ENCODERS if card.name == "echoclip")
PROMPTS = ["LV EJECTION FRACTION IS 60%. ", "SEVERE DILATED LEFT VENTRICLE. "]


def theirs(**options):
    torch.manual_seed(6)
    facts = open_clip.get_model_config("convnext_base")
    vision = {**facts["vision_cfg"], "timm_model_name": "convnext_atto", "image_size": 64}
    text = {**facts["text_cfg"], "width": 64, "heads": 2, "layers": 1}
    return open_clip.CLIP(embed_dim=64, vision_cfg=vision, text_cfg=text).eval()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    model = theirs()
    path = tmp_path_factory.mktemp("echoclip") / "open_clip_pytorch_model.bin"
    torch.save(model.state_dict(), path)
    encoder = EchoClip(**CARD.reduced).eval()
    load_into(encoder, path, "echoclip")
    return model, encoder


@torch.no_grad()
def test_images_and_texts_are_those_of_open_clip(pair):
    model, encoder = pair
    video, lengths = torch.randn(2, 3, 4, 64, 64), torch.tensor([4, 2])
    expected = torch.stack(
        [
            normalize(model.encode_image(clip[:, :length].transpose(0, 1)), dim=-1).mean(0)
            for clip, length in zip(video, lengths.tolist(), strict=True)
        ]
    )
    out = encoder(video, lengths)
    assert torch.allclose(out, expected, atol=1e-6)
    texts = normalize(model.encode_text(open_clip.tokenize(PROMPTS)), dim=-1)
    assert torch.allclose(encoder.encode_text(PROMPTS), texts, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(video, lengths)
    assert half.dtype == torch.float32
    assert cosine_similarity(half, out).min() > 0.999


@torch.no_grad()
def test_text_does_not_depend_on_its_neighbours_and_long_text_is_cut(pair):
    _, encoder = pair
    long = "ejection fraction " * 100
    together = encoder.encode_text([*PROMPTS, long])
    assert together.shape == (3, 64)
    assert torch.allclose(encoder.encode_text(PROMPTS[:1]), together[:1], atol=1e-6)
    assert torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ln_final.weight": None}, "missing: ln_final.weight"),
        ({"visual.trunk.extra": torch.ones(1)}, "surplus: visual.trunk.extra"),
        ({"text_projection": torch.ones(64, 32)}, "text_projection is (64, 32), should be"),
    ],
)
def test_a_checkpoint_that_does_not_fit(pair, tmp_path, change, words):
    state = dict(pair[0].state_dict())
    for key, value in change.items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    torch.save(state, tmp_path / "w.bin")
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_into(EchoClip(**CARD.reduced), tmp_path / "w.bin", "echoclip")


def test_the_full_architecture_and_scaling_are_open_clips():
    with torch.device("meta"):
        full = EchoClip(**CARD.options)
        built = open_clip.CLIP(**open_clip.get_model_config("convnext_base"))
    shapes = {key: value.shape for key, value in full.model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in built.state_dict().items()}
    assert CARD.parameters == sum(p.numel() for p in full.parameters())
    assert CARD.dimension == full.model.text_projection.shape[1]
    assert CLIP_MEAN == open_clip.OPENAI_DATASET_MEAN
    assert CLIP_STD == open_clip.OPENAI_DATASET_STD
