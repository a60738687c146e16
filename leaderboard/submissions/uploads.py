"""Uploads: announced with their size and sha256, filled piece by piece, kept by content."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.accounts.audit import record
from leaderboard.accounts.caller import Caller
from leaderboard.api.problems import Problem
from leaderboard.db import Kind, Submission, SubmissionState, Upload, UploadState, User, now
from leaderboard.settings import Settings
from leaderboard.submissions.receiving import check_disk, offset_of, partial_path
from leaderboard.submissions.storage import Storage
from leaderboard.validation.content import HEAD, kind_of
from leaderboard.validation.refusal import shown
from leaderboard.validation.results_file import MAX_BYTES as RESULTS_BYTES

SUFFIXES = {Kind.CHECKPOINT: ".safetensors", Kind.ONNX: ".onnx", Kind.RESULTS: ".json"}
MAX_OPEN = 20  # unfinished uploads of one person
GIVEN_UP = (SubmissionState.WITHDRAWN, SubmissionState.CANCELLED, SubmissionState.FAILED)
UNUSED_DAYS = 7  # how long a file is kept that no submission uses


def plain_name(name: str, kind: Kind) -> str:
    """The last part of a file's name, as it may be shown; it is never a path of ours."""
    last = re.split(r"[/\\]", name)[-1]
    last = re.sub(r"[^\w. ()+-]", "_", last, flags=re.ASCII).strip(". ")[-100:]
    return last or f"file{SUFFIXES[kind]}"


def largest(kind: Kind, settings: Settings) -> int:
    """The most bytes that a file of this kind may have."""
    most = settings.upload_mib << 20
    return min(most, RESULTS_BYTES) if kind == Kind.RESULTS else most


def check_size(kind: Kind, size: int, settings: Settings) -> None:
    """Raises: Problem (413, 422) where a file is too large, or empty."""
    most = largest(kind, settings)
    if size > most:
        raise Problem(413, f"{size:,} bytes, and at most {most:,} are accepted", limit=most)
    if size < 1:
        raise Problem(422, "an empty file cannot be evaluated")


def announce(
    session: Session,
    caller: Caller,
    settings: Settings,
    kind: Kind,
    name: str,
    size: int,
    sha256: str,
) -> tuple[Upload, bool]:
    """The upload to fill, and whether it is new; the same file again goes on where it stopped.

    Raises:
        Problem: too large, or more than this person may keep here.
    """
    check_size(kind, size, settings)
    session.scalars(select(User.id).where(User.id == caller.user.id).with_for_update()).one()
    known = session.scalar(
        select(Upload).where(
            Upload.owner_id == caller.user.id,
            Upload.sha256 == sha256,
            Upload.size == size,
            Upload.kind == kind,
            Upload.state != UploadState.REJECTED,
        )
    )
    if known is not None:
        return known, False
    check_room(session, caller, settings, size)
    check_disk(partial_path(settings, "x").parent, settings, size)
    upload = Upload(
        owner_id=caller.user.id,
        kind=kind,
        file_name=plain_name(name, kind),
        size=size,
        sha256=sha256,
    )
    session.add(upload)
    session.flush()
    record(
        session,
        caller.user,
        "upload.announced",
        "upload",
        upload.public_id,
        caller.origin,
        size=size,
    )
    return upload, True


def check_room(session: Session, caller: Caller, settings: Settings, size: int) -> None:
    """Raises: Problem (403) where this person keeps too much here already."""
    mine = (Upload.owner_id == caller.user.id, Upload.state != UploadState.REJECTED)
    kept, unfinished = session.execute(
        select(
            func.coalesce(func.sum(Upload.size), 0),
            func.count(Upload.id).filter(Upload.state == UploadState.OPEN),
        ).where(*mine)
    ).one()
    most = settings.uploads_mib_per_user << 20
    if int(kept) + size > most:
        raise Problem(
            403,
            f"your files would take {int(kept) + size:,} bytes, and {most:,} are allowed: delete "
            "uploads that you do not need (withdraw their submissions first)",
        )
    if unfinished >= MAX_OPEN:
        raise Problem(403, f"{unfinished} uploads are unfinished: finish or delete one first")


def find_upload(session: Session, caller: Caller, public_id: str) -> Upload:
    """Raises: Problem (404): not there, or somebody else's, which is the same."""
    upload = session.scalar(
        select(Upload).where(Upload.public_id == public_id, Upload.owner_id == caller.user.id)
    )
    if upload is None:
        raise Problem(404, "there is no such upload of yours")
    return upload


def first_bytes_are_wrong(path: Path, kind: Kind) -> str:
    """Why the beginning of a file makes the rest not worth sending; empty where it does not."""
    if offset_of(path) == 0:
        return ""
    with path.open("rb") as file:
        found = kind_of(file.read(HEAD))
    due = {
        Kind.CHECKPOINT: "a safetensors file",
        Kind.ONNX: "an ONNX model",
        Kind.RESULTS: "a results file",
    }
    return f"content: this is {found}, not {due[kind]}; send that" if found else ""


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def complete(session: Session, upload: Upload, key: str) -> None:
    upload.state, upload.received = UploadState.COMPLETE, upload.size
    upload.storage_key, upload.completed = key, now()


def reject(session: Session, upload: Upload, settings: Settings, reason: str) -> None:
    """Give an upload up; its bytes go."""
    partial_path(settings, upload.public_id).unlink(missing_ok=True)
    upload.state, upload.reason, upload.received = UploadState.REJECTED, shown(reason, 1_000), 0


def discard(session: Session, upload: Upload, settings: Settings, storage: Storage) -> None:
    """Delete a file that no submission needs: those that are done or wait for their turn do.

    Raises:
        Problem: 409, a submission needs it.
    """
    session.scalars(select(User.id).where(User.id == upload.owner_id).with_for_update()).one()
    uses = set(session.scalars(select(Submission.state).where(Submission.upload_id == upload.id)))
    if uses - set(GIVEN_UP):
        raise Problem(409, "a submission uses this file: withdraw it first")
    key = upload.storage_key
    if uses:  # they still say what was sent
        reject(session, upload, settings, "its owner deleted it")
        upload.storage_key = None
    else:
        partial_path(settings, upload.public_id).unlink(missing_ok=True)
        session.delete(upload)
    session.flush()
    if key and session.scalar(select(Upload.id).where(Upload.storage_key == key)) is None:
        storage.remove(key)


def sweep(session: Session, settings: Settings, storage: Storage) -> tuple[int, int]:
    """Remove unfinished uploads that have expired and files nobody used: (of these, of those)."""
    late = now() - timedelta(hours=settings.upload_hours)
    unfinished = session.scalars(
        select(Upload).where(Upload.state == UploadState.OPEN, Upload.created < late)
    ).all()
    for upload in unfinished:
        reject(session, upload, settings, "it was not finished in time")
    unused = session.scalars(
        select(Upload).where(
            Upload.state == UploadState.COMPLETE,
            Upload.created < now() - timedelta(days=UNUSED_DAYS),
            ~select(Submission.id).where(Submission.upload_id == Upload.id).exists(),
        )
    ).all()
    for upload in unused:
        discard(session, upload, settings, storage)
    for left in partial_path(settings, "x").parent.glob("form-*"):  # of a server that was killed
        if left.stat().st_mtime < late.timestamp():
            left.unlink(missing_ok=True)
    return len(unfinished), len(unused)
