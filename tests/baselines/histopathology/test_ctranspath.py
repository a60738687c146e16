"""CTransPath against transformers' Swin with the same weights, in the authors' layout."""

import pytest
import torch

from baselines.histopathology.ctranspath import ConvStem, CTransPath
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

GEOMETRY = {"image_size": 64, "window": 4, "width": 16, "depths": (2, 2, 2), "heads": (2, 4, 8)}


@pytest.fixture
def published(randomise):
    """The layout of timm 0.5.4: downsampling counted to the stage before, buffers stored."""
    weights = {}
    for key, value in randomise(CTransPath(**GEOMETRY).swin).state_dict().items():
        name = key
        if ".downsample." in key:
            _, stage, rest = key.split(".", 2)
            name = f"layers.{int(stage) - 1}.{rest}"
        weights[name] = value.clone()
    index = torch.zeros(16, 16, dtype=torch.long)
    return weights | {
        "layers.0.blocks.0.attn.relative_position_index": index,
        "layers.0.blocks.1.attn.relative_position_index": index,
        "layers.0.blocks.1.attn_mask": torch.zeros(16, 16, 16),
    }


class Stem(torch.nn.Module):
    """transformers expects its projection to give channels first."""

    def __init__(self, stem: torch.nn.Module) -> None:
        super().__init__()
        self.stem = stem

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.stem(pixels)


@pytest.fixture
def theirs(published):
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(
        image_size=64, embed_dim=16, depths=(2, 2, 2), num_heads=(2, 4, 8), window_size=4
    )
    model = SwinModel(config).eval()
    stem = ConvStem(64, embed_dim=16)
    layers = {k.removeprefix("patch_embed."): v for k, v in published.items()}
    stem.proj.load_state_dict(
        {k.removeprefix("proj."): v for k, v in layers.items() if k.startswith("proj.")}
    )
    model.embeddings.patch_embeddings.projection = Stem(stem.proj.eval())
    copies = {
        "patch_embed.norm": model.embeddings.norm,
        "norm": model.layernorm,
    }
    for s, stage in enumerate(model.encoder.layers):
        if s < 2:
            copies[f"layers.{s}.downsample.norm"] = stage.downsample.norm
            copies[f"layers.{s}.downsample.reduction"] = stage.downsample.reduction
        for b, block in enumerate(stage.blocks):
            name = f"layers.{s}.blocks.{b}."
            attention = block.attention
            table = published[f"{name}attn.relative_position_bias_table"]
            tables = [p for p in attention.parameters() if p.shape == table.shape]
            tables[0].copy_(table)
            linears = [m for m in block.modules() if isinstance(m, torch.nn.Linear)]
            for kind in ("weight", "bias"):
                parts = published[f"{name}attn.qkv.{kind}"].chunk(3)
                for linear, value in zip(linears[:3], parts, strict=True):  # query, key, value
                    getattr(linear, kind).copy_(value)
            copies[f"{name}attn.proj"] = linears[3]
            copies[f"{name}mlp.fc1"] = linears[4]
            copies[f"{name}mlp.fc2"] = linears[5]
            copies[f"{name}norm1"] = block.layernorm_before
            copies[f"{name}norm2"] = block.layernorm_after
    for name, module in copies.items():
        module.weight.copy_(published[f"{name}.weight"])
        if module.bias is not None:
            module.bias.copy_(published[f"{name}.bias"])
    return model


def test_the_published_file_gives_transformers_embedding(published, theirs, save):
    encoder = CTransPath(**GEOMETRY).eval()
    load_into(encoder, save({"model": published}), "ctranspath")
    image = torch.randn(3, 3, 64, 64)
    output = theirs(pixel_values=image)
    torch.testing.assert_close(encoder(image), output.pooler_output, rtol=0, atol=1e-4)
    tokens = encoder.patches(image).flatten(1, 2)
    torch.testing.assert_close(tokens, output.last_hidden_state, rtol=0, atol=1e-4)


def test_the_stem_by_its_definition(randomise):
    """Two strided convolutions with batch normalisation in evaluation mode, then 1 x 1."""
    stem = randomise(ConvStem(32, embed_dim=16))
    image = torch.randn(2, 3, 32, 32)
    x, w = image, stem.proj
    for i in (0, 3):
        x = torch.nn.functional.conv2d(x, w[i].weight, stride=2, padding=1)
        x = torch.nn.functional.batch_norm(
            x, w[i + 1].running_mean, w[i + 1].running_var, w[i + 1].weight, w[i + 1].bias
        ).relu()
    x = torch.einsum("bchw,dc->bhwd", x, w[6].weight[:, :, 0, 0]) + w[6].bias
    torch.testing.assert_close(stem(image), x)
    assert x.shape == (2, 8, 8, 16)


def test_what_does_not_fit_is_named(published, save):
    key = "layers.1.downsample.reduction.weight"
    with pytest.raises(EncoderError, match=f"ctranspath; missing: {key}"):
        entries = {k: v for k, v in published.items() if k != key}
        load_into(CTransPath(**GEOMETRY), save({"model": entries}), "ctranspath")
    with pytest.raises(EncoderError, match=r"missing: layers\.2\.blocks\.0\.mlp\.fc1\.bias"):
        entries = {k: v for k, v in published.items() if k != "layers.2.blocks.0.mlp.fc1.bias"}
        load_into(CTransPath(**GEOMETRY), save({"model": entries}), "ctranspath")
    with pytest.raises(EncoderError, match=r"surplus: head\.fc\.weight"):
        entries = published | {"head.fc.weight": torch.zeros(2)}
        load_into(CTransPath(**GEOMETRY), save(entries), "ctranspath")
    with pytest.raises(EncoderError, match=r"should be"):
        load_into(CTransPath(**(GEOMETRY | {"width": 32})), save(published), "ctranspath")


def test_the_card(meets_its_card):
    meets_its_card("ctranspath")
