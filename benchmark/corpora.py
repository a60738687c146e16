"""Which data an encoder has seen in pretraining: datasets, and the corpora that hold them.

Cards of tasks and of encoders name datasets from one vocabulary: `corpora.yaml` beside the task
cards of each package. It says of each which larger corpora hold it whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from benchmark.catalog import card_folders
from benchmark.errors import SslBenchError

FILE = "corpora.yaml"


@cache
def corpora() -> dict[str, tuple[str, ...]]:
    """Name -> the corpora that hold it, of all packages that offer tasks.

    Raises:
        SslBenchError: a file that cannot be read, or that puts a dataset into an unknown corpus.
    """
    import yaml

    known: dict[str, tuple[str, ...]] = {}
    for path in (Path(folder) / FILE for folder in card_folders()):
        if not path.is_file():
            continue
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
            found = {name: tuple(entry.get("part_of", ())) for name, entry in entries.items()}
        except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise SslBenchError(f"{path}: {reason}; each line is name: {{title: ...}}") from None
        known = found | known  # a plug-in cannot change what a built-in name means
    for name, holders in known.items():
        if unknown := sorted(set(holders) - set(known)):
            raise SslBenchError(f"{FILE}: {name} is part_of {', '.join(unknown)}, which is unknown")
    return known


def plain(name: str) -> str:
    """A name as the vocabulary writes it: `PTB XL` and `ptb-xl` are one."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def holding(names: Iterable[str]) -> set[str]:
    """The datasets named and every corpus that holds one of them."""
    known = corpora()
    found: set[str] = set()
    ahead = [plain(name) for name in names]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += known.get(name, ())
    return found


def seen_in_pretraining(task: Iterable[str], pretraining: Iterable[str]) -> bool:
    """Whether the pretraining data holds a task's data, by the names on both cards.

    Data of which no name is published cannot be known to hold anything.
    """
    return bool(holding(task) & {plain(name) for name in pretraining})
