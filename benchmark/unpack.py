"""Archives unpacked safely: nothing outside the folder, no links, no devices, bounded size."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import IO, Any

from benchmark.errors import SslBenchError
from benchmark.paths import replacing

MAX_RATIO = 200  # unpacked to packed bytes
MAX_SMALL = 1 << 30  # below this any ratio is fine
MAX_MEMBERS = 5_000_000
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".gz")


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str  # file, folder, or what it is instead
    source: Any


def is_archive(path: Path) -> bool:
    """Whether `unpack` knows a file by its name."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(
    archive: Path,
    folder: Path,
    strip: int = 0,
    limit: int | None = None,
    pieces: Sequence[int] = (),
) -> None:
    """Unpack into `folder` without the first `strip` path components.

    Every member is looked at before the first byte is written. `limit` is the most bytes that may
    come out; by default 200 times the archive, or 1 GiB if that is more. `pieces`: the sizes of the
    files that were put together to the archive, which may have been a split zip.

    Raises:
        SslBenchError: a damaged archive; a member that leaves the folder, is a link or a device;
            more bytes than allowed.
    """
    limit = limit or max(MAX_SMALL, MAX_RATIO * archive.stat().st_size)
    try:
        if archive.name.lower().endswith(".zip"):
            _make_one_volume(archive, pieces)
            with zipfile.ZipFile(archive) as opened:
                _count_from_the_first(opened, archive, pieces)
                _extract(archive, list(_zip_members(opened)), opened.open, folder, strip, limit)
        elif ".tar" in archive.name.lower() or archive.name.lower().endswith(".tgz"):
            with tarfile.open(archive) as tar:
                members = list(_tar_members(tar))
                _extract(archive, members, tar.extractfile, folder, strip, limit)
        else:
            _gunzip(archive, folder / archive.name[: -len(".gz")], limit)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise SslBenchError(
            f"{archive} is damaged ({error}): delete it and fetch it again"
        ) from error


def _make_one_volume(archive: Path, pieces: Sequence[int]) -> None:
    """Let the locator of a ZIP64 directory name one volume, where `pieces` were put together: the
    library refuses several (APPNOTE.TXT 4.3.15)."""
    if len(pieces) < 2:
        return
    with archive.open("r+b") as file:
        end = _end(file)
        file.seek(max(0, end - 20))
        if end >= 20 and file.read(4) == b"PK\6\7":
            file.write(struct.pack("<L", 0))
            file.seek(8, os.SEEK_CUR)
            file.write(struct.pack("<L", 1))


def _count_from_the_first(opened: zipfile.ZipFile, archive: Path, pieces: Sequence[int]) -> None:
    """Members of a split zip are counted from the start of their own volume; the library takes the
    directory's volume for theirs."""
    if len(pieces) < 2:
        return
    begins = [0, *accumulate(pieces)]
    with archive.open("rb") as file:
        file.seek(_end(file) + 4)
        last, of_directory = struct.unpack("<HH", file.read(4))
    if last == 0:
        return  # an ordinary zip in pieces
    if last + 1 != len(pieces) or max(info.volume for info in opened.infolist()) > last:
        raise zipfile.BadZipFile(f"it is of {last + 1} volumes, not of {len(pieces)}")
    directory = begins[of_directory]
    for info in opened.infolist():
        info.header_offset += begins[info.volume] - directory


def _end(file: IO[bytes]) -> int:
    """Where the end record of a zip begins (APPNOTE.TXT 4.3.16)."""
    size = file.seek(0, os.SEEK_END)
    begin = max(0, size - 22 - 0xFFFF)
    file.seek(begin)
    found = file.read().rfind(b"PK\5\6")
    if found < 0:
        raise zipfile.BadZipFile("it has no end record")
    return begin + found


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        kind = "folder" if info.is_dir() else "file"
        if stat.S_ISLNK(mode):
            kind = "a link"
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            kind = "a device"
        yield _Member(info.filename, info.file_size, kind, info)


def _tar_members(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        kind = "folder" if info.isdir() else "file" if info.isreg() else "a device"
        if info.issym() or info.islnk():
            kind = "a link"
        yield _Member(info.name, info.size, kind, info)


def _extract(
    archive: Path, members: list[_Member], opener: Any, folder: Path, strip: int, limit: int
) -> None:
    if len(members) > MAX_MEMBERS:
        raise SslBenchError(f"{archive} has {len(members)} members: more than {MAX_MEMBERS}")
    total = sum(member.size for member in members)
    if total > limit:
        raise SslBenchError(f"{archive} would unpack to {total} bytes: more than {limit}")
    places = [(member, _place(archive, member, folder, strip)) for member in members]
    left = limit
    for member, place in places:
        if place is None:
            continue
        if member.kind == "folder":
            place.mkdir(parents=True, exist_ok=True)
            continue
        with opener(member.source) as source, replacing(place) as scratch:
            left -= _copy(archive, source, scratch, min(left, member.size))


def _place(archive: Path, member: _Member, folder: Path, strip: int) -> Path | None:
    """Where a member belongs; None where `strip` leaves nothing of its name."""
    if member.kind not in ("file", "folder"):
        raise SslBenchError(f"{archive}: {member.name!r} is {member.kind}; nothing was unpacked")
    name = member.name.replace("\\", "/")
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    if name.startswith("/") or ".." in parts or ":" in (parts[0] if parts else "") or "\0" in name:
        raise SslBenchError(
            f"{archive}: {member.name!r} leads out of the folder; nothing was unpacked"
        )
    kept = parts[strip:]
    if not kept:
        return None
    place = folder.joinpath(*kept)
    if not place.resolve().is_relative_to(folder.resolve()):  # by way of a link that was there
        raise SslBenchError(f"{archive}: {member.name!r} leads out of {folder} through a link")
    return place


def _copy(archive: Path, source: IO[bytes] | gzip.GzipFile, path: Path, most: int) -> int:
    """Copy to `path`; what a member holds beyond its stated size is refused."""
    done = 0
    with path.open("wb") as file:
        while chunk := source.read(1 << 20):
            done += len(chunk)
            if done > most:
                raise SslBenchError(f"{archive} holds more bytes than it states; stopped")
            file.write(chunk)
    return done


def _gunzip(archive: Path, path: Path, limit: int) -> None:
    with gzip.open(archive) as source, replacing(path) as scratch:
        _copy(archive, source, scratch, limit)
    shutil.copymode(archive, path)
    os.utime(path)
