"""Every encoder of the catalogue passes `ssl-bench check`, and its card tells the truth.

Published encoders are built untrained and, where their card says how, shallow.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmark.catalog import EncoderCard, encoder_cards, import_target
from benchmark.check import check_encoder, example_inputs
from benchmark.checkpoint import load_into
from benchmark.encoder import load_encoder
from benchmark.errors import EncoderError
from benchmark.forward import EmbedOptions, forward
from benchmark.modalities import MODALITIES

CARDS = [card for card in encoder_cards().values() if card.target.startswith("baselines.")]
NAMED = [card for card in CARDS if card.kind != "adapter"]
PUBLISHED = [card for card in NAMED if card.kind == "pretrained"]


def ids(card: EncoderCard) -> str:
    return card.name


@pytest.mark.long
@pytest.mark.parametrize("card", NAMED, ids=ids)
def test_an_encoder_passes_the_check(card: EncoderCard) -> None:
    published = card.kind == "pretrained"
    encoder = load_encoder(card.name, init="random" if published else None, reduced=published)
    failed = [finding for finding in check_encoder(encoder) if not finding.passed]
    assert failed == []
    assert encoder.modality == card.modality
    parameters = sum(parameter.numel() for parameter in encoder.module.parameters())
    if not published:
        assert (card.parameters or 0) == parameters
        assert (card.kind == "control") == (parameters > 0)


@pytest.mark.parametrize("card", CARDS, ids=ids)
def test_a_card_is_complete(card: EncoderCard) -> None:
    assert card.title
    assert card.licence
    assert card.kind == "adapter" or card.modality in MODALITIES
    if card.kind == "pretrained":
        assert card.paper
        assert card.pretraining != "none"
        assert card.dimension
        assert card.summary
        assert card.weights or card.hub
        assert card.reported, "what do the authors report? Say so too where nothing was found."
        if card.hub is not None and card.hub.revision != "main":
            assert len(card.hub.revision) == 40


@pytest.mark.parametrize("card", PUBLISHED, ids=ids)
def test_a_published_encoder_has_the_stated_size(card: EncoderCard) -> None:
    with torch.device("meta"):
        module = import_target(card.target)(**card.options)
    assert sum(parameter.numel() for parameter in module.parameters()) == card.parameters


ARCHITECTURES = list({card.target: card for card in PUBLISHED}.values())


@pytest.mark.parametrize("card", ARCHITECTURES, ids=ids)
def test_half_precision_keeps_the_direction(card: EncoderCard) -> None:
    encoder = load_encoder(card.name, init="random", reduced=True)
    windows = [encoder.spec.windows(example)[0] for example in example_inputs(encoder, 0)]
    batch = encoder.spec.collate(windows)
    exact, rounded = (
        forward(encoder, batch, "clip", EmbedOptions("cpu", precision))["values"]
        for precision in ("float32", "bfloat16")
    )
    a, b = (torch.from_numpy(values).flatten(1) for values in (exact, rounded))
    assert torch.cosine_similarity(a, b).min() >= 0.999


@pytest.mark.parametrize("card", ARCHITECTURES, ids=ids)
def test_another_systems_file_is_refused_whole(card: EncoderCard, tmp_path: Path) -> None:
    with torch.device("meta"):
        module = import_target(card.target)(**{**card.options, **card.reduced})
    keys = set(module.state_dict())
    path = tmp_path / "other.safetensors"
    save_file({"net.0.weight": torch.zeros(3, 4), "net.0.bias": torch.zeros(3)}, path)
    with pytest.raises(EncoderError, match=rf"does not fit {card.name}; missing: \w"):
        load_into(module, path, card.name)
    assert set(module.state_dict()) == keys
