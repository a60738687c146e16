"""`ssl-bench list` and `ssl-bench show`."""

from __future__ import annotations

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from benchmark.catalog import EncoderCard, encoder_cards, nearest, task_card, task_cards, task_files
from benchmark.errors import SslBenchError
from benchmark.modalities import MODALITIES
from benchmark.plan import suites
from benchmark.protocols import PROTOCOLS

SECTIONS = ("tasks", "models", "suites", "protocols")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=160)


def list_catalog(what: str) -> None:
    """Print one section of the catalog, or all of them.

    Raises:
        SslBenchError: another word than tasks, models, suites, protocols.
    """
    if what not in (*SECTIONS, "all"):
        raise SslBenchError(
            f"there is no list of {what!r}.{nearest(what, SECTIONS)} Known: {', '.join(SECTIONS)}."
        )
    console = _console()
    for section in SECTIONS if what == "all" else (what,):
        console.print(
            {"tasks": _tasks, "models": _models, "suites": _suites}.get(section, _protocols)()
        )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_style="bold", header_style="bold", title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _tasks() -> Table:
    table = _table("Tasks", "task", "modality", "target", "metric", "data", "protocols")
    for card in task_cards():
        kind = f"{card.access}, {'simulated' if card.simulated else 'real'}"
        table.add_row(
            card.name, card.modality, card.target.kind, card.metric, kind, ", ".join(card.protocols)
        )
    return table


def _models() -> Table:
    table = _table("Models", "model", "modality", "kind", "what it is")
    order = {name: index for index, name in enumerate(MODALITIES)}
    for card in sorted(encoder_cards().values(), key=lambda card: order.get(card.modality, 99)):
        table.add_row(card.name, card.modality or "any", card.kind, card.title)
    return table


def _suites() -> Table:
    table = _table("Suites", "suite", "tasks")
    for name, cards in suites().items():
        table.add_row(name, ", ".join(card.name for card in cards))
    return table


def _protocols() -> Table:
    table = _table("Protocols", "protocol", "tasks")
    for name in PROTOCOLS:
        table.add_row(name, ", ".join(c.name for c in task_cards() if name in c.protocols))
    return table


def show_card(name: str) -> None:
    """Print the card of a task or an encoder.

    Raises:
        SslBenchError: neither, with the nearest name.
    """
    if name in task_files():
        _show_task(name)
    elif name in encoder_cards():
        _show_encoder(name)
    else:
        known = [*task_files(), *encoder_cards()]
        raise SslBenchError(
            f"there is no task or encoder {name!r}.{nearest(name, known)} See `ssl-bench list`."
        )


def _facts(title: str, facts: dict[str, str]) -> Table:
    table = Table(title=title, title_style="bold", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        if value:
            table.add_row(key, value)
    return table


def _show_task(name: str) -> None:
    card = task_card(name)
    facts = {
        "title": card.title,
        "modality": card.modality,
        "data": f"{'SIMULATED' if card.simulated else 'real'}, {card.access}",
        "target": card.target.kind,
        "classes": ", ".join(card.target.classes),
        "metric": f"{card.metric} (chance {card.chance:g}, ceiling {card.ceiling:g})",
        "split": card.split,
        "grouped by": card.grouping,
        "protocols": ", ".join(card.protocols),
        "suites": ", ".join(card.suites),
        "size": card.size,
        "published": ", ".join(f"{n:,} {split}" for split, n in card.published.items()),
        "licence": card.licence,
        "citation": card.citation,
        "homepage": card.homepage,
        "version": str(card.version),
    }
    console = _console()
    console.print(_facts(name, facts))
    for score in card.reference_scores:
        console.print(
            f"reference: {score.encoder} {score.protocol} {score.metric} {score.value} "
            f"({score.source})"
        )
    console.print(Markdown(card.prose))


def _show_encoder(name: str) -> None:
    card = encoder_cards()[name]
    facts = {
        "title": card.title,
        "modality": card.modality or "any",
        "kind": card.kind,
        "summary": card.summary,
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "input": _input(card),
        "dimension": str(card.dimension or ""),
        "paper": card.paper,
        "licence": card.licence,
        "pretraining": card.pretraining,
        "datasets": ", ".join(card.pretraining_data),
        "weights": card.weights,
        "revision": _revision(card),
        "sha256": card.hub.sha256 if card.hub else "",
        "reported": "\n".join(card.reported),
        "code": card.target,
    }
    _console().print(_facts(name, facts))


def _revision(card: EncoderCard) -> str:
    if card.hub is None:
        return ""
    if card.hub.pinned:
        return f"commit {card.hub.revision}"
    from benchmark.pins import pin_path, read_pin

    if pin := read_pin(card.hub):
        return (
            f"no commit known for the card; pinned on this machine to commit {pin.commit}, sha256 "
            f"{pin.files.get(card.hub.file, 'not downloaded yet')}, by {pin_path(card.hub)}"
        )
    return (
        "no commit known for the card: the first download pins what the branch "
        f"{card.hub.revision} then is, commit and sha256, on this machine; every result names both"
    )


def _input(card: EncoderCard) -> str:
    """What the encoder is fed, as the class declares it; nothing where its package is missing."""
    if card.kind == "adapter":
        return "the model's own"
    try:
        import torch

        from benchmark.catalog import import_target
        from benchmark.inputs import input_spec

        with torch.device("meta"):
            module = import_target(card.target)(**card.options)
        spec = input_spec(str(module.modality), module.input)
    except ImportError:
        return ""
    facts = spec.model_dump(mode="json", exclude_none=True)
    return ", ".join(f"{key} {value}" for key, value in facts.items())
