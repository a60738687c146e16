"""VideoMAE: transformers' pretraining model as oracle and as source of the checkpoint."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import cosine_similarity
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEImageProcessor
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from baselines.echo import ENCODERS
from baselines.echo.videomae import VideoMAE
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError
from benchmark.inputs import input_spec

SMALL = {"size": 32, "dimension": 48, "depth": 2, "heads": 3, "mlp_dimension": 96}


def pretraining(**changes):
    torch.manual_seed(3)
    config = VideoMAEConfig(
        image_size=32,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        decoder_num_hidden_layers=1,
        decoder_hidden_size=24,
        decoder_intermediate_size=48,
        decoder_num_attention_heads=3,
        use_mean_pooling=False,
        **changes,
    )
    model = VideoMAEForPreTraining(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def hub_state(model):
    """As the published file has it: query and value biases beside the projections."""
    return {
        k.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): v.clone()
        for k, v in model.state_dict().items()
    }


@pytest.fixture(scope="module")
def model():
    return pretraining()


@pytest.mark.parametrize("layout", ["hub", "new"])
@torch.no_grad()
def test_the_mean_of_transformers_last_hidden_state(model, tmp_path, layout):
    state = hub_state(model) if layout == "hub" else model.state_dict()
    assert any(key.startswith("decoder.") for key in state)
    torch.save(state, tmp_path / "pytorch_model.bin")
    encoder = VideoMAE(**SMALL).eval()
    load_into(encoder, tmp_path / "pytorch_model.bin", "videomae")
    video = torch.randn(2, 3, 16, 32, 32)
    hidden = model.videomae(video.transpose(1, 2)).last_hidden_state
    assert torch.allclose(encoder(video), hidden.mean(1), atol=1e-5)
    patches = encoder.patches(video)
    assert torch.allclose(patches.flatten(1, 2), hidden[:, :4], atol=1e-5)
    states = model.videomae(video.transpose(1, 2), output_hidden_states=True).hidden_states
    layers = encoder.layers(video)
    assert layers.shape == (3, 2, 48)
    assert torch.allclose(layers, torch.stack([s.mean(1) for s in states]), atol=1e-5)


def test_pixels_are_those_of_transformers_processor():
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (61, 224, 224, 3), dtype=np.uint8)
    spec = input_spec("echo", VideoMAE(**SMALL | {"size": 224}).input)
    window = spec.windows({"video": video, "fps": 50.0})[0]
    assert window.length == 16
    processor = VideoMAEImageProcessor(  # the scaling of the authors' pretraining code
        image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD
    )
    expected = processor(list(video[::4]), return_tensors="np")["pixel_values"][0]
    got = spec.collate([window])["video"][0].numpy().swapaxes(0, 1)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@torch.no_grad()
def test_padding_and_half_precision():
    torch.manual_seed(0)
    encoder = VideoMAE(**SMALL).eval()
    video = torch.randn(3, 3, 16, 32, 32)
    lengths = torch.tensor([16, 7, 1])
    together = encoder(video, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(video[row : row + 1, :, :length], lengths[row : row + 1])
        assert torch.allclose(together[row : row + 1], alone, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(video, lengths)
    assert half.dtype == torch.float32
    assert cosine_similarity(half, together).min() > 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoder.layer.1.attention.attention.q_bias": None}, "missing: encoder.layer.1"),
        ({"classifier.weight": torch.ones(2, 2)}, "surplus: classifier.weight"),
        ({"layernorm.weight": torch.ones(5)}, "layernorm.weight is (5,), should be (48,)"),
    ],
)
def test_a_checkpoint_that_does_not_fit(model, tmp_path, change, words):
    state = hub_state(model)
    for key, value in change.items():
        state.pop(f"videomae.{key}", None)
        if value is not None:
            state[f"videomae.{key}"] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_into(VideoMAE(**SMALL), tmp_path / "w.safetensors", "videomae")


@pytest.mark.long
def test_the_card_counts_the_full_model():
    card = next(card for card in ENCODERS if card.name == "videomae")
    with torch.device("meta"):
        full = VideoMAE(**card.options)
    assert card.parameters == sum(p.numel() for p in full.parameters())
    assert card.dimension == full.model.config.hidden_size


def test_offline_without_the_file_it_says_where_it_is():
    with pytest.raises(EncoderError, match="MCG-NJU/videomae-base"):
        load_encoder("videomae", reduced=True)
