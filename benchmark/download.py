"""Published files: downloaded in parallel, resumed where they stopped, checked, unpacked safely."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from benchmark.distribution import Distribution, Download
from benchmark.errors import SslBenchError
from benchmark.listings import downloads_of, known_downloads
from benchmark.paths import explained, file_sha256, replacing
from benchmark.unpack import is_archive, unpack

CHUNK = 1 << 20
ATTEMPTS = 5
TIMEOUT = 30  # s without a byte
FETCHED = ".ssl-bench-fetched.json"  # in the dataset's folder: what was fetched and unpacked
Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all


class _TemporaryError(Exception):
    """A failure that another attempt may cure."""


def file_name(download: Download) -> str:
    """The name a download is saved under: a plain name, whatever the URL says."""
    name = download.name or unquote(Path(urlsplit(download.url).path).name)
    if not name or name != Path(name).name or name in (".", ".."):
        raise SslBenchError(f"{download.url}: no file name; the task's Download needs a `name`")
    return name


def fetch(
    distribution: Distribution,
    root: Path,
    progress: Progress = lambda name, done, total: None,
    workers: int = 4,
    pause: float = 1.0,
) -> Path:
    """Download what a dataset publishes into its folder below `root` and unpack it.

    What was fetched before is not fetched again. Partial files stay for the next attempt, which
    goes on with them if the server still has the same version. The sha256 of every file that came
    is written to `FETCHED`, whether its publisher states one or not.

    Raises:
        SslBenchError: the server refuses, the size or checksum is wrong, an archive is unsafe.
    """
    folder = distribution.find(root) or root / distribution.folders[0]
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    ledger = _Ledger(folder / FETCHED)
    downloads = downloads_of(distribution, folder)
    pending = [d for d in downloads if not ledger.has(d, folder)]
    stop = threading.Event()

    def one(download: Download) -> None:
        place = folder / download.into
        path = place / file_name(download)
        if not _is_inside(path, folder):
            raise SslBenchError(f"{download.url}: {download.into!r} leads out of {folder}")
        download_file(download, path, progress, stop, pause)
        received = file_sha256(path)
        if _goes_up(download):
            unpack(path, place, strip=download.strip)
            path.unlink()
        ledger.add(download, received)

    with explained(folder), ThreadPoolExecutor(workers, "fetch") as pool:
        futures = [pool.submit(one, download) for download in pending]
        try:
            for future in futures:
                future.result()
            for name in dict.fromkeys(d.joins for d in downloads if d.joins):
                if not ledger.is_joined(name):
                    _join([d for d in downloads if d.joins == name], folder)
                    ledger.add_joined(name)
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            ledger.write()
    return folder


def _goes_up(download: Download) -> bool:
    """Whether nothing is left of a downloaded file when all is done: it is unpacked or joined."""
    archive = download.unpack and is_archive(Path(file_name(download)))
    return archive and not download.joins


def _join(pieces: Sequence[Download], folder: Path) -> None:
    """Put the pieces of a file together, unpack it and remove what is no longer needed."""
    place, first = folder / pieces[0].into, pieces[0]
    whole, parts = place / first.joins, [place / file_name(piece) for piece in pieces]
    if not _is_inside(whole, folder) or whole in parts:
        raise SslBenchError(f"{first.url}: its pieces cannot be joined to {first.joins!r}")
    with replacing(whole) as scratch, scratch.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, CHUNK)
    if first.unpack and is_archive(whole):
        unpack(whole, place, first.strip, pieces=[part.stat().st_size for part in parts])
        whole.unlink()
    for part in parts:
        part.unlink(missing_ok=True)


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


class _Ledger:
    """Which downloads a folder holds whole: archives are gone once they are unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._facts = self._read()
        self._written = time.monotonic()

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads(self.path.read_text())
            if isinstance(found, dict):
                return found
        return {}

    def has(self, download: Download, folder: Path) -> bool:
        known = self._facts.get(download.url)
        if not isinstance(known, dict) or known.get("stated") != _identity(download):
            return False
        if _goes_up(download):
            return True
        place = folder / download.into
        return (place / file_name(download)).is_file() or self.is_joined(download.joins)

    def add(self, download: Download, sha256: str) -> None:
        """Note what the publisher states of a file, and what came."""
        self._note(download.url, {"stated": _identity(download), "sha256": sha256})

    def is_joined(self, name: str) -> bool:
        """Whether the pieces of a file were put together."""
        return bool(name) and f"joined {name}" in self._facts

    def add_joined(self, name: str) -> None:
        """Note that they were."""
        self._note(f"joined {name}", {})

    def _note(self, key: str, fact: dict[str, str]) -> None:
        """Of thousands of files not every one is written at once: a killed fetch knows a whole file
        by its checksum."""
        with self._lock:
            self._facts[key] = fact
            due = len(self._facts) < 100 or time.monotonic() - self._written > 5
        if due:
            self.write()

    def write(self) -> None:
        """Write what is known."""
        with self._lock:
            if self._facts:
                with replacing(self.path) as scratch:
                    scratch.write_text(json.dumps(self._facts, indent=1))
            self._written = time.monotonic()


def _identity(download: Download) -> str:
    return download.sha256 or download.md5 or str(download.size or "")


def download_file(
    download: Download,
    path: Path,
    progress: Progress,
    stop: threading.Event,
    pause: float = 1.0,
    headers: Mapping[str, str] | None = None,
) -> None:
    """One file to `path`, by way of `path.part`, which a later attempt or process goes on with.

    headers: sent to the URL's own host, never to one that it redirects to (a token).

    Raises:
        SslBenchError: the server refuses, the size or checksum is wrong, or `stop` is set.
    """
    if path.is_file() and _problem(download, path) is None and _may_be_whole(download, path):
        progress(path.name, path.stat().st_size, path.stat().st_size)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    last = ""
    for attempt in range(ATTEMPTS):
        if stop.is_set():
            raise SslBenchError("stopped")
        try:
            _transfer(download, part, progress, stop, headers or {})
            break
        except _TemporaryError as error:
            last = str(error)
            time.sleep(min(30.0, pause * 2**attempt))
    else:
        raise SslBenchError(
            f"{download.url}: {last}, {ATTEMPTS} times; what was received is kept in {part}: "
            "run the command again later"
        )
    problem = _problem(download, part)
    if problem is not None:
        part.unlink()
        raise SslBenchError(
            f"{download.url}: {problem}; the file was discarded: run the command again, and if it "
            "stays so, the publisher has changed the file"
        )
    part.replace(path)
    _mark(part).unlink(missing_ok=True)


def _may_be_whole(download: Download, path: Path) -> bool:
    """Whether a file that stands where a download goes can be taken for it: it is what its
    publisher states, or an archive, which shows when it is unpacked whether it is whole."""
    return bool(_identity(download)) or (download.unpack and is_archive(path))


def _mark(part: Path) -> Path:
    """Where it stands which version of the file a `.part` is of, as its server calls it."""
    return part.with_name(part.name + "-version")


def _version(answer: Any) -> str:
    """A version that `If-Range` may name: a strong entity tag, else the date of the last change
    (RFC 9110, section 13.1.5); nothing where the server tells neither."""
    tag = str(answer.headers.get("ETag") or "")
    return tag if tag.startswith('"') else str(answer.headers.get("Last-Modified") or "")


def _request(download: Download, part: Path, begun: int) -> Request:
    """For what is lacking of a file, or all of it where it has changed since."""
    request = Request(download.url, headers={"User-Agent": "ssl-bench"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
        if _mark(part).is_file() and (version := _mark(part).read_text()):
            request.add_header("If-Range", version)
    return request


def _transfer(
    download: Download,
    part: Path,
    progress: Progress,
    stop: threading.Event,
    headers: Mapping[str, str],
) -> None:
    begun = part.stat().st_size if part.is_file() else 0
    if download.size is not None and begun == download.size:
        return
    request = _request(download, part, begun)
    for key, value in headers.items():
        request.add_unredirected_header(key, value)
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:
            stated = answer.headers.get("Content-Range", "")
            resumed = answer.status == 206 and stated.startswith(f"bytes {begun}-")
            if answer.status == 206 and not resumed:
                raise SslBenchError(f"{download.url}: the server sends another part than asked for")
            if begun and not resumed:
                begun = 0  # the server cannot resume, or has another version
            if not begun:
                _mark(part).write_text(_version(answer))
            length = answer.headers.get("Content-Length")
            total = begun + int(length) if length else download.size
            _check_room(download, total)
            done = begun
            with part.open("ab" if resumed else "wb") as file:
                while chunk := answer.read(CHUNK):
                    if stop.is_set():
                        raise SslBenchError("stopped")
                    file.write(chunk)
                    done += len(chunk)
                    _check_room(download, done)
                    progress(part.name.removesuffix(".part"), done, total)
            if total is not None and done < total:
                raise _TemporaryError(f"the connection ended after {done} of {total} bytes")
    except HTTPError as error:
        if error.code == 416:  # nothing after what we have, or not the same file any more
            with suppress(OSError):
                part.unlink()
            raise _TemporaryError("the server has another file than the one begun") from error
        if error.code in (408, 429, 500, 502, 503, 504):
            raise _TemporaryError(f"the server answers {error.code} {error.reason}") from error
        raise SslBenchError(
            f"{download.url}: the server answers {error.code} {error.reason}; get the file by hand "
            f"and put it at {part.with_name(part.name.removesuffix('.part'))}, then run the "
            "command again"
        ) from error
    except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _TemporaryError(f"no connection ({reason})") from error


def _check_room(download: Download, size: int | None) -> None:
    """No server can send more than the publisher states."""
    if download.size is not None and size is not None and size > download.size:
        raise SslBenchError(
            f"{download.url}: the server sends more than the {download.size} bytes stated; nothing "
            "of it is used"
        )


def _problem(download: Download, path: Path) -> str | None:
    """What is wrong with a whole file, or None."""
    size = path.stat().st_size
    if download.size is not None and size != download.size:
        return f"{size} bytes instead of {download.size}"
    for kind, stated in (("sha256", download.sha256), ("md5", download.md5)):
        if stated:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
            if found != stated.lower():
                return f"its {kind} is {found}, not {stated}"
            return None
    return None


def unfinished(distribution: Distribution, folder: Path) -> bool:
    """Whether a fetch into `folder` was begun and not ended, which the layout need not show: a
    pattern may match the first of many files. Of data that were put there by hand nothing is
    known."""
    if any(folder.glob("**/*.part")):
        return True
    ledger = _Ledger(folder / FETCHED)
    if not ledger.path.is_file():
        return False
    downloads = known_downloads(distribution, folder)
    return downloads is None or not all(ledger.has(download, folder) for download in downloads)


def unchecked(downloads: Sequence[Download]) -> int:
    """How many of the downloads have no checksum stated by their publisher."""
    return sum(not (download.sha256 or download.md5) for download in downloads)


def total_size(downloads: Sequence[Download]) -> int | None:
    """Bytes of all downloads, where every one states its size."""
    sizes = [download.size for download in downloads]
    return None if None in sizes or not sizes else sum(size or 0 for size in sizes)
