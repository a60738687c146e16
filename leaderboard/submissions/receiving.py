"""Bytes on their way in: into a partial file, resumable, bounded in size, time and disk."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from leaderboard.api.problems import Problem
from leaderboard.settings import Settings

BLOCK = 1 << 20  # bytes gathered before a write
GRACE = 60.0  # seconds before the average speed counts
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def partial_path(settings: Settings, public_id: str) -> Path:
    """Where the bytes of an unfinished upload are; its length is the offset to go on at."""
    folder = settings.home / "partial"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder / public_id


def offset_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def check_disk(folder: Path, settings: Settings, wanted: int) -> None:
    """Raises: Problem (507) where the disk has no room for `wanted` more bytes."""
    free = shutil.disk_usage(folder).free - (settings.free_mib << 20)
    if wanted > free:
        raise disk_full("the server has no room for this file at the moment")


def disk_full(detail: str, offset: int | None = None) -> Problem:
    more: dict[str, Any] = {} if offset is None else {"offset": offset}
    return Problem(
        507,
        f"{detail}; nothing is lost: try again later, it goes on where it stopped",
        headers={"Retry-After": "600"},
        **more,
    )


@contextmanager
def sole_writer(path: Path) -> Iterator[int]:
    """The partial file, open for appending, for one request at a time, of all processes."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(
                409,
                "another request is sending this file: wait for it",
                headers={"Retry-After": "5"},
            ) from None
        yield handle
    finally:
        os.close(handle)


async def timed_blocks(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body, block by block, until it ends or the client goes away.

    Raises:
        Problem: 408, nothing comes, or too slowly.
    """
    began, received = time.monotonic(), 0
    stream = request.stream()
    while True:
        try:
            block = await asyncio.wait_for(anext(stream), settings.upload_stall_seconds)
        except (StopAsyncIteration, ClientDisconnect):
            return
        except TimeoutError:
            stalled = settings.upload_stall_seconds
            raise Problem(408, f"nothing came for {stalled:g} s: go on from the offset") from None
        received += len(block)
        seconds, least = time.monotonic() - began, settings.upload_bytes_per_second
        if seconds > GRACE and received < least * seconds:
            raise Problem(408, f"fewer than {least:,} bytes per second: go on from the offset")
        if block:
            yield block


async def receive(blocks: AsyncIterator[bytes], handle: int, limit: int, room: int) -> None:
    """Append what comes to `handle`, at most `limit` bytes, leaving `room` bytes of the disk free.
    Every byte that was written stays, whatever happens.

    Raises:
        Problem: too many bytes (413), no room (507).
    """
    received = 0
    pending = bytearray()

    async def flush() -> None:
        if pending:
            data = bytes(pending)
            pending.clear()
            await run_in_threadpool(append, handle, data, room)

    try:
        async for block in blocks:
            received += len(block)
            if received > limit:
                raise Problem(413, "more bytes than the upload was announced with")
            pending += block
            if len(pending) >= BLOCK:
                await flush()
    finally:
        await flush()


def append(handle: int, data: bytes, room: int) -> None:
    """Write all of it, or what fits.

    Raises:
        Problem: 507, not all of it fits.
    """
    status = os.fstatvfs(handle)
    if status.f_bavail * status.f_frsize < len(data) + room:
        raise disk_full("the disk of the server is full", os.fstat(handle).st_size)
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(handle, view) :]
    except OSError as error:
        if error.errno in FULL:
            raise disk_full("the disk of the server is full", os.fstat(handle).st_size) from None
        raise
