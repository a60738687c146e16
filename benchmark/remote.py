"""The embedding store in an object store, where nothing is renamed and anybody may write.

Below the URL every entry is `<first two hex digits>/<key>/`: shards `NNNNN-<sha256>.safetensors`,
named by place and content and never written over with anything else, and `manifest.json`, written
last, which names the shard that counts for each place. Two writers that compute the same shard
write the same object or two, and either manifest names whole ones. A run killed at any moment finds
its finished shards by their names.

Each machine keeps a copy of what it reads and writes in its own cache, where rows are read; a
shard is compared with the checksum in its name before it gets there.
"""

from __future__ import annotations

import hashlib
import json
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmark.objects import Bucket, DamagedObjectError
from benchmark.paths import cache_root, file_sha256
from benchmark.shards import Arrays
from benchmark.store import DamagedShardError, EmbeddingStore, Entry, EntryKey

log = logging.getLogger("ssl_bench")
TRANSFERS = 8  # shards under way at a time


class RemoteEntry(Entry):
    """An entry whose shards are objects; the folder holds this machine's copy of them."""

    def __init__(
        self,
        bucket: Bucket,
        prefix: str,
        folder: Path,
        key: EntryKey,
        count: int,
        size: int,
        about: dict[str, Any],
    ) -> None:
        super().__init__(folder, key, count, size, about)
        self.bucket, self.prefix = bucket, prefix
        self._objects: dict[int, str] = {}  # shard -> sha256 of the object that counts
        self._here: dict[int, str] = {}  # of which the copy was compared
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: list[Future[None]] = []

    def missing(self) -> list[int]:
        """Shards of which there is no object. Only names and sizes are looked at: what is read
        later is compared with its checksum then. A shard that this machine finished, but could not
        send, is sent now."""
        present = self._present()
        recorded = self._recorded()
        self._objects = {}
        for index in range(self.shards):
            offered = present.get(index, {})
            stated = recorded.get(index)
            if stated in offered:
                self._objects[index] = str(stated)
            elif offered:
                self._objects[index] = min(offered)
            elif self.path(index).is_file() and self._intact(index):
                self._send(index, self.path(index).read_bytes())
        self.settle()
        self._verified = dict(self._objects)
        return [index for index in range(self.shards) if index not in self._objects]

    def _present(self) -> dict[int, dict[str, int]]:
        """shard -> sha256 -> bytes of the objects that are there."""
        present: dict[int, dict[str, int]] = {}
        for name, size in self.bucket.sizes(self.prefix).items():
            index, _, sha256 = name.rpartition("/")[2].removesuffix(".safetensors").partition("-")
            if index.isdigit() and len(sha256) == 64 and size:
                present.setdefault(int(index), {})[sha256] = size
        return present

    def _recorded(self) -> dict[int, str]:
        name = f"{self.prefix}/manifest.json"
        try:
            return self._shards_of(json.loads(self.bucket.read(name)))
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s/%s is damaged; it is rebuilt from the shards", self.bucket.url, name)
            return {}

    @property
    def complete(self) -> bool:
        """Whether a readable manifest lists every shard that counts."""
        return len(self._objects) == self.shards and self._recorded() == self._objects

    def _name(self, index: int, sha256: str) -> str:
        return f"{self.prefix}/{index:05d}-{sha256}.safetensors"

    def _keep(self, index: int, content: bytes) -> None:
        """Keep the copy, and send the object while the next shard is computed."""
        super()._keep(index, content)
        self._here[index] = hashlib.sha256(content).hexdigest()
        self._send(index, content)

    def _send(self, index: int, content: bytes) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        self._pool = self._pool or ThreadPoolExecutor(TRANSFERS, "send")
        if len(self._under_way) >= 2 * TRANSFERS:
            self._under_way.pop(0).result()  # no more than these are held in memory
        name = self._name(index, sha256)
        self._under_way.append(self._pool.submit(self.bucket.write, name, content))
        self._objects[index] = sha256

    def settle(self) -> None:
        """Wait until everything is sent."""
        under_way, self._under_way = self._under_way, []
        try:
            for future in under_way:
                future.result()
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                self._pool = None

    def finish(self) -> None:
        """Write the manifest: the entry is complete."""
        self.settle()
        record = json.dumps(self._manifest(self._objects), indent=1)
        self.bucket.write(f"{self.prefix}/manifest.json", record.encode())

    def fetch(self) -> None:
        """Bring the copy of every shard here.

        Raises:
            DamagedShardError: an object is damaged; it is removed, so that it counts as missing.
            SslBenchError: the store cannot be reached.
        """
        if len(self._objects) < self.shards:
            self.missing()
        damaged: list[DamagedShardError] = []
        with ThreadPoolExecutor(TRANSFERS, "fetch") as pool:
            for future in [pool.submit(self._fetch_one, index) for index in range(self.shards)]:
                try:
                    future.result()
                except DamagedShardError as error:  # all are found, so that all are made at once
                    damaged.append(error)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        if damaged:
            raise damaged[0]

    def _fetch_one(self, index: int) -> None:
        path, sha256 = self.path(index), self._objects[index]
        if self._here.get(index) == sha256 and path.is_file():
            return
        if not path.is_file() or file_sha256(path) != sha256:
            name = self._name(index, sha256)
            try:
                content = self.bucket.read(name, sha256)
            except (DamagedObjectError, FileNotFoundError) as error:
                log.warning(
                    "the shard %s/%s is damaged or gone; it is computed again",
                    self.bucket.url, name,
                )  # fmt: skip
                self.bucket.remove(name)
                self._objects.pop(index, None)
                raise DamagedShardError(str(error)) from error
            Entry._keep(self, index, content)
        self._here[index] = sha256

    def shard(self, index: int) -> tuple[Arrays, float]:
        self._fetch_one(index)
        return super().shard(index)

    def read(self) -> Arrays:
        self.fetch()
        return super().read()


class RemoteStore(EmbeddingStore):
    """All entries below one URL."""

    def __init__(self, url: str) -> None:
        self.bucket = Bucket(url)
        place = hashlib.sha256(self.bucket.url.encode()).hexdigest()[:16]
        super().__init__(cache_root() / "remote" / place)

    def check(self) -> None:
        self.bucket.sizes("manifest.json")

    def entry(self, key: EntryKey, count: int, size: int, about: dict[str, Any]) -> Entry:
        digest = key.digest()
        prefix = f"{digest[:2]}/{digest}"
        return RemoteEntry(self.bucket, prefix, self.root / prefix, key, count, size, about)
