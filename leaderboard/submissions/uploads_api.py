"""`/api/v1/uploads`: announce a file, send it in pieces, ask where to go on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from leaderboard.accounts.caller import Caller, Submitter
from leaderboard.api.problems import Problem
from leaderboard.db import Kind, Upload, UploadState
from leaderboard.dependencies import PublicId, ReadSession, SettingsDep, WriteSession
from leaderboard.submissions import uploads
from leaderboard.submissions.receiving import (
    FULL,
    disk_full,
    offset_of,
    partial_path,
    receive,
    sole_writer,
    timed_blocks,
)
from leaderboard.submissions.storage import Storage

router = APIRouter(prefix="/api/v1", tags=["uploads"])
PIECE = 16 << 20  # bytes that a client should send at once


class Announcement(BaseModel):
    """A file that will be sent."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind
    file_name: str = Field(max_length=255, examples=["model.safetensors"])
    size: int = Field(ge=0, le=2**50, description="bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class UploadView(BaseModel):
    """How far an upload is."""

    id: str
    kind: Kind
    state: UploadState
    file_name: str
    size: int
    sha256: str
    offset: int = Field(description="bytes that are here: where to go on")
    piece: int = Field(description="bytes to send at once")
    reason: str = Field("", description="why it was rejected")
    created: datetime


def view(upload: Upload, offset: int) -> UploadView:
    return UploadView(
        id=upload.public_id,
        kind=upload.kind,
        state=upload.state,
        file_name=upload.file_name,
        size=upload.size,
        sha256=upload.sha256,
        offset=upload.size if upload.state == UploadState.COMPLETE else offset,
        piece=PIECE,
        reason=upload.reason,
        created=upload.created,
    )


def current(request: Request, upload: Upload) -> UploadView:
    return view(upload, offset_of(partial_path(request.app.state.settings, upload.public_id)))


@router.post("/uploads", status_code=201)
def announce(
    asked: Announcement,
    request: Request,
    response: Response,
    caller: Submitter,
    session: WriteSession,
    settings: SettingsDep,
) -> UploadView:
    """Announce a file. A file that you sent, in whole or in part, is found again (200)."""
    uploads.sweep(session, settings, request.app.state.storage)
    found, new = uploads.announce(
        session, caller, settings, asked.kind, asked.file_name, asked.size, asked.sha256
    )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/v1/uploads/{found.public_id}"
    return current(request, found)


@router.get("/uploads/{upload_id}")
def show(
    upload_id: PublicId, request: Request, caller: Submitter, session: ReadSession
) -> UploadView:
    """Where to go on."""
    return current(request, uploads.find_upload(session, caller, upload_id))


@router.delete("/uploads/{upload_id}", status_code=204)
def delete(
    upload_id: PublicId,
    request: Request,
    caller: Submitter,
    session: WriteSession,
    settings: SettingsDep,
) -> None:
    """Give up an upload, or delete a file that no submission uses."""
    found = uploads.find_upload(session, caller, upload_id)
    uploads.discard(session, found, settings, request.app.state.storage)


@router.patch(
    "/uploads/{upload_id}",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def send(
    upload_id: PublicId,
    request: Request,
    caller: Submitter,
    settings: SettingsDep,
    upload_offset: Annotated[int, Header(ge=0, le=2**50)],
) -> UploadView:
    """Send the bytes from `Upload-Offset` on. What arrived stays, also of a request that broke."""
    found = await run_in_threadpool(_find, request, caller, upload_id)
    if found.state != UploadState.OPEN:
        if found.state == UploadState.COMPLETE and upload_offset == found.size:
            return view(found, found.size)
        raise Problem(409, f"this upload is {found.state}: {found.reason or 'announce it again'}")
    path = partial_path(settings, upload_id)
    with sole_writer(path) as handle:
        offset = offset_of(path)
        if upload_offset != offset:
            raise Problem(409, f"the next byte is number {offset}", offset=offset)
        length = int(request.headers.get("content-length") or 0)
        if length > found.size - offset:
            raise Problem(413, "more bytes than the upload was announced with")
        try:
            blocks = timed_blocks(request, settings)
            await receive(blocks, handle, found.size - offset, settings.free_mib << 20)
        finally:
            found = await run_in_threadpool(settle, request, caller, upload_id)
    if found.state == UploadState.REJECTED:
        raise Problem(422, found.reason)
    return view(found, found.received)


def _find(request: Request, caller: Caller, upload_id: str) -> Upload:
    with request.app.state.sessions() as session:
        return uploads.find_upload(session, caller, upload_id)


def settle(request: Request, caller: Caller, upload_id: str) -> Upload:
    """Note how far it is; refuse what cannot become anything; keep what is whole.

    Raises:
        Problem: 507, it cannot be kept for want of room; it can be tried again.
    """
    settings, storage = request.app.state.settings, request.app.state.storage
    path = partial_path(settings, upload_id)
    found = _find(request, caller, upload_id)
    offset = offset_of(path)
    wrong = uploads.first_bytes_are_wrong(path, found.kind)
    key = ""
    if not wrong and offset == found.size:
        if uploads.file_digest(path) == found.sha256:
            key = _keep(storage, path, found.sha256)
        else:
            wrong = "the bytes that arrived do not have the announced sha256: send it again"
    with request.app.state.writing.begin() as session:
        found = uploads.find_upload(session, caller, upload_id)
        found.received = offset
        if wrong:
            uploads.reject(session, found, settings, wrong)
        elif key:
            uploads.complete(session, found, key)
    return found


def _keep(storage: Storage, path: Path, sha256: str) -> str:
    try:
        return storage.keep(path, sha256)
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(
                "the server has no room to keep this file", path.stat().st_size
            ) from None
        raise
