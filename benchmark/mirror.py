"""`--data-dir URL`: the datasets of an object store, mirrored into the cache as they are needed.

Decoders read files, so a dataset is brought here whole before it is prepared, file by file: written
under a temporary name, compared with what the store states (size, and MD5 where it gives one) and
renamed. Large files come in pieces and go on where they stopped. A mirrored file carries the time
of its object, so that a changed object is fetched again and an unchanged one is not.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from benchmark.errors import DatasetError, SslBenchError
from benchmark.objects import Bucket, changed_at
from benchmark.paths import cache_root, explained, replacing

if TYPE_CHECKING:
    from benchmark.distribution import Distribution

log = logging.getLogger("ssl_bench")
PIECE = 32 << 20  # bytes of a large file that are fetched, and held, at a time
FILES_AT_A_TIME = 4
SPARE = 1 << 30  # bytes of the disk that are left free


@dataclass(frozen=True)
class _Object:
    name: str
    size: int
    md5: str  # hex; "" where the store gives none
    changed: float


class Mirror:
    """The datasets below one URL, and the folder that holds this machine's copies."""

    def __init__(self, url: str) -> None:
        self.bucket = Bucket(url, "--data-dir")
        place = hashlib.sha256(self.bucket.url.encode()).hexdigest()[:16]
        self.folder = cache_root() / "mirrors" / place
        self._brought: set[str] = set()
        self._folders: list[str] | None = None  # directly below the URL
        self._objects: dict[str, list[_Object]] = {}

    def check(self) -> None:
        """Look whether the URL can be read at all.

        Raises:
            SslBenchError: it cannot.
        """
        self._folders = self.bucket.folders()

    def missing(self, distribution: Distribution) -> list[str]:
        """Patterns of a dataset's layout of which the store has nothing."""
        found = self._find(distribution)
        if found is None:
            return list(distribution.layout)
        names = [item.name[len(found) :].lstrip("/") for item in self._listed(found)]

        def there(pattern: str) -> bool:
            choices = [_pattern(choice) for choice in pattern.split("|")]
            return any(choice.fullmatch(name) for choice in choices for name in names)

        return [pattern for pattern in distribution.layout if not there(pattern)]

    def bring(self, distribution: Distribution) -> None:
        """Mirror a dataset, if the store has it.

        Raises:
            DatasetError: it does not fit on the disk, or a file is damaged in the store.
            SslBenchError: the store cannot be read.
        """
        found = self._find(distribution)
        if found is None or found in self._brought:
            return
        place = self.folder / found
        with explained(self.folder):
            place.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{place}.lock"):
                self._bring(found)
        self._brought.add(found)

    def _find(self, distribution: Distribution) -> str | None:
        """The dataset's prefix below the URL: the name of a folder, "" for the URL itself."""
        if self._folders is None:
            self.check()
        folders = self._folders or []
        for wanted in distribution.folders:
            for name in folders:
                if _plain(name) == _plain(wanted):
                    return name
        first = distribution.layout[0].split("|")
        files = [item.name for item in self._listed("")] if not folders else []
        return "" if any(_pattern(p).fullmatch(name) for p in first for name in files) else None

    def _listed(self, prefix: str) -> list[_Object]:
        if prefix not in self._objects:
            facts = self.bucket.facts(f"{prefix}/" if prefix else "")
            self._objects[prefix] = [_object(name, fact) for name, fact in sorted(facts.items())]
        return self._objects[prefix]

    def _bring(self, prefix: str) -> None:
        wanted = [item for item in self._listed(prefix) if not self._have(item)]
        size = sum(item.size for item in wanted)
        if not wanted:
            return
        free = shutil.disk_usage(self.folder).free
        if size + SPARE > free:
            raise DatasetError(
                f"--data-dir {self.bucket.url}: {size / 1e9:.1f} GB of {prefix or 'it'} are still "
                f"to be fetched, and {self.folder} has {free / 1e9:.1f} GB free: free some space, "
                "or set SSL_BENCH_CACHE to another disk"
            )
        log.warning(
            "fetching %d files (%.1f MB) of %s from %s",
            len(wanted), size / 1e6, prefix or "the dataset", self.bucket.url,
        )  # fmt: skip
        with ThreadPoolExecutor(FILES_AT_A_TIME, "mirror") as pool:
            for _ in pool.map(self._fetch, wanted):
                pass

    def _place(self, item: _Object) -> Path:
        parts = PurePosixPath(item.name).parts
        if ".." in parts or not parts:
            raise SslBenchError(f"{self.bucket.url} has an object named {item.name!r}: remove it")
        return self.folder.joinpath(*parts)

    def _have(self, item: _Object) -> bool:
        try:
            stat = self._place(item).stat()
        except OSError:
            return False
        return stat.st_size == item.size and abs(stat.st_mtime - item.changed) < 1e-3

    def _fetch(self, item: _Object) -> None:
        path = self._place(item)
        if item.size <= PIECE:
            content = self.bucket.read(item.name, size=item.size, md5=item.md5 or None)
            with replacing(path) as scratch:
                scratch.write_bytes(content)
                os.utime(scratch, (item.changed, item.changed))
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{int(item.changed)}.part")
        done = min(part.stat().st_size, item.size) if part.exists() else 0
        with part.open("r+b" if done else "wb") as file:
            file.seek(done)
            while done < item.size:
                piece = self.bucket.read_range(item.name, done, min(done + PIECE, item.size))
                file.write(piece)
                file.flush()
                done += len(piece)
        if item.md5 and _md5(part) != item.md5:
            part.unlink()
            raise DatasetError(
                f"--data-dir: {self.bucket.url}/{item.name} does not agree with its MD5: run the "
                "command again; if it persists, upload the file again"
            )
        os.utime(part, (item.changed, item.changed))
        os.replace(part, path)


@cache
def mirror(url: str) -> Mirror:
    """The mirror of a URL, which lists each dataset once per process."""
    return Mirror(url)


def _object(name: str, facts: dict[str, Any]) -> _Object:
    tag = str(facts.get("ETag", "")).strip('"')
    stated = (facts.get("content_settings") or {}).get("content_md5")
    if "md5Hash" in facts:  # Google's
        tag = base64.b64decode(facts["md5Hash"]).hex()
    elif stated:  # Azure's
        tag = bytes(stated).hex()
    # the tag of an object that was uploaded in parts, or is encrypted, is no MD5
    plain = re.fullmatch(r"[0-9a-f]{32}", tag) and "SSEKMSKeyId" not in facts
    return _Object(name, int(facts["size"]), tag if plain else "", changed_at(facts))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _pattern(text: str) -> re.Pattern[str]:
    """A pattern of a layout as a regular expression; `**` stands for folders of any depth."""
    parts = []
    for part in PurePosixPath(text).parts:
        if part == "**":
            parts.append("(?:[^/]+/)*")
            continue
        escaped = re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        parts.append(re.sub(r"\\\[(.*?)\\\]", r"[\1]", escaped) + "/")
    return re.compile("".join(parts).rstrip("/"))
