"""What the catalogue says, read once: cards do not change while the server runs."""

from __future__ import annotations

from functools import cache

from benchmark.catalog import task_cards
from benchmark.plan import suites
from benchmark.protocols import PROTOCOLS
from benchmark.task import TaskCard


@cache
def cards() -> dict[str, TaskCard]:
    """Task name -> card, in the order of domains and names."""
    return {card.name: card for card in task_cards()}


@cache
def domain_tasks(domain: str) -> tuple[TaskCard, ...]:
    """The cards of one domain."""
    return tuple(card for card in cards().values() if card.modality == domain)


@cache
def suite_names() -> dict[str, list[str]]:
    """Suite -> names of its tasks."""
    return {name: [card.name for card in found] for name, found in suites().items()}


def protocol_names() -> list[str]:
    """The protocols, in the order of the engine."""
    return list(PROTOCOLS)
