"""The content-addressed, resumable embedding store.

One folder per entry, `<root>/<first two hex digits>/<key>/`: shards `NNNNN.safetensors`, each
carrying the checksum of its own arrays, and `manifest.json` with the sha256 of every shard file,
written last. Every file is written to a temporary name, flushed and renamed, so a killed run leaves
whole shards only; a damaged shard or manifest is detected when read, and just that is redone.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmark.errors import SslBenchError
from benchmark.paths import explained, file_sha256, is_url, local_path, replacing, store_root
from benchmark.sharded import ShardedArray
from benchmark.shards import Arrays, checksum, read_header, read_stored, serialise

log = logging.getLogger("ssl_bench")
FORMAT = 1
LARGE_BYTES = 1 << 26  # float32 bytes of an array from which it stays on the disk


@dataclass(frozen=True)
class EntryKey:
    """Everything that embeddings depend on."""

    encoder: str  # digest of weights, code and input specification
    data: str  # fingerprint of the split's inputs
    kind: str  # clip, frames, patches, layers, towers
    precision: str
    towers: str = ""  # astronomy: the inputs the task offers
    engine: str = ""  # hash of the code that cuts windows and assembles embeddings
    format: int = FORMAT
    dtype: str = "float32"  # at which embeddings are stored

    def digest(self) -> str:
        facts = asdict(self)
        if self.dtype == "float32":
            del facts["dtype"]  # entries made before there was a choice keep their names
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


class DamagedShardError(SslBenchError):
    """A shard that seemed to be there is not whole; it counts as missing from now on."""


class Entry:
    """The shards of one (encoder, split, kind): `count` examples, `size` to a shard."""

    def __init__(self, folder: Path, key: EntryKey, count: int, size: int, about: dict[str, Any]):
        self.folder = folder
        self.name = key.digest()
        self.key = key
        self.count = count
        self.size = size
        self.about = about  # shown by `cache ls`
        self._verified: dict[int, str] = {}
        self._lock = FileLock(str(folder) + ".lock")

    @property
    def shards(self) -> int:
        return -(-self.count // self.size)

    def span(self, index: int) -> range:
        """The examples of shard `index`."""
        return range(index * self.size, min((index + 1) * self.size, self.count))

    def path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.safetensors"

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """One writer at a time; a second process waits and then finds the work done."""
        with explained(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0.2)
            except Timeout:
                log.warning(
                    "another process is computing %s; waiting for it",
                    self.about.get("encoder", "this"),
                )
                self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def missing(self) -> list[int]:
        """Shards that are absent or damaged (damaged ones are removed and announced)."""
        recorded = self._recorded()
        return [index for index in range(self.shards) if not self._whole(index, recorded)]

    def _recorded(self) -> dict[int, str]:
        """sha256 by shard from the manifest; empty when there is none or it is damaged."""
        path = self.folder / "manifest.json"
        try:
            return self._shards_of(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            log.warning("%s is damaged; it is rebuilt from the shards", path)
            with suppress(OSError):
                path.unlink()
            return {}

    def _shards_of(self, manifest: Mapping[str, Any]) -> dict[int, str]:
        same = (manifest["count"], manifest["size"]) == (self.count, self.size)
        return {int(k): str(v) for k, v in manifest["shards"].items()} if same else {}

    def _whole(self, index: int, recorded: Mapping[int, str]) -> bool:
        if index in self._verified:
            return True
        path = self.path(index)
        if not path.is_file():
            return False
        try:
            digest = file_sha256(path)
            whole = recorded[index] == digest if index in recorded else self._intact(index)
        except (OSError, ValueError, KeyError):
            whole = False
        if whole:
            self._verified[index] = digest
            return True
        log.warning("shard %s is damaged (its checksum is wrong); it is computed again", path)
        with suppress(OSError):
            path.unlink()
        return False

    def _intact(self, index: int) -> bool:
        """Whether a shard agrees with the checksum in its own header."""
        try:
            arrays, header = read_stored(self.path(index))
        except (ValueError, KeyError, TypeError, OSError):
            return False
        return header.facts.get("sha256") == checksum(arrays, self.name, index)

    def write(self, index: int, arrays: Arrays, seconds: float = 0.0) -> None:
        """Store one shard, which took `seconds` to compute, atomically.

        Raises:
            SslBenchError: the disk is full or not writable; what was stored before is kept.
        """
        content = serialise(arrays, self.key.dtype, self.name, index, seconds)
        self._keep(index, content)
        self._verified[index] = hashlib.sha256(content).hexdigest()

    def _keep(self, index: int, content: bytes) -> None:
        with explained(self.folder), replacing(self.path(index), durable=True) as scratch:
            scratch.write_bytes(content)

    def shard(self, index: int) -> tuple[Arrays, float]:
        """The arrays of one shard of a float32 entry, and the seconds that computing them took."""
        arrays, header = read_stored(self.path(index))
        return arrays, float(header.facts.get("seconds", 0.0))

    def take_from(self, exact: Entry) -> None:
        """Round the shards that are missing from an entry of the same embeddings in float32, if
        that is complete: the same numbers as if they had been computed."""
        if exact.missing() or not exact.complete:
            return
        with self.exclusive():
            for index in self.missing():
                self.write(index, *exact.shard(index))
            self.finish()

    def settle(self) -> None:
        """Wait until what was written is where others see it."""

    def finish(self) -> None:
        """Write the manifest: the entry is complete."""
        record = self._manifest(self._verified)
        manifest = self.folder / "manifest.json"
        with explained(self.folder), replacing(manifest, durable=True) as scratch:
            scratch.write_text(json.dumps(record, indent=1))

    def _manifest(self, shards: Mapping[int, str]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "key": asdict(self.key),
            "about": self.about,
            "count": self.count,
            "size": self.size,
            "shards": {str(index): shards[index] for index in range(self.shards)},
        }

    def seconds(self) -> float:
        """What computing the shards took, whenever that was."""
        facts = (read_header(self.path(index)).facts for index in range(self.shards))
        return round(sum(float(fact.get("seconds", 0.0)) for fact in facts), 4)

    @property
    def complete(self) -> bool:
        """Whether a readable manifest lists every shard."""
        return len(self._recorded()) == self.shards

    def read(self) -> Arrays:
        """Every array, shards joined along the first axis, in the order of the examples; half
        precisions as float32. An array of more than `LARGE_BYTES` stays on the disk: it is a
        `ShardedArray`, which reads rows when they are asked for."""
        paths = [self.path(index) for index in range(self.shards)]
        headers = [read_header(path) for path in paths]
        found: dict[str, Any] = {}
        for name in headers[0].places:
            array = ShardedArray(paths, [header.places[name] for header in headers])
            found[name] = array if array.size * 4 > LARGE_BYTES else np.asarray(array)
        return found


class EmbeddingStore:
    """All entries under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, key: EntryKey, count: int, size: int, about: dict[str, Any]) -> Entry:
        digest = key.digest()
        return Entry(self.root / digest[:2] / digest, key, count, size, about)

    def check(self) -> None:
        """Whether it can be used at all.

        Raises:
            SslBenchError: it cannot; names the option and the remedy.
        """

    def folders(self) -> list[Path]:
        """Folders of all entries, complete or not."""
        return sorted(path for path in self.root.glob("??/*") if path.is_dir())


def open_store(place: str | Path | None = None) -> EmbeddingStore:
    """The store at a folder or URL (`s3://bucket/prefix`); by default the one of this machine.

    Raises:
        SslBenchError: a scheme that is not known, or whose package is not installed.
    """
    if place is None:
        return EmbeddingStore(store_root())
    if is_url(place):
        from benchmark.remote import RemoteStore

        return RemoteStore(str(place))
    return EmbeddingStore(local_path(place))
