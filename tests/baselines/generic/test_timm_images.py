"""`timm:NAME` takes the weights that timm saves."""

import pytest
import timm
import torch

from baselines.generic.timm_images import TimmImages
from benchmark.errors import EncoderError

NAME = "test_vit"


@pytest.fixture
def published() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=5).eval()


def fresh() -> TimmImages:
    torch.manual_seed(1)
    return TimmImages(NAME, pretrained=False, modality="histopathology").eval()


@pytest.mark.parametrize("prefix", ["", "model."])
def test_timms_own_checkpoint_with_its_classifier_fits(
    published: torch.nn.Module, prefix: str
) -> None:
    encoder = fresh()
    entries = {f"{prefix}{key}": value for key, value in published.state_dict().items()}
    encoder.load_checkpoint(entries)
    image = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        expected = published.forward_head(published.forward_features(image), pre_logits=True)
        assert torch.equal(encoder(image), expected)


def test_weights_of_another_model_are_named(published: torch.nn.Module) -> None:
    entries = published.state_dict()
    del entries["blocks.0.attn.qkv.weight"]
    with pytest.raises(EncoderError, match=r"missing: blocks.0.attn.qkv.weight"):
        fresh().load_checkpoint(entries)
