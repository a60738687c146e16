"""A checkpoint has to fit its architecture, to the name and shape of every tensor."""

import io
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import save

from benchmark.catalog import encoder_card, import_target
from leaderboard.validation.architecture import submittable
from leaderboard.validation.checks import check_file


def weights(arch: str = "random-pointnet") -> dict[str, torch.Tensor]:
    card = encoder_card(arch)
    module = import_target(card.target)(**card.options)
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.parametrize("arch", ["random-pointnet", "ssast-tiny-patch"])
def test_what_fits_is_accepted(arch: str) -> None:
    tensors = weights(arch)
    data = save(tensors)
    facts = check_file("checkpoint", io.BytesIO(data), len(data), "w", architecture=arch)
    assert facts["modality"] == encoder_card(arch).modality
    assert facts["parameters"] == sum(tensor.numel() for tensor in tensors.values())


def test_a_model_of_timm_needs_its_modality(refused: Callable[..., str]) -> None:
    import timm

    module = timm.create_model("resnet10t", pretrained=False, num_classes=0)
    data = save({f"model.{key}": value for key, value in module.state_dict().items()})
    for modality in ("histopathology", "echo"):
        facts = check_file(
            "checkpoint", io.BytesIO(data), len(data), "w",
            architecture="timm:resnet10t", modality=modality,
        )  # fmt: skip
        assert facts["modality"] == modality
    assert "--modality" in refused("checkpoint", data, architecture="timm:resnet10t")


def test_missing_surplus_and_misshapen_tensors_are_named(refused: Callable[..., str]) -> None:
    tensors = weights()
    first, second, *_ = tensors
    broken = {**tensors, "head.weight": torch.ones(2), second: torch.ones(3, 3, 3)}
    del broken[first]
    text = refused("checkpoint", save(broken), architecture="random-pointnet")
    assert f"missing: {first}" in text
    assert "surplus: head.weight" in text
    assert f"{second} is (3, 3, 3), should be" in text


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("random-pontnet", "Did you mean 'random-pointnet'"),
        ("mfcc", "has no weights"),
        ("hf:attacker/model", "there is no architecture"),
        ("open_clip:/etc/passwd", "there is no architecture"),
        ("onnx:/etc/passwd", "there is no architecture"),
        ("timm:hf-hub:attacker/model", "there is no architecture"),
        ("timm:../../model", "there is no architecture"),
        ("my_encoder.py:Mine", "there is no architecture"),
        ("<script>alert(1)</script>", "there is no architecture"),
        ("", "there is no architecture"),
    ],
)
def test_an_architecture_is_one_of_the_catalog(
    arch: str, words: str, refused: Callable[..., str]
) -> None:
    assert words in refused("checkpoint", save(weights()), architecture=arch)


def test_nothing_is_read_from_elsewhere(refused: Callable[..., str]) -> None:
    assert not any(card.kind == "adapter" for card in submittable().values())
    text = refused("checkpoint", save(weights()), architecture="random-pointnet", modality="audio")
    assert "takes pointcloud, not audio" in text
