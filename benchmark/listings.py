"""Files that a dataset names in a list of its own: the publisher's checksums, a folder of the hub,
or a list that comes with the package.

The list is resolved when a fetch begins and kept in the dataset's folder (`LISTED`): a fetch that
goes on later, or a look at what is there, has the same one, whatever the publisher does since.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import filter as filter_names
from fnmatch import fnmatch
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from benchmark.distribution import Distribution, Download
from benchmark.errors import SslBenchError
from benchmark.paths import explained, replacing

LISTED = ".ssl-bench-listed.json"  # in the dataset's folder
MOST = 64 << 20  # bytes of a list


class Listing(Protocol):
    """A list of files, got when a fetch begins."""

    def files(self) -> list[Download]:
        """Every file to download.

        Raises:
            SslBenchError: the list cannot be had.
        """


@dataclass(frozen=True)
class ChecksumList:
    """The publisher's list of md5 or sha256 sums (`md5sum`'s format); its names are relative to it.

    keep: glob patterns of the names to download.
    """

    url: str
    keep: tuple[str, ...]

    def files(self) -> list[Download]:
        base = self.url.rpartition("/")[0]
        found = []
        for line in answer_of(self.url).splitlines():
            checksum, _, name = line.strip().partition(" ")
            name = name.strip().removeprefix("*").removeprefix("./")
            if not any(fnmatch(name, pattern) for pattern in self.keep):
                continue
            kind = {32: "md5", 64: "sha256"}.get(len(checksum))
            if kind is None:
                raise SslBenchError(f"{self.url}: {checksum[:80]!r} is no md5 or sha256")
            found.append(_named(f"{base}/{quote(name)}", name, **{kind: checksum.lower()}))
        return some_of(found, self.url)


@dataclass(frozen=True)
class HubDataset:
    """Files of a dataset on the Hugging Face hub, at the commit that its branch stands for when the
    fetch begins, with the hub's sizes and sha256.

    keep: glob patterns of their names; of `a|b` the first that is there.
    """

    repo: str
    keep: tuple[str, ...]
    revision: str = "main"

    def files(self) -> list[Download]:
        from huggingface_hub import HfApi, constants, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.hf_api import RepoFile

        from benchmark.hub import one_kind_of_error

        page = f"https://huggingface.co/datasets/{self.repo}"
        place = {"repo_type": "dataset", "revision": self.revision}
        try:
            if constants.HF_HUB_OFFLINE:
                raise OSError("HF_HUB_OFFLINE is set")
            with one_kind_of_error():
                api = HfApi()
                place["revision"] = str(api.dataset_info(self.repo, revision=self.revision).sha)
                tree = api.list_repo_tree(self.repo, recursive=True, **place)  # type: ignore[arg-type]
                there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        except (HfHubHTTPError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise SslBenchError(f"{page} cannot be listed ({reason}): try again later") from None
        files = [
            _named(
                hf_hub_url(self.repo, name, **place),  # type: ignore[arg-type]
                name,
                size=there[name].size,
                sha256=there[name].lfs.sha256 if there[name].lfs else "",  # type: ignore[union-attr]
            )
            for pattern in self.keep
            for name in _first_choice(pattern, list(there))
        ]
        return some_of(files, page)


@dataclass(frozen=True)
class PackagedList:
    """A list that comes with the package: gzip of a csv with name, sha256 or md5, and
    the size where it is published."""

    path: Path
    base: str  # URL that the names are relative to
    into: str = ""

    def files(self) -> list[Download]:
        with gzip.open(self.path, "rt", newline="") as file:
            rows = list(csv.DictReader(io.StringIO(file.read())))
        return [
            Download(
                f"{self.base}/{quote(row['name'])}",
                name=row["name"],
                into=self.into,
                size=int(row["size"]) if "size" in row else None,
                sha256=row.get("sha256", ""),
                md5=row.get("md5", ""),
            )
            for row in rows
        ]


def downloads_of(distribution: Distribution, folder: Path) -> tuple[Download, ...]:
    """Every file of a distribution; lists are asked for once and kept in `folder`.

    Raises:
        SslBenchError: a list cannot be had, or the folder not be written.
    """
    lists = _kept(folder)
    new = {str(item): item.files() for item in distribution.listings if str(item) not in lists}
    if new:
        lists |= new
        facts = {key: [asdict(download) for download in files] for key, files in lists.items()}
        with explained(folder), replacing(folder / LISTED) as scratch:
            scratch.write_text(json.dumps(facts))
    listed = [download for item in distribution.listings for download in lists[str(item)]]
    return (*distribution.downloads, *listed)


def known_downloads(distribution: Distribution, folder: Path) -> tuple[Download, ...] | None:
    """The same without asking anybody; None where a list has not been had yet."""
    lists = _kept(folder) if distribution.listings else {}
    if any(str(item) not in lists for item in distribution.listings):
        return None
    listed = [download for item in distribution.listings for download in lists[str(item)]]
    return (*distribution.downloads, *listed)


def _kept(folder: Path) -> dict[str, list[Download]]:
    """The lists in a folder, by what they are lists of."""
    try:
        found = json.loads((folder / LISTED).read_text())
        return {key: [Download(**entry) for entry in files] for key, files in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _first_choice(pattern: str, names: Sequence[str]) -> list[str]:
    choices = (sorted(filter_names(names, choice)) for choice in pattern.split("|"))
    return next((found for found in choices if found), [])


def _named(url: str, path: str, **facts: str | int | None) -> Download:
    """A file that goes where its name says; `download.fetch` refuses to leave the folder."""
    place = PurePosixPath(path)
    return Download(url, name=place.name, into=str(place.parent), unpack=False, **facts)  # type: ignore[arg-type]


def some_of(files: Sequence[Download], where: str) -> list[Download]:
    """The files, of which there has to be one.

    Raises:
        SslBenchError: there is none.
    """
    if not files:
        raise SslBenchError(f"{where} lists none of the files expected: the publisher changed it")
    return list(files)


def answer_of(url: str, timeout: float = 30) -> str:
    """The text that a server answers, to the length of a list.

    Raises:
        SslBenchError: it does not, or refuses.
    """
    try:
        with urlopen(Request(url, headers={"User-Agent": "ssl-bench"}), timeout=timeout) as answer:
            content: bytes = answer.read(MOST)
            stated = answer.headers.get("Content-Length")
    except (URLError, OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise SslBenchError(f"{url}: no answer ({reason}): try again later") from None
    if len(content) >= MOST:
        raise SslBenchError(f"{url}: more than {MOST >> 20} MiB, which is no list of files")
    if stated is not None and len(content) < int(stated):
        raise SslBenchError(
            f"{url}: the answer ended after {len(content)} of {stated} bytes: try again later"
        )
    return content.decode(errors="replace")
