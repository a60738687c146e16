"""Objects of an object store (S3-compatible, GCS, whatever fsspec has): read, written, listed.

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from benchmark.errors import SslBenchError

log = logging.getLogger("ssl_bench")
T = TypeVar("T")

TRIES = 6
PAUSE = 0.2  # seconds before the second try; doubles, with as much again at random
LONGEST_PAUSE = 10.0
CONNECT_SECONDS = 10
READ_SECONDS = 60
PACKAGES = {"s3": ("s3fs", "'ssl-bench[s3]'"), "gs": ("gcsfs", "gcsfs")}
PACKAGES |= {"s3a": PACKAGES["s3"], "gcs": PACKAGES["gs"], "az": ("adlfs", "adlfs")}
PACKAGES |= {"abfs": PACKAGES["az"]}
KEPT = "what was finished is kept, so the same command goes on from there"
CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE (and AWS_ENDPOINT_URL "
    "for a server that is not Amazon's)",
    "gs": "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS",
}


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

        package, remedy = PACKAGES.get(self.scheme, ("", ""))
        if self.scheme not in fsspec.available_protocols():
            raise SslBenchError(
                f"{field} {url}: the scheme {self.scheme}:// is not known; use s3://BUCKET/PREFIX, "
                "gs://BUCKET/PREFIX or a folder"
            )
        if package and importlib.util.find_spec(package) is None:
            raise SslBenchError(f"{field} {url} needs the package {package}: pip install {remedy}")
        if not self.url.partition("://")[2]:
            raise SslBenchError(f"{field} {url} names no bucket: {self.scheme}://BUCKET/PREFIX")

    @cached_property
    def _fs(self) -> Any:
        import fsspec

        options: dict[str, Any] = {}
        if self.scheme in ("s3", "s3a"):
            times = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
            # our own tries have longer pauses: three layers of them would multiply
            options["config_kwargs"] = {**times, "retries": {"total_max_attempts": 1}}
        made = self._once(lambda: fsspec.filesystem(self.scheme, **options))
        if hasattr(made, "retries"):
            made.retries = 1
        return made

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
            listed = self._fs.ls(self.root, detail=True)
            return sorted(
                str(item["name"]).rstrip("/").rpartition("/")[2]
                for item in listed
                if item["type"] == "directory"
            )

        try:
            return self._tried(look, self.url, "")
        except FileNotFoundError:
            return []

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
        except FileNotFoundError as error:
            if "bucket" in f"{error} {error.__cause__!r}".lower() and "exist" in str(error):
                bucket = self.root.partition("/")[0]
                raise SslBenchError(
                    f"{self.field} {self.url}: there is no bucket {bucket!r}: create it, or "
                    f"correct {self.field}"
                ) from error
            raise
        except ImportError as error:
            raise SslBenchError(
                f"{self.field} {self.url} needs a package ({error}): "
                f"pip install {PACKAGES.get(self.scheme, ('', 'what it names'))[1]}"
            ) from error
        except Exception as error:
            kind = type(error).__name__
            denied = isinstance(error, PermissionError) or "Credentials" in kind
            if denied or "InvalidAccessKeyId" in str(error):
                ways = CREDENTIALS.get({"s3a": "s3", "gcs": "gs"}.get(self.scheme, self.scheme), "")
                raise SslBenchError(
                    f"{self.field} {self.url}: access is denied ({_short(error)}): "
                    f"{ways or 'check the credentials'}"
                ) from error
            if kind in ("ParamValidationError", "InvalidEndpointError") or isinstance(
                error, ValueError | TypeError
            ):
                raise SslBenchError(
                    f"{self.field} {self.url} cannot be used: {_short(error)}: correct it"
                ) from error
            raise

    def _given_up(self, error: Exception, place: str, name: str) -> SslBenchError:
        if isinstance(error, _GarbledError):
            return DamagedObjectError(
                name,
                f"{self.field}: {place} is damaged: {error} in {TRIES} tries; remove the object, "
                "it is made again",
            )
        return SslBenchError(
            f"{self.field}: {place} cannot be reached after {TRIES} tries ({_short(error)}): check "
            f"the network and the service; {KEPT}"
        )


def changed_at(facts: Mapping[str, Any]) -> float:
    """When an object was written, in seconds of the epoch; 0 where the store does not say."""
    changed = facts.get("LastModified") or facts.get("mtime") or facts.get("updated") or 0
    if isinstance(changed, str):
        changed = datetime.fromisoformat(changed)
    return changed.timestamp() if isinstance(changed, datetime) else float(changed)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
