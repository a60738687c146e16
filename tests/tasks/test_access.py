"""What the cards say about access is what `data fetch` does."""

from __future__ import annotations

import pytest

from benchmark.catalog import load_task, task_cards

CARDS = [card for card in task_cards() if card.implementation.startswith("tasks.")]


@pytest.mark.parametrize("access", ["embedded", "download", "manual"])
def test_data_fetch_downloads_or_says_where_to_ask(access: str) -> None:
    for card in CARDS:
        if card.access != access:
            continue
        published = load_task(card.name).distribution
        if access == "embedded":
            assert published is None, card.name
            continue
        assert published is not None, card.name
        if access == "download":
            assert published.fetched, card.name
        else:
            assert "http" in published.apply, card.name
            assert card.homepage.startswith("http"), card.name
