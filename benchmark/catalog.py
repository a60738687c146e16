"""Lazy lookup of tasks and encoders by name: the built-in ones and those of plug-ins.

A package offers tasks and encoders through two entry-point groups:

- `ssl_bench.tasks` names an object with `CARDS`, the folder of its task cards (`<task>.md`);
- `ssl_bench.encoders` names an object with `ENCODERS`, a list of `EncoderCard`.

Reading either must import nothing heavy: a card names its implementation as `module:Class`, which
is imported when the task or encoder is used.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import SslBenchError
from benchmark.paths import is_url

if TYPE_CHECKING:
    from benchmark.task import Task, TaskCard


@dataclass(frozen=True)
class HubFile:
    """A published weights file on the Hugging Face hub."""

    repo: str
    file: str
    revision: str = "main"  # a commit, wherever one is known
    sha256: str = ""  # of the file, wherever known
    gated: bool = False  # the hub asks to accept a licence first
    kind: Literal["model", "dataset"] = "model"  # of repository

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, not a branch that moves."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


@dataclass(frozen=True)
class EncoderCard:
    """What is known of an encoder without importing it; shown by `ssl-bench show NAME`."""

    name: str
    target: str  # "module:Class", called with `options`
    modality: str  # "" for an adapter that takes any
    title: str
    kind: Literal["features", "control", "pretrained", "adapter"] = "pretrained"
    summary: str = ""
    slow: bool = False  # too slow without a GPU for `--model all`
    options: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    dimension: int | None = None
    paper: str = ""
    licence: str = ""
    pretraining: str = "none"  # prose
    pretraining_data: tuple[str, ...] = ()  # names of `corpora.yaml`: "seen in pretraining"
    weights: str = ""  # where published weights come from: file and page
    hub: HubFile | None = None  # the same, where it can be downloaded
    reduced: dict[str, Any] = field(default_factory=dict)  # options of a shallow one, for tests
    reported: tuple[str, ...] = ()  # what the authors report, one line each


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing where no known name is near."""
    matches = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def import_target(target: str) -> Any:
    """The object that `module:attribute` names."""
    module, _, attribute = target.partition(":")
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


@cache
def _provided(group: str, attribute: str) -> tuple[Any, ...]:
    """`attribute` of everything that the installed packages offer in an entry-point group."""
    found = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            found.append(getattr(point.load(), attribute))
        except Exception as error:  # a broken plug-in must not take the built-in ones with it
            raise SslBenchError(
                f"the plug-in {point.name!r} ({point.value}) cannot be imported: {error}; "
                "repair or uninstall it"
            ) from error
    return tuple(found)


def card_folders() -> tuple[Path, ...]:
    """The folders of task cards of all installed packages."""
    return tuple(Path(folder) for folder in _provided("ssl_bench.tasks", "CARDS"))


@cache
def task_files() -> dict[str, Path]:
    """Task name -> its card file, sorted by name; a plug-in cannot replace a built-in task."""
    files: dict[str, Path] = {}
    for folder in card_folders():
        for path in sorted(folder.glob("*.md")):
            files.setdefault(path.stem, path)
    return dict(sorted(files.items()))


@cache
def encoder_cards() -> dict[str, EncoderCard]:
    """Encoder name -> its card, in the order of declaration."""
    cards: dict[str, EncoderCard] = {}
    for offered in _provided("ssl_bench.encoders", "ENCODERS"):
        for card in offered:
            cards.setdefault(card.name, card)
    return cards


@cache
def task_card(name: str) -> TaskCard:
    """The card of task `name`.

    Raises:
        SslBenchError: no such task, with the nearest name.
    """
    from benchmark.task import read_card

    files = task_files()
    if name not in files:
        raise SslBenchError(
            f"there is no task {name!r}.{nearest(name, files)} See `ssl-bench list tasks`."
        )
    return read_card(files[name])


def task_cards() -> list[TaskCard]:
    """Every card, in the order of modalities and names."""
    from benchmark.modalities import MODALITIES

    cards = [task_card(name) for name in task_files()]
    return sorted(cards, key=lambda card: (MODALITIES.index(card.modality), card.name))


def load_task(name: str, root: Path | str | None = None) -> Task:
    """The task `name`, reading its dataset under `root`, a folder or a URL.

    Raises:
        SslBenchError: no such task; a URL that cannot be used.
    """
    card = task_card(name)
    task: Task = import_target(card.implementation)(card, None if root is None else Path(root))
    if isinstance(root, str) and is_url(root):
        task.take_from(root)
    return task


def encoder_card(name: str) -> EncoderCard:
    """The card of encoder `name`.

    Raises:
        SslBenchError: no such encoder, with the nearest name.
    """
    cards = encoder_cards()
    if name not in cards:
        raise SslBenchError(
            f"there is no encoder {name!r}.{nearest(name, cards)} See `ssl-bench list models`, "
            "or name a file (my_encoder.py:MyEncoder), hf:NAME, timm:NAME, open_clip:NAME or "
            "onnx:FILE."
        )
    return cards[name]
