"""UNI and UNI 2 against timm's model as the authors build it."""

import pytest
import timm
import torch

from baselines.histopathology.uni import Uni
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

SMALL = {"embed_dim": 96, "depth": 3, "num_heads": 4}
# the authors' settings (README of mahmoodlab/UNI), narrowed
UNI = {
    "model_name": "vit_large_patch16_224",
    "img_size": 64,
    "patch_size": 16,
    "init_values": 1e-5,
    "num_classes": 0,
    "dynamic_img_size": True,
    **SMALL,
}
UNI2 = UNI | {
    "model_name": "vit_giant_patch14_224",
    "img_size": 56,
    "patch_size": 14,
    "mlp_ratio": 2.66667 * 2,
    "no_embed_class": True,
    "mlp_layer": timm.layers.SwiGLUPacked,
    "act_layer": torch.nn.SiLU,
    "reg_tokens": 8,
}
OURS = {"image_size": 64, "width": 96, "depth": 3, "heads": 4}
OURS2 = OURS | {
    "image_size": 56,
    "patch": 14,
    "mlp_ratio": 2.66667 * 2,
    "registers": 8,
    "gated_mlp": True,
}


@pytest.fixture(params=[(UNI, OURS), (UNI2, OURS2)], ids=["uni", "uni2-h"])
def pair(request, randomise):
    theirs, ours = request.param
    return randomise(timm.create_model(**theirs)), Uni(**ours).eval(), ours


def test_the_published_file_gives_timms_embedding(pair, save):
    theirs, ours, options = pair
    load_into(ours, save(theirs.state_dict()), "uni")
    image = torch.randn(3, 3, options["image_size"], options["image_size"])
    torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=1e-5)
    tokens = theirs.forward_features(image)
    torch.testing.assert_close(ours.patches(image).flatten(1, 2), tokens[:, -16:])
    layers = ours.layers(image)
    assert layers.shape == (3, 3, 96)
    torch.testing.assert_close(layers[-1], tokens[:, 0])


def test_another_tile_size_interpolates_positions(pair, save):
    theirs, ours, options = pair
    load_into(ours, save(theirs.state_dict()), "uni")
    side = 6 * options.get("patch", 16)
    image = torch.randn(2, 3, side, side)
    torch.testing.assert_close(ours(image), theirs(image), rtol=0, atol=1e-5)
    assert ours.patches(image).shape == (2, 6, 6, 96)


def test_what_does_not_fit_is_named(pair, save):
    theirs, ours, _ = pair
    weights = theirs.state_dict()
    with pytest.raises(EncoderError, match=r"missing: blocks\.1\.ls2\.gamma"):
        entries = {key: value for key, value in weights.items() if key != "blocks.1.ls2.gamma"}
        load_into(ours, save(entries), "uni")
    with pytest.raises(EncoderError, match=r"surplus: head\.bias"):
        load_into(ours, save(weights | {"head.bias": torch.zeros(3)}), "uni")
    with pytest.raises(EncoderError, match=r"\(96,\), should be \(48,\)"):
        load_into(Uni(image_size=64, width=48, depth=3, heads=4), save(weights), "uni")


def test_one_uni_is_not_the_other(randomise, save):
    first = randomise(timm.create_model(**UNI))
    with pytest.raises(EncoderError, match="missing: reg_token"):
        load_into(Uni(**OURS2), save(first.state_dict()), "uni2-h")


@pytest.mark.parametrize("name", ["uni", "uni2-h"])
def test_the_card(name, meets_its_card):
    meets_its_card(name)
