"""Branches of the hub, pinned on this machine to what they stood for at the first download.

Where a card can name no commit, the first download decides: the commit that the branch stood for
and the sha256 of every file taken from it are written to the cache, and nothing else is accepted
from then on, whatever else moves the branch or the hub's own cache. Deleting a pin ends it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.catalog import HubFile
from benchmark.errors import EncoderError
from benchmark.paths import cache_root, explained, replacing

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Pin:
    """The commit of a repository that this machine keeps to."""

    commit: str
    files: dict[str, str] = field(default_factory=dict)  # name in the repository -> sha256


def pin_path(file: HubFile) -> Path:
    """Where the pin of a file's repository and branch is kept."""
    name = "--".join([f"{file.kind}s", *file.repo.split("/"), file.revision.replace("/", "-")])
    return cache_root() / "published" / "pins" / f"{name}.json"


def read_pin(file: HubFile) -> Pin | None:
    """The pin of a file's repository and branch, where there is one.

    Raises:
        EncoderError: it is damaged.
    """
    path = pin_path(file)
    try:
        found = json.loads(path.read_text())
        return Pin(str(found["commit"]), {str(k): str(v) for k, v in found["files"].items()})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise EncoderError(
            f"{path} is damaged, so that nobody knows which commit of {file.repo} was first "
            "downloaded here: delete it, and the next download pins anew"
        ) from None


def keep(file: HubFile, commit: str, sha256: str) -> None:
    """Note what came of a branch; what another process noted before stays.

    Raises:
        SslBenchError: the cache cannot be written.
    """
    path = pin_path(file)
    with explained(path.parent), _alone(path):
        pin = read_pin(file) or Pin(commit)
        if pin.commit == commit and file.file not in pin.files:
            facts = {"commit": commit, "files": {**pin.files, file.file: sha256}}
            with replacing(path) as scratch:
                scratch.write_text(json.dumps(facts, indent=1) + "\n")


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    from huggingface_hub.utils import WeakFileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(path.with_suffix(".lock")):
        yield
