"""What a run will do: which encoder meets which task under which protocol, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmark.catalog import encoder_cards, nearest, task_card, task_cards
from benchmark.errors import SslBenchError
from benchmark.modalities import MODALITIES
from benchmark.protocols import PROTOCOLS, protocol
from benchmark.task import TaskCard


@dataclass(frozen=True)
class EncoderRef:
    """How to get one encoder: everything `load_encoder` takes."""

    name: str
    modality: str
    checkpoint: Path | None = None
    init: Literal["random"] | None = None
    input_options: str = "{}"  # JSON


@dataclass(frozen=True)
class Skip:
    """Something that was asked for and not done, with the reason."""

    encoder: str
    task: str
    protocol: str
    reason: str


@dataclass(frozen=True)
class Unit:
    """One encoder on the tasks of one source: what a worker takes at a time."""

    encoder: EncoderRef
    jobs: tuple[tuple[str, tuple[str, ...]], ...]  # (task, protocols)


@dataclass
class Plan:
    units: list[Unit] = field(default_factory=list)
    skipped: list[Skip] = field(default_factory=list)

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks that are used, each once."""
        return list(dict.fromkeys(task for unit in self.units for task, _ in unit.jobs))

    def __len__(self) -> int:
        return sum(len(protocols) for unit in self.units for _, protocols in unit.jobs)


def suites() -> dict[str, list[TaskCard]]:
    """Suite -> its tasks; `all` holds every task."""
    found: dict[str, list[TaskCard]] = {}
    for card in task_cards():
        for suite in card.suites:
            found.setdefault(suite, []).append(card)
    return {**found, "all": task_cards()}


def select_tasks(names: Sequence[str], suite: str | None) -> list[TaskCard]:
    """Cards of the tasks named: task names, modalities or `all`, within a suite if one is given.

    Raises:
        SslBenchError: an unknown suite, task or modality, with the nearest name; nothing left.
    """
    known = suites()
    if suite is not None and suite not in known:
        raise SslBenchError(
            f"there is no suite {suite!r}.{nearest(suite, known)} Known: {', '.join(known)}."
        )
    pool = known[suite or "all"]
    chosen: dict[str, TaskCard] = {}
    for name in names:
        if name == "all":
            found = pool
        elif name in MODALITIES:
            found = [card for card in pool if card.modality == name]
        else:
            everything = [card.name for card in known["all"]]
            if name not in everything:
                raise SslBenchError(
                    f"there is no task or modality {name!r}."
                    f"{nearest(name, [*everything, *MODALITIES])} See `ssl-bench list tasks`."
                )
            found = [card for card in pool if card.name == name]
            if not found:
                raise SslBenchError(f"the task {name!r} is not in the suite {suite!r}")
        chosen |= {card.name: card for card in found}
    if not chosen:
        raise SslBenchError(f"no task of the suite {suite!r} matches {', '.join(names)}")
    return list(chosen.values())


def select_protocols(names: Sequence[str]) -> tuple[str, ...] | None:
    """The protocols named, or None for those that each task's card lists.

    Raises:
        SslBenchError: an unknown protocol, with the nearest name.
    """
    if not names:
        return None
    for name in names:
        if name not in PROTOCOLS and name != "all":
            raise SslBenchError(
                f"there is no protocol {name!r}.{nearest(name, PROTOCOLS)} "
                f"Known: {', '.join(PROTOCOLS)}."
            )
    return tuple(PROTOCOLS) if "all" in names else tuple(dict.fromkeys(names))


def catalog_refs(kinds: Sequence[str] = ("features", "control")) -> list[EncoderRef]:
    """The encoders that run anywhere with nothing to download: what `--model all` means."""
    cards = encoder_cards().values()
    return [
        EncoderRef(card.name, card.modality)
        for card in cards
        if card.kind in kinds and not card.slow
    ]


def make_plan(
    encoders: Sequence[EncoderRef],
    tasks: Sequence[TaskCard],
    protocols: tuple[str, ...] | None = None,
) -> Plan:
    """Match encoders with tasks of their modality; tasks of one source go together."""
    plan = Plan()
    for encoder in encoders:
        sources: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for card in tasks:
            if card.modality != encoder.modality:
                reason = f"{card.modality} task, {encoder.modality} encoder"
                plan.skipped.append(Skip(encoder.name, card.name, "", reason))
                continue
            source = card.implementation.partition(":")[0]
            sources.setdefault(source, []).append((card.name, protocols or card.protocols))
        plan.units += [Unit(encoder, tuple(jobs)) for jobs in sources.values()]
    return plan


def plan_cells(plan: Plan) -> list[tuple[str, str, str]]:
    """(modality, task, protocol) of everything in a plan that can be scored."""
    cells = {
        (unit.encoder.modality, task, name)
        for unit in plan.units
        for task, protocols in unit.jobs
        for name in protocols
        if task_card(task).target.kind in protocol(name).targets
    }
    return sorted(cells)
