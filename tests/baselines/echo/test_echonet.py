"""EchoNet-Dynamic's R(2+1)D: torchvision's model as oracle, the authors' padding and layout."""

import re

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity
from torchvision.models.video import r2plus1d_18

from baselines.echo import ENCODERS
from baselines.echo.echonet import MEAN, STD, EchoNetR2Plus1D
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError
from benchmark.inputs import input_spec


@pytest.fixture(scope="module")
def theirs():
    """The authors' network: torchvision's, with one output."""
    torch.manual_seed(4)
    model = r2plus1d_18(weights=None)
    model.fc = torch.nn.Linear(model.fc.in_features, 1)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model.eval()


def authors_state(model):
    return {f"module.{key}": value for key, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def loaded(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("echonet") / "r2plus1d_18_32_2_pretrained.pt"
    state = {"epoch": 28, "state_dict": authors_state(theirs), "period": 2, "frames": 32}
    torch.save({**state, "best_loss": 29.7, "opt_dict": {"state": {}}}, path)
    encoder = EchoNetR2Plus1D(frames=8, size=32).eval()
    load_into(encoder, path, "echonet-r2plus1d")
    return encoder


@torch.no_grad()
def test_the_features_under_the_authors_regression(theirs, loaded):
    video = torch.randn(2, 3, 8, 32, 32)
    features = loaded(video, torch.tensor([8, 8]))
    assert features.shape == (2, 512)
    assert torch.allclose(theirs.fc(features), theirs(video), atol=1e-5)
    patches = loaded.patches(video)
    assert patches.shape == (2, 2, 2, 512)


@torch.no_grad()
def test_a_short_clip_ends_in_the_mean_colour(theirs, loaded):
    video = torch.randn(1, 3, 5, 32, 32)
    filled = torch.cat([video, torch.zeros(1, 3, 3, 32, 32)], 2)
    alone = loaded(video, torch.tensor([5]))
    assert torch.allclose(theirs.fc(alone), theirs(filled), atol=1e-5)
    noisy = torch.cat([video, torch.full((1, 3, 3, 32, 32), 7.0)], 2)
    batch = torch.cat([noisy, torch.randn(1, 3, 8, 32, 32)])
    together = loaded(batch, torch.tensor([5, 8]))[:1]
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_windows_are_the_authors_clips():
    encoder = load_encoder("echonet-r2plus1d", init="random", input_options=None).module
    rng = np.random.default_rng(0)
    video = rng.integers(0, 256, (100, 112, 112), dtype=np.uint8)
    spec = input_spec("echo", encoder.input)
    windows = spec.windows({"video": video, "fps": 50.0})
    assert [w.length for w in windows] == [32, 18]
    mean, std = np.array(MEAN) * 255, np.array(STD) * 255
    for start, window in zip((0, 64), windows, strict=True):
        frames = video[start : start + 2 * window.length : 2].astype(np.float32)
        expected = (frames[None] - mean[:, None, None, None]) / std[:, None, None, None]
        found = spec.collate([window])["video"][0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.long
@torch.no_grad()
def test_half_precision_gives_the_same_direction(loaded):
    video = torch.randn(2, 3, 8, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        half = loaded(video, torch.tensor([8, 5]))
    assert half.dtype == torch.float32
    assert cosine_similarity(half, loaded(video, torch.tensor([8, 5]))).min() > 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stem.0.weight": None}, "missing: stem.0.weight"),
        ({"layer5.0.weight": torch.ones(1)}, "surplus: layer5.0.weight"),
        ({"stem.1.bias": torch.ones(3)}, "stem.1.bias is (3,), should be (45,)"),
    ],
)
def test_a_checkpoint_that_does_not_fit(theirs, tmp_path, change, words):
    state = authors_state(theirs)
    for key, value in change.items():
        state.pop(f"module.{key}", None)
        if value is not None:
            state[f"module.{key}"] = value
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    with pytest.raises(EncoderError, match=re.escape(words)):
        load_into(EchoNetR2Plus1D(), tmp_path / "w.pt", "echonet-r2plus1d")


def test_the_card_counts_the_full_model(theirs):
    card = next(card for card in ENCODERS if card.name == "echonet-r2plus1d")
    without_head = sum(p.numel() for n, p in theirs.named_parameters() if not n.startswith("fc."))
    assert card.parameters == without_head
    assert card.dimension == 512


def test_without_its_file_it_says_where_to_get_it():
    with pytest.raises(EncoderError, match="r2plus1d_18_32_2_pretrained.pt.*--checkpoint"):
        load_encoder("echonet-r2plus1d", reduced=True)
