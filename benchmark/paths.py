"""Where things are kept on the user's machine, and what can be wrong with those places."""

import errno
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.errors import SslBenchError


def cache_root() -> Path:
    """`$SSL_BENCH_CACHE`, else the platform's cache folder for ssl-bench."""
    chosen = os.environ.get("SSL_BENCH_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ssl-bench"))


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder in the cache for what is needed for a while; it is removed with all in it.

    Raises:
        SslBenchError: the cache folder is full or unusable.
    """
    root = cache_root()
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root)
    with made as folder:
        yield Path(folder)


def store_root() -> Path:
    """The embedding store."""
    return cache_root() / "embeddings"


def is_url(place: str | Path) -> bool:
    """Whether a place is one of an object store: `scheme://...`, but not `file://`."""
    return "://" in str(place) and not str(place).startswith("file://")


def local_path(place: str | Path) -> Path:
    """The folder that a path or a `file://` URL names."""
    return Path(str(place).removeprefix("file://")).expanduser()


def absolute(place: str | Path | None) -> Path | str | None:
    """A folder by its full path; a URL as it is."""
    return place if place is None or is_url(place) else local_path(place).absolute()


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_checksum(path: Path) -> str:
    """XXH3 (128 bits) of a file's bytes: tells damage, at the speed of memory."""
    import xxhash

    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return str(digest.hexdigest())


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[Path]:
    """Write a file whole or not at all: under a temporary name beside `path`, then renamed.

    `durable` flushes it to the disk first. Nothing stays behind when writing fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".writing-{os.getpid()}-{threading.get_ident()}-{path.name}.part")
    try:
        yield scratch
        if durable:
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what the system says of a full or unusable disk into one clear error.

    Raises:
        SslBenchError: what is wrong with `place`, and the remedy.
    """
    try:
        yield
    except OSError as error:
        raise SslBenchError(_storage_problem(place, error)) from error
    except Exception as error:  # safetensors and Arrow wrap the system's error in their own
        if "os error 28" not in str(error).lower() and "no space" not in str(error).lower():
            raise
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise SslBenchError(_storage_problem(place, full)) from error


def _storage_problem(place: Path, error: OSError) -> str:
    kept = "what was finished is kept, so the same command goes on from there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = ""
        with suppress(OSError):
            free = f" ({shutil.disk_usage(place).free >> 20} MiB free)"
        return (
            f"the disk of {place} is full{free}: free some space (`ssl-bench cache prune`) or set "
            f"SSL_BENCH_CACHE to another disk; {kept}"
        )
    return f"{place} cannot be used: {error.strerror or error}; set SSL_BENCH_CACHE; {kept}"
