"""Self-ViT against a transformer written out in plain tensor operations."""

from argparse import Namespace

import pytest
import torch
from torch.nn.functional import gelu, layer_norm

from baselines.histopathology.self_vit import SelfViT
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

SIZE, PATCH, WIDTH, DEPTH, HEADS = 48, 8, 32, 5, 4


def build(**options):
    geometry = {"image_size": SIZE, "patch": PATCH, "width": WIDTH, "depth": DEPTH, "heads": HEADS}
    return SelfViT(**{**geometry, **options}).eval()


@pytest.fixture
def backbone(randomise):
    """Random weights under the names of the authors' `VisionTransformer`."""
    return {k: v.clone() for k, v in randomise(build().vit).state_dict().items()}


def dino_checkpoint(backbone, prefix):
    """What `train_dino.py` saves, without the run's settings."""
    teacher = {f"{prefix}backbone.{key}": value for key, value in backbone.items()}
    head = {f"{prefix}head.mlp.0.weight": torch.ones(4, WIDTH), f"{prefix}head.last_layer": ()}
    student = {key: torch.zeros_like(value) for key, value in teacher.items()}
    return {"student": student, "teacher": teacher | head, "optimizer": {"state": {}}, "epoch": 100}


def reference(w, image):
    """The four last class tokens and the mean patch token, by the definition."""

    def norm(x, name):
        return layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    cut = image.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # (B, 3, H', W', P, P)
    flat = cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
    tokens = flat @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(len(image), -1, -1), tokens], 1) + w["pos_embed"]
    outputs = []
    for i in range(DEPTH):
        name = f"blocks.{i}"
        q, k, v = dense(norm(x, f"{name}.norm1"), f"{name}.attn.qkv").chunk(3, -1)
        heads = []
        for a, b, c in zip(*(t.split(WIDTH // HEADS, -1) for t in (q, k, v)), strict=True):
            heads.append((a @ b.mT / (WIDTH // HEADS) ** 0.5).softmax(-1) @ c)
        x = x + dense(torch.cat(heads, -1), f"{name}.attn.proj")
        hidden = gelu(dense(norm(x, f"{name}.norm2"), f"{name}.mlp.fc1"))
        x = x + dense(hidden, f"{name}.mlp.fc2")
        outputs.append(norm(x, "norm"))
    return outputs, torch.cat([o[:, 0] for o in outputs[-4:]] + [outputs[-1][:, 1:].mean(1)], 1)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_teacher_gives_the_references_feature(backbone, save, prefix):
    encoder = build()
    load_into(encoder, save(dino_checkpoint(backbone, prefix)), "self-vit")
    image = torch.randn(3, 3, SIZE, SIZE)
    outputs, feature = reference(backbone, image)
    assert feature.shape == (3, 5 * WIDTH)
    torch.testing.assert_close(encoder(image), feature, rtol=0, atol=1e-5)
    layers = torch.stack([output[:, 0] for output in outputs])
    torch.testing.assert_close(encoder.layers(image), layers, rtol=0, atol=1e-5)
    grid = outputs[-1][:, 1:].unflatten(1, (SIZE // PATCH, SIZE // PATCH))
    torch.testing.assert_close(encoder.patches(image), grid, rtol=0, atol=1e-5)


def test_a_checkpoint_with_the_runs_settings_loads(backbone, save):
    """DINO saves its argparse settings beside the weights."""
    entries = dino_checkpoint(backbone, "") | {"args": Namespace(arch="vit_base", patch_size=16)}
    encoder = build()
    load_into(encoder, save(entries), "self-vit")
    torch.testing.assert_close(encoder.vit.norm.weight, backbone["norm.weight"])


def test_a_backbone_alone_loads(backbone, save):
    encoder = build()
    load_into(encoder, save(backbone), "self-vit")
    torch.testing.assert_close(encoder.vit.cls_token, backbone["cls_token"])


def test_what_does_not_fit_is_named(backbone, save):
    missing = {key: value for key, value in backbone.items() if key != "blocks.2.norm1.bias"}
    with pytest.raises(EncoderError, match=r"self-vit; missing: blocks\.2\.norm1\.bias"):
        load_into(build(), save(dino_checkpoint(missing, "module.")), "self-vit")
    surplus = backbone | {"fc.weight": torch.zeros(2)}
    with pytest.raises(EncoderError, match=r"surplus: fc\.weight"):
        load_into(build(), save({"teacher": surplus}), "self-vit")
    with pytest.raises(EncoderError, match=r"pos_embed is \(1, 37, 32\), should be \(1, 17, 32\)"):
        load_into(build(image_size=32), save(backbone), "self-vit")


def test_the_card(meets_its_card):
    meets_its_card("self-vit")
