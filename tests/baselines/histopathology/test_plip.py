"""PLIP against open_clip's CLIP with the same weights; its tokens against transformers'."""

import pytest
import torch

from baselines.histopathology.plip import CONTEXT, Plip
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

GEOMETRY = {
    "image_size": 64,
    "patch": 16,
    "width": 64,
    "depth": 3,
    "heads": 1,  # open_clip wants heads of 64
    "text_width": 32,
    "text_depth": 2,
    "text_heads": 2,
    "dimension": 48,
}
TEXTS = [
    "An H&E image of adenocarcinoma.",
    "tumor",
    "",
    "Lymphocytes, naïve; 10% necrosis (Gleason 4+3) <b>" + " mucosa" * 90,
]


@pytest.fixture
def weights(randomise):
    """The published layout: `CLIPModel` keys, and the counters of older releases."""
    model = randomise(Plip(**GEOMETRY).clip)
    tensors = {key: value.clone() for key, value in model.state_dict().items()}
    return tensors | {
        "text_model.embeddings.position_ids": torch.arange(CONTEXT)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
    }


@pytest.fixture
def encoder(weights, save):
    plip = Plip(**GEOMETRY).eval()
    load_into(plip, save(weights), "plip")
    return plip


@pytest.fixture
def open_clip_model(weights):
    """The same weights in OpenAI's layout."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    model = CLIP(
        48,
        CLIPVisionCfg(layers=3, width=64, head_width=64, patch_size=16, image_size=64),
        CLIPTextCfg(width=32, heads=2, layers=2),
        quick_gelu=True,
    )
    w = weights
    layout = {
        "logit_scale": w["logit_scale"],
        "token_embedding.weight": w["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": w["text_model.embeddings.position_embedding.weight"],
        "text_projection": w["text_projection.weight"].T,
        "visual.class_embedding": w["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": w["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": w["vision_model.embeddings.patch_embedding.weight"],
        "visual.proj": w["visual_projection.weight"].T,
    }
    norms = {
        "ln_final": "text_model.final_layer_norm",
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
    }
    for ours, theirs, depth in (("", "text_model", 2), ("visual.", "vision_model", 3)):
        for i in range(depth):
            block, source = f"{ours}transformer.resblocks.{i}.", f"{theirs}.encoder.layers.{i}."
            norms |= {
                f"{block}ln_1": f"{source}layer_norm1",
                f"{block}ln_2": f"{source}layer_norm2",
                f"{block}mlp.c_fc": f"{source}mlp.fc1",
                f"{block}mlp.c_proj": f"{source}mlp.fc2",
                f"{block}attn.out_proj": f"{source}self_attn.out_proj",
            }
            for kind in ("weight", "bias"):
                parts = [w[f"{source}self_attn.{part}_proj.{kind}"] for part in "qkv"]
                layout[f"{block}attn.in_proj_{kind}"] = torch.cat(parts)
    for ours, theirs in norms.items():
        for kind in ("weight", "bias"):
            layout[f"{ours}.{kind}"] = w[f"{theirs}.{kind}"]
    model.load_state_dict(layout)
    return model.eval()


def test_images_and_texts_are_embedded_as_by_open_clip(encoder, open_clip_model):
    from open_clip.tokenizer import SimpleTokenizer

    image = torch.randn(3, 3, 64, 64)
    theirs = open_clip_model.encode_image(image)
    torch.testing.assert_close(encoder(image), theirs, rtol=0, atol=1e-4)
    theirs = open_clip_model.encode_text(SimpleTokenizer()(TEXTS))
    torch.testing.assert_close(encoder.encode_text(TEXTS), theirs, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def clip_tokenizer():
    """transformers' tokenizer, from the vocabulary in open_clip's package."""
    import open_clip.tokenizer as shipped
    from transformers import CLIPTokenizer

    source = shipped.SimpleTokenizer()
    ranked = sorted(source.bpe_ranks, key=source.bpe_ranks.get)
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): index for token, index in source.encoder.items()}
    return CLIPTokenizer(vocab=vocabulary, merges=ranked)


def test_tokens_equal_transformers(clip_tokenizer):
    from open_clip.tokenizer import SimpleTokenizer

    texts = [text for text in TEXTS if "<" not in text]  # open_clip unescapes and cleans markup
    texts += ["Lymphocytes, 10% necrosis (Gleason 4+3)" + " mucosa" * 90]
    ours = SimpleTokenizer(context_length=CONTEXT)(texts)
    theirs = clip_tokenizer(texts, max_length=CONTEXT, padding="max_length", truncation=True)
    start, end = 49_406, 49_407
    for row, ids, mask in zip(ours, theirs["input_ids"], theirs["attention_mask"], strict=True):
        length = sum(mask)
        assert row[:length].tolist() == ids[:length]
        assert row[0] == start
        assert row[length - 1] == end
        assert row.argmax() == length - 1  # the end token has the highest id: where CLIP pools
        assert not row[length:].any()


def test_padding_and_its_mask_change_nothing(encoder, clip_tokenizer):
    """As the authors' processor feeds it: padded by end tokens, with a mask; to 77 or not."""
    texts = TEXTS[:3]
    ours = encoder.encode_text(texts)
    for padding in ("max_length", "longest"):
        fed = clip_tokenizer(texts, max_length=CONTEXT, padding=padding, return_tensors="pt")
        pooled = encoder.clip.text_model(**fed).pooler_output
        theirs = encoder.clip.text_projection(pooled)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    alone = torch.cat([encoder.encode_text([text]) for text in texts])
    torch.testing.assert_close(ours, alone, rtol=0, atol=1e-5)


def test_patches_and_layers(encoder):
    image = torch.randn(2, 3, 64, 64)
    assert encoder.patches(image).shape == (2, 4, 4, 64)
    layers = encoder.layers(image)
    assert layers.shape == (3, 2, 64)
    torch.testing.assert_close(encoder.clip.visual_projection(layers[-1]), encoder(image))


def test_what_does_not_fit_is_named(weights, save):
    with pytest.raises(EncoderError, match="missing: visual_projection.weight"):
        entries = {k: v for k, v in weights.items() if k != "visual_projection.weight"}
        load_into(Plip(**GEOMETRY), save(entries), "plip")
    with pytest.raises(EncoderError, match="surplus: lora.weight"):
        load_into(Plip(**GEOMETRY), save(weights | {"lora.weight": torch.zeros(1)}), "plip")
    with pytest.raises(EncoderError, match=r"should be"):
        load_into(Plip(**(GEOMETRY | {"dimension": 24})), save(weights), "plip")


def test_the_card(meets_its_card):
    meets_its_card("plip")
