"""CONCH against open_clip's CoCa towers, whose layout it shares, and its vocabulary file."""

import hashlib
import io
import json
from urllib.error import URLError

import pytest
import torch

from baselines.histopathology import conch_text
from baselines.histopathology.conch import Conch
from benchmark.checkpoint import load_into
from benchmark.errors import EncoderError

GEOMETRY = {
    "image_size": 64,
    "width": 64,
    "depth": 3,
    "heads": 4,
    "text_width": 32,
    "text_depth": 3,
    "text_heads": 4,
    "vocabulary": 300,
    "context": 24,
    "dimension": 40,
    "tokenizer": "bytes",
}
TEXTS = ["an H&E image of tumor", "stroma", "", "a text that is longer than the context has room"]


@pytest.fixture
def published(randomise):
    """The published layout; with the captioning pooler and the temperature, as in the file."""
    weights = {k: v.clone() for k, v in randomise(Conch(**GEOMETRY)).state_dict().items()}
    return weights | {
        "logit_scale": torch.tensor(4.6),
        "visual.attn_pool_caption.query": torch.zeros(256, 64),
        "visual.attn_pool_caption.attn.in_proj_weight": torch.zeros(192, 64),
        "visual.ln_caption.weight": torch.zeros(64),
    }


@pytest.fixture
def encoder(published, save):
    conch = Conch(**GEOMETRY).eval()
    load_into(conch, save(published), "conch")
    return conch


def part(weights, prefix):
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def test_images_are_embedded_as_by_timm_and_open_clip(encoder, published):
    from open_clip.transformer import AttentionalPooler
    from timm.models.vision_transformer import vit_base_patch16_224

    trunk = vit_base_patch16_224(
        img_size=64, embed_dim=64, depth=3, num_heads=4, num_classes=0, dynamic_img_size=True
    ).eval()
    trunk.load_state_dict(part(published, "visual.trunk."))
    pooler = AttentionalPooler(40, 64, n_head=8, n_queries=1).eval()
    pooler.load_state_dict(part(published, "visual.attn_pool_contrast."))
    image = torch.randn(3, 3, 64, 64)
    tokens = trunk.forward_features(image)
    norm = torch.nn.LayerNorm(40)
    norm.load_state_dict(part(published, "visual.ln_contrast."))
    theirs = norm(pooler(tokens)[:, 0])
    torch.testing.assert_close(encoder(image), theirs, rtol=0, atol=1e-4)
    joint = theirs @ published["visual.proj_contrast"]
    torch.testing.assert_close(encoder.joint(image), joint, rtol=0, atol=1e-4)
    torch.testing.assert_close(encoder.patches(image).flatten(1, 2), tokens[:, 1:])
    layers = encoder.layers(image)
    assert layers.shape == (3, 3, 64)
    torch.testing.assert_close(layers[-1], tokens[:, 0])


def test_texts_are_embedded_as_by_open_clip(encoder, published):
    """open_clip keeps the misplaced mask of the class token for models trained with it."""
    from open_clip.transformer import TextTransformer

    tower = TextTransformer(
        context_length=23,  # it adds the class token
        vocab_size=300,
        width=32,
        heads=4,
        layers=3,
        output_dim=40,
        embed_cls=True,
        pad_id=0,
        correct_cls_mask=False,
    ).eval()
    tower.load_state_dict(part(published, "text."))
    tokens = conch_text.byte_tokens(TEXTS, 23)
    theirs = tower(tokens)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(encoder.encode_text(TEXTS), theirs, rtol=0, atol=1e-4)


def test_a_text_does_not_depend_on_its_neighbours(encoder):
    together = encoder.encode_text(TEXTS)
    alone = torch.cat([encoder.encode_text([text]) for text in TEXTS])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.pdist(together).min() > 1e-3


def test_what_does_not_fit_is_named(published, save):
    with pytest.raises(EncoderError, match="missing: text.cls_emb"):
        entries = {k: v for k, v in published.items() if k != "text.cls_emb"}
        load_into(Conch(**GEOMETRY), save(entries), "conch")
    with pytest.raises(EncoderError, match="surplus: visual.head.weight"):
        entries = published | {"visual.head.weight": torch.zeros(1)}
        load_into(Conch(**GEOMETRY), save(entries), "conch")
    with pytest.raises(EncoderError, match=r"should be"):
        load_into(Conch(**(GEOMETRY | {"dimension": 80})), save(published), "conch")


@pytest.fixture
def vocabulary(tmp_path):
    """A small vocabulary file of the published one's make: byte-level BPE, uncased."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer

    tokenizer = Tokenizer(models.BPE())
    parts = [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(parts)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<start_of_text>", "<end_of_text>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=290, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["tumor stroma tumor tissue necrosis"] * 20, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start_of_text> $A <end_of_text>",
        special_tokens=[("<start_of_text>", 1), ("<end_of_text>", 2)],
    )
    path = tmp_path / "vocabulary.json"
    tokenizer.save(str(path))
    return path


def test_tokens_equal_transformers(vocabulary):
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(vocabulary),
        bos_token="<start_of_text>",
        eos_token="<end_of_text>",
        pad_token="<pad>",
    )
    texts = ["Tumor, naïve stroma", "", "tissue " * 40]
    ours = conch_text.vocabulary_tokens(texts, 23, conch_text.read_vocabulary(vocabulary))
    fed = theirs(texts, max_length=23, truncation=True, padding="max_length", return_tensors="pt")
    assert torch.equal(ours, fed["input_ids"])
    assert ours[1].tolist()[:3] == [1, 2, 0]
    assert ours[2, -1] == 2  # cut before the end token


def test_texts_by_a_vocabulary_file(vocabulary):
    torch.manual_seed(0)
    conch = Conch(**(GEOMETRY | {"tokenizer": str(vocabulary)})).eval()
    lower, upper, other = conch.encode_text(["naive tumor", "Naïve TUMOR", "stroma"])
    torch.testing.assert_close(lower, upper)
    assert not torch.allclose(lower, other)


def test_the_vocabulary_is_read_once_for_all_classes(vocabulary):
    conch = Conch(**(GEOMETRY | {"tokenizer": str(vocabulary)})).eval()
    first = conch.encode_text(["tumor"])
    vocabulary.unlink()
    torch.testing.assert_close(conch.encode_text(["tumor"]), first)


def test_offline_nothing_is_asked_for(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(conch_text, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set.*save https://.* as /"):
        conch_text.published_vocabulary()


def test_the_published_vocabulary_is_downloaded_once_and_checked(monkeypatch, vocabulary):
    content = vocabulary.read_bytes()
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return io.BytesIO(content)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(conch_text, "urlopen", answer)
    with pytest.raises(EncoderError, match="not the published file"):
        conch_text.published_vocabulary()
    monkeypatch.setattr(conch_text, "VOCABULARY_SHA256", hashlib.sha256(content).hexdigest())
    path = conch_text.published_vocabulary()
    assert json.loads(path.read_bytes())["model"]["type"] == "BPE"
    assert conch_text.published_vocabulary() == path
    assert asked == [conch_text.VOCABULARY_URL] * 2
    path.write_text("{}")
    with pytest.raises(EncoderError, match="delete it and run again"):
        conch_text.published_vocabulary()


def test_offline_the_vocabulary_is_asked_for(monkeypatch):
    def fail(url, timeout):
        raise URLError("no route to host")

    monkeypatch.setattr(conch_text, "urlopen", fail)
    with pytest.raises(
        EncoderError, match=r"save https://raw\.githubusercontent\.com/.* as .*json"
    ):
        Conch(**(GEOMETRY | {"tokenizer": "published"})).encode_text(["tumor"])


def test_the_card(meets_its_card):
    meets_its_card("conch")
