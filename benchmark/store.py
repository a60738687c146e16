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
from numpy.typing import NDArray

from benchmark.paths import explained, file_sha256, replacing

log = logging.getLogger("ssl_bench")
Arrays = dict[str, NDArray[Any]]
FORMAT = 1


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

    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


def _checksum(arrays: Mapping[str, NDArray[Any]], key: str, index: int) -> str:
    digest = hashlib.sha256(f"{key} {index}".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


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
            manifest = json.loads(path.read_text())
            same = (manifest["count"], manifest["size"]) == (self.count, self.size)
            return {int(k): v for k, v in manifest["shards"].items()} if same else {}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            log.warning("%s is damaged; it is rebuilt from the shards", path)
            with suppress(OSError):
                path.unlink()
            return {}

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
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path(index), framework="numpy") as file:
                stated = (file.metadata() or {}).get("sha256")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, OSError):
            return False
        return stated == _checksum(arrays, self.name, index)

    def write(self, index: int, arrays: Arrays, seconds: float = 0.0) -> None:
        """Store one shard, which took `seconds` to compute, atomically.

        Raises:
            SslBenchError: the disk is full or not writable; what was stored before is kept.
        """
        from safetensors.numpy import save_file

        with explained(self.folder):
            arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            with replacing(self.path(index), durable=True) as scratch:
                facts = {"sha256": _checksum(arrays, self.name, index), "seconds": f"{seconds:.4f}"}
                save_file(arrays, scratch, facts)
            self._verified[index] = file_sha256(self.path(index))

    def finish(self) -> None:
        """Write the manifest: the entry is complete."""
        record = {
            "format": FORMAT,
            "key": asdict(self.key),
            "about": self.about,
            "count": self.count,
            "size": self.size,
            "shards": {str(index): self._verified[index] for index in range(self.shards)},
        }
        manifest = self.folder / "manifest.json"
        with explained(self.folder), replacing(manifest, durable=True) as scratch:
            scratch.write_text(json.dumps(record, indent=1))

    def seconds(self) -> float:
        """What computing the shards took, whenever that was."""
        from safetensors import safe_open

        total = 0.0
        for index in range(self.shards):
            with safe_open(self.path(index), framework="numpy") as file:
                total += float((file.metadata() or {}).get("seconds", 0.0))
        return round(total, 4)

    @property
    def complete(self) -> bool:
        """Whether a readable manifest lists every shard."""
        return len(self._recorded()) == self.shards

    def read(self) -> Arrays:
        """Every array, shards joined along the first axis, in the order of the examples."""
        from safetensors.numpy import load_file

        parts = [load_file(self.path(index)) for index in range(self.shards)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class EmbeddingStore:
    """All entries under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def entry(self, key: EntryKey, count: int, size: int, about: dict[str, Any]) -> Entry:
        digest = key.digest()
        return Entry(self.root / digest[:2] / digest, key, count, size, about)

    def folders(self) -> list[Path]:
        """Folders of all entries, complete or not."""
        return sorted(path for path in self.root.glob("??/*") if path.is_dir())
