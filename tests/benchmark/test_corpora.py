"""Which encoder has seen which task's data: one vocabulary for both kinds of cards."""

import pytest

from benchmark.catalog import encoder_cards, task_card, task_cards
from benchmark.corpora import corpora, holding, plain, seen_in_pretraining

CARDS = encoder_cards()

# What the sources named on the cards say, written down again here.
SEEN = {
    "clap": {"esc10", "esc50", "fsd50k", "urbansound8k", "oneshot-family", "percussion-onsets",
             "desed", "desed-psds"},
    "ast": {"desed", "desed-psds"},
    "ssast": {"desed", "desed-psds"},
    "atst-frame": {"desed", "desed-psds"},
    "wavlm": set(),
    "mert": set(),
    "point-mae": {"shapenet-part"},
    "i2p-mae": {"shapenet-part"},
    "ulip": {"shapenet-part"},
    "dcglr": set(),
    "merl": set(),
    "st-mem": {"chapman", "chapman-merl"},
    "hubert-ecg": {"chapman", "chapman-merl", "cpsc2018", "cpsc2018-merl",
                   *(card.name for card in task_cards() if card.name.startswith("ptbxl-"))},
    "discovr": {card.name for card in task_cards()
                if card.name.startswith(("echonet-dynamic-", "echonet-pediatric-", "echonet-lvh-",
                                         "rvenet-"))},
    "echonet-r2plus1d": {"echonet-dynamic-ef", "echonet-dynamic-low-ef", "echonet-dynamic-lv"},
    "echoclip": set(),
    "videomae": set(),
    "self-vit": {"camelyon16", "camelyon16-small", "patch-camelyon"},
    "phikon": {"bcss"},
    "phikon-v2": {"bcss"},
    "ctranspath": {"bcss"},
    "uni": set(),
    "conch": set(),
    "plip": set(),
    "astrom3": {card.name for card in task_cards() if card.name.startswith("astrom3-")},
    "astromer": set(),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_an_encoder_has_seen_what_its_pretraining_data_holds(name: str) -> None:
    card = CARDS[name]
    own = [task for task in task_cards() if task.modality == card.modality]
    seen = {t.name for t in own if seen_in_pretraining(t.datasets, card.pretraining_data)}
    assert seen == SEEN[name]


def test_every_name_on_a_card_is_in_the_vocabulary() -> None:
    for task in task_cards():
        if task.implementation.startswith("tasks."):
            assert set(task.datasets) <= set(corpora()), task.name
            assert task.datasets or task.simulated, f"{task.name} does not say what its data is"
    for card in CARDS.values():
        if card.target.startswith("baselines."):
            assert set(card.pretraining_data) <= set(corpora()), card.name


def test_every_word_of_the_vocabulary_is_plain_and_no_corpus_holds_itself() -> None:
    for name, holders in corpora().items():
        assert name == plain(name)
        assert name not in holding(holders)


def test_a_part_is_seen_with_the_whole_but_not_the_whole_with_a_part() -> None:
    esc50 = task_card("esc50").datasets
    assert holding(esc50) == {"esc50", "freesound"}
    assert seen_in_pretraining(esc50, ("Freesound",))
    assert seen_in_pretraining(esc50, ("ESC50",))
    assert not seen_in_pretraining(("freesound",), esc50)
    assert not seen_in_pretraining((), ())
    assert seen_in_pretraining(("a corpus of ones own",), ("A corpus_of ones-own",))
