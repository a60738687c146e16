"""Objects of an object store (S3-compatible, GCS, Azure's, what fsspec has): read, written, listed.

Every call is tried again, with longer and longer pauses, after time-outs, answers of 500 and
broken connections; what cannot get better by waiting is one clear error at once. What is read is
compared with its sha256, so that a truncated or garbled answer counts as one more failed try.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from benchmark.errors import SslBenchError
from benchmark.services import SERVICES, connect, is_refusal, kind, lacks_bucket, may_pass

log = logging.getLogger("ssl_bench")
T = TypeVar("T")

TRIES = 6
PAUSE = 0.2  # seconds before the second try; doubles, with as much again at random
LONGEST_PAUSE = 10.0
CONNECT_SECONDS = 10
READ_SECONDS = 60
KEPT = "what was finished is kept, so the same command goes on from there"


class DamagedObjectError(SslBenchError):
    """An object is there, but not as it was written, however often it is read."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class _GarbledError(Exception):
    """What was read has another checksum than what was written."""


class Bucket:
    """The objects below one URL; `field` is the option that named it, for errors."""

    def __init__(self, url: str, field: str = "--store") -> None:
        self.url, self.field = url.rstrip("/"), field
        self.scheme = url.partition("://")[0]
        import fsspec

        self.service = SERVICES.get(kind(self.scheme))
        if self.scheme not in fsspec.available_protocols():
            raise SslBenchError(
                f"{field} {url}: the scheme {self.scheme}:// is not known; use s3://BUCKET/PREFIX, "
                "gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or a folder"
            )
        if self.service and importlib.util.find_spec(self.service.package) is None:
            raise SslBenchError(
                f"{field} {url} needs the package {self.service.package}: "
                f"pip install {self.service.install}"
            )
        if not self.url.partition("://")[2]:
            raise SslBenchError(f"{field} {url} names no bucket: {self.scheme}://BUCKET/PREFIX")

    @cached_property
    def _fs(self) -> Any:
        return self._once(lambda: connect(self.scheme, CONNECT_SECONDS, READ_SECONDS))

    @property
    def root(self) -> str:
        """Bucket and prefix, as fsspec's paths begin."""
        return self.url.partition("://")[2]

    def read(
        self,
        name: str,
        sha256: str | None = None,
        size: int | None = None,
        md5: str | None = None,
    ) -> bytes:
        """The content of an object, of the stated checksum or size where there is one.

        Raises:
            FileNotFoundError: there is no such object.
            DamagedObjectError: it has another checksum whenever it is read.
        """

        def get() -> bytes:
            content: bytes = self._fs.cat_file(f"{self.root}/{name}")
            if size is not None and len(content) != size:
                raise _GarbledError(f"{len(content)} of {size} bytes")
            if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
                raise _GarbledError(f"its checksum is wrong ({len(content)} bytes)")
            if md5 is not None and hashlib.md5(content).hexdigest() != md5:
                raise _GarbledError("its MD5 is wrong")
            return content

        return self._tried(get, f"{self.url}/{name}", name)

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of an object, all of them."""

        def get() -> bytes:
            content: bytes = self._fs.cat_file(f"{self.root}/{name}", start=start, end=stop)
            if len(content) != stop - start:
                raise _GarbledError(f"{len(content)} of {stop - start} bytes")
            return content

        return self._tried(get, f"{self.url}/{name}", name)

    def write(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        place = f"{self.root}/{name}"
        self._tried(lambda: self._fs.pipe_file(place, content), f"{self.url}/{name}", name)

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""

        def drop() -> None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(f"{self.root}/{name}")

        self._tried(drop, f"{self.url}/{name}", name)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Name, relative to the URL, and size of every object below a prefix."""
        return {name: int(facts["size"]) for name, facts in self.facts(prefix).items()}

    def facts(self, prefix: str) -> dict[str, dict[str, Any]]:
        """What the store says of every object below a prefix: `size`, perhaps `ETag`."""
        place = f"{self.root}/{prefix}".rstrip("/")

        def look() -> dict[str, dict[str, Any]]:
            self._fs.invalidate_cache()
            found = self._fs.find(place, detail=True)
            self._confirm(found)
            cut = len(self._fs._strip_protocol(self.url).rstrip("/")) + 1
            return {path[cut:]: facts for path, facts in found.items()}

        try:
            return self._tried(look, f"{self.url}/{prefix}", prefix)
        except FileNotFoundError:
            return {}

    def folders(self) -> list[str]:
        """Names of the folders directly below the URL."""

        def look() -> list[str]:
            self._fs.invalidate_cache()
            listed = self._listed()
            return sorted(
                str(item["name"]).rstrip("/").rpartition("/")[2]
                for item in listed
                if item["type"] == "directory"
            )

        try:
            return self._tried(look, self.url, "")
        except FileNotFoundError:
            return []

    def _listed(self) -> list[dict[str, Any]]:
        try:
            return list(self._fs.ls(self.root, detail=True))
        except FileNotFoundError:
            self._confirm(())
            raise

    def _confirm(self, found: Collection[Any]) -> None:
        """Let a container that is not there be said: Azure's lists as an empty one."""
        if not found and kind(self.scheme) == "az":
            self._fs.cat_file(f"{self.root}/manifest.json", start=0, end=1)

    def _tried(self, call: Callable[[], T], place: str, name: str) -> T:
        for number in range(1, TRIES + 1):
            try:
                return self._once(call)
            except (SslBenchError, FileNotFoundError):
                raise
            except Exception as error:
                if number == TRIES:
                    raise self._given_up(error, place, name) from error
                log.debug("%s: %s; try %d of %d", place, error, number + 1, TRIES)
                pause = min(LONGEST_PAUSE, PAUSE * 2 ** (number - 1))
                time.sleep(pause * random.uniform(1.0, 2.0))
        raise AssertionError("not reached")

    def _once(self, call: Callable[[], T]) -> T:
        """One try; what waiting cannot mend is an error of ours, or `FileNotFoundError`."""
        try:
            return call()
        except ImportError as error:
            raise SslBenchError(
                f"{self.field} {self.url} needs a package ({error}): pip install "
                f"{self.service.install if self.service else 'what it names'}"
            ) from error
        except Exception as error:
            bucket = self.root.partition("/")[0]
            if lacks_bucket(self.scheme, bucket, error):
                raise SslBenchError(
                    f"{self.field} {self.url}: there is no bucket {bucket!r}: create it, or "
                    f"correct {self.field}"
                ) from error
            if isinstance(error, FileNotFoundError):
                raise
            if is_refusal(error) and not may_pass(error):
                raise self._refused(error) from error
            if type(error).__name__ in ("ParamValidationError", "InvalidEndpointError") or (
                isinstance(error, ValueError | TypeError)
            ):
                raise SslBenchError(
                    f"{self.field} {self.url} cannot be used: {_short(error)}: correct it"
                ) from error
            raise

    def _refused(self, error: Exception) -> SslBenchError:
        ways = self.service.credentials if self.service else "check the credentials"
        return SslBenchError(f"{self.field} {self.url}: access is denied ({_short(error)}): {ways}")

    def _given_up(self, error: Exception, place: str, name: str) -> SslBenchError:
        if isinstance(error, _GarbledError):
            return DamagedObjectError(
                name,
                f"{self.field}: {place} is damaged: {error} in {TRIES} tries; remove the object, "
                "it is made again",
            )
        if is_refusal(error):
            return self._refused(error)
        return SslBenchError(
            f"{self.field}: {place} cannot be reached after {TRIES} tries ({_short(error)}): check "
            f"the network and the service; {KEPT}"
        )


def changed_at(facts: Mapping[str, Any]) -> float:
    """When an object was written, in seconds of the epoch; 0 where the store does not say."""
    names = ("LastModified", "last_modified", "mtime", "updated")
    changed = next((facts[name] for name in names if facts.get(name)), 0)
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    return changed.timestamp() if isinstance(changed, datetime) else float(changed)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
