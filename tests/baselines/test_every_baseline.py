"""Every encoder that needs no weights passes `ssl-bench check`, and its card tells the truth."""

import pytest

from benchmark.catalog import encoder_cards
from benchmark.check import check_encoder
from benchmark.encoder import load_encoder

NAMES = [
    card.name
    for card in encoder_cards().values()
    if card.kind in ("features", "control") and card.target.startswith("baselines.")
]


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_passes_the_check(name: str) -> None:
    encoder = load_encoder(name)
    failed = [finding for finding in check_encoder(encoder) if not finding.passed]
    assert failed == []
    card = encoder_cards()[name]
    assert encoder.modality == card.modality
    parameters = sum(parameter.numel() for parameter in encoder.module.parameters())
    assert (card.parameters or 0) == parameters
    assert (card.kind == "control") == (parameters > 0)
    assert card.licence
    assert card.title
