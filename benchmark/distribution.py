"""How a dataset is published: what its official layout is called and where it comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from benchmark.errors import DatasetError

if TYPE_CHECKING:
    from benchmark.listings import Listing


@dataclass(frozen=True)
class Download:
    """One published file.

    `size` (bytes) and the checksums are those that the publisher states. An archive (zip, tar, tgz,
    gz) is unpacked into `into`, a folder below the dataset's, without its first `strip` path
    components; another file is saved as `into` / `name`. The downloads of one `joins` are the
    pieces, in their order, of a file of that name in `into`, which is put together and unpacked.
    """

    url: str
    name: str = ""  # default: the last part of the URL's path
    into: str = ""
    size: int | None = None
    sha256: str = ""
    md5: str = ""
    unpack: bool = True
    strip: int = 0
    joins: str = ""


def kaggle(dataset: str) -> Download:
    """The archive of a public dataset on Kaggle, `owner/name`, which is served without an account
    (README of Kaggle/kagglehub, "Authenticate") and without a stated checksum."""
    return Download(
        f"https://www.kaggle.com/api/v1/datasets/download/{dataset}",
        name=f"{dataset.partition('/')[2]}.zip",
    )


@dataclass(frozen=True)
class Distribution:
    """The official layout of a dataset on disk and the way to get it.

    `folders`: names that the dataset's folder has below the data directory, the first of them is
    the one that `data fetch` makes; case and punctuation do not matter (`PTB-XL_1.0.3` is found as
    `ptb-xl-1.0.3`). The data directory may also be the dataset's folder itself. `layout`: glob
    patterns relative to it ("meta/esc50.csv", "audio/*"), each of which has to match; the first is
    the one that the dataset is recognised by. `a|b` in a pattern's place: either will do.
    """

    folders: tuple[str, ...]
    layout: tuple[str, ...]
    downloads: tuple[Download, ...] = ()
    listings: tuple[Listing, ...] = ()  # further downloads, by lists that are got first
    apply: str = ""  # what is not downloaded, or cannot be: where to apply, what to put where
    terms: str = ""  # of use, to be agreed to before the download: where they are

    @property
    def fetched(self) -> bool:
        """Whether `data fetch` can download it."""
        return bool(self.downloads or self.listings)

    def find(self, root: Path) -> Path | None:
        """The dataset's folder in data directory `root`, or None."""
        wanted = {_plain(name): rank for rank, name in reversed(list(enumerate(self.folders)))}
        named = [path for path in _subfolders(root) if _plain(path.name) in wanted]
        named.sort(key=lambda path: wanted[_plain(path.name)])
        whole = [path for path in named if not self.missing(path)]
        if whole or named:
            return (whole or named)[0]
        return root if any(True for _ in matches(root, self.layout[0])) else None

    def missing(self, folder: Path) -> list[str]:
        """Patterns of the layout that match nothing in `folder`."""
        return [
            pattern for pattern in self.layout if not any(True for _ in matches(folder, pattern))
        ]

    def files(self, folder: Path) -> list[Path]:
        """Every file of the layout, sorted.

        Raises:
            DatasetError: a pattern matches nothing.
        """
        lacking = self.missing(folder)
        if lacking:
            raise DatasetError(f"{folder} lacks {', '.join(lacking)}")
        return sorted({path for pattern in self.layout for path in matches(folder, pattern)})


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _subfolders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def matches(folder: Path, pattern: str) -> Iterator[Path]:
    """Files (not folders) that a pattern of a layout names; `**` stands for folders of any depth.

    Directories are scanned, files are not opened: 300,000 files take about a second.
    """
    for choice in pattern.split("|"):
        parts = PurePosixPath(choice).parts
        yield from _walk(folder, parts)


def _walk(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    head, rest = parts[0], parts[1:]
    if not any(sign in head for sign in "*?["):
        path = folder / head
        if rest and path.is_dir():
            yield from _walk(path, rest)
        elif not rest and path.is_file():
            yield path
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    if head == "**":
        yield from _walk(folder, rest)
    for entry in entries:
        below = parts if head == "**" else rest
        if entry.name.startswith(".") or not (head == "**" or fnmatch(entry.name, head)):
            continue
        if below and entry.is_dir():
            yield from _walk(Path(entry.path), below)
        elif not below and entry.is_file():
            yield Path(entry.path)
