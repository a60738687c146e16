"""The control: towers, masks, seeds."""

from __future__ import annotations

import pytest
import torch

from baselines.astronomy import ENCODERS
from baselines.astronomy.random_transformer import METADATA, RandomTransformer


@pytest.fixture
def encoder() -> RandomTransformer:
    torch.manual_seed(0)
    return RandomTransformer().eval()


def light_curves(lengths: list[int], padding: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    photometry = torch.zeros(len(lengths), max(lengths) + padding, 4)
    for row, length in zip(photometry, lengths, strict=True):
        row[:length, 0] = torch.rand(length).cumsum(0) * 20
        row[:length, 1] = torch.randn(length) * 30
        row[:length, 2] = torch.rand(length) + 1
        row[:length, 3] = torch.randint(0, 6, (length,))
    return {"photometry": photometry, "lengths": torch.tensor(lengths)}


@torch.inference_mode()
def test_padding_and_batch_do_not_matter(encoder):
    lengths = [40, 17, 25]
    whole = encoder(**light_curves(lengths))
    torch.testing.assert_close(
        encoder(**light_curves(lengths, padding=30)), whole, atol=1e-5, rtol=1e-4
    )
    curves = light_curves(lengths)
    alone = encoder(photometry=curves["photometry"][1:2, :17], lengths=torch.tensor([17]))
    torch.testing.assert_close(alone, whole[1:2], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_each_tower_adds_its_own_part(encoder):
    curves = light_curves([20, 30])
    spectrum, metadata = torch.rand(2, 2, 128), torch.rand(2, 20)
    metadata[0, 3] = torch.nan
    parts = [encoder(**curves), encoder(spectrum=spectrum), encoder(metadata=metadata)]
    every = encoder(**curves, spectrum=spectrum, metadata=metadata)
    torch.testing.assert_close(every, torch.cat(parts, 1))
    assert every.isfinite().all()
    assert {part.shape for part in parts} == {(2, 64)}


@torch.inference_mode()
def test_a_missing_value_is_not_a_zero(encoder):
    values = torch.zeros(2, 20)
    values[1, 3] = torch.nan
    zero, missing = encoder(metadata=values)
    assert not torch.allclose(zero, missing)


def test_weights_follow_the_seed_set_outside():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in RandomTransformer().parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_too_many_catalogue_values_are_refused(encoder):
    with pytest.raises(ValueError, match=f"at most {METADATA}"):
        encoder(metadata=torch.zeros(1, METADATA + 1))


def test_card_states_the_number_of_parameters(encoder):
    card = next(card for card in ENCODERS if card.name == "random-astro-transformer")
    assert card.parameters == sum(p.numel() for p in encoder.parameters())
