"""The form that submits, received as it arrives."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from leaderboard.accounts.caller import Caller
from leaderboard.accounts.csrf import check_form
from leaderboard.api.problems import Problem
from leaderboard.db import Kind, Submission, UploadState
from leaderboard.settings import Settings
from leaderboard.submissions import uploads
from leaderboard.submissions.api import submitting
from leaderboard.submissions.form_stream import FormStream, ReceivedFile
from leaderboard.submissions.receiving import append, check_disk, partial_path
from leaderboard.submissions.requests import SubmissionRequest
from leaderboard.submissions.uploads_api import settle, timed_blocks
from leaderboard.validation.refusal import Refusal
from leaderboard.validation.results_file import MAX_BYTES
from leaderboard.validation.strict_json import parse_json

TEXTS = (
    "kind", "name", "architecture", "modality", "input_options", "suite", "description", "licence",
    "paper", "pretraining", "pretraining_data", "key",
)  # fmt: skip


class FormError(Exception):
    """What is wrong with a form, for the page to say; `status` is that of the answer."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Form:
    """A form while it comes in: the file goes to `path`, or, results, to `pieces`."""

    request: Request
    caller: Caller
    settings: Settings
    path: Path
    handle: int
    fields: dict[str, str] = field(default_factory=dict)
    kind: Kind = Kind.CHECKPOINT
    pieces: dict[int, bytearray] = field(default_factory=dict)
    held: int = 0

    def on_fields(self, fields: dict[str, str]) -> None:
        self.fields = {name: fields.get(name, "")[:4_000] for name in TEXTS}
        self.fields["gpu"] = "on" if fields.get("gpu") else ""
        check_form(self.request, fields.get("csrf", ""))
        try:
            self.kind = Kind(self.fields["kind"])
        except ValueError:
            raise FormError("kind: choose checkpoint, ONNX or results") from None
        announced = int(self.request.headers.get("content-length") or 0)
        if announced > uploads.largest(self.kind, self.settings) + 1_000_000:
            raise FormError("the file is larger than this server accepts", 413)
        check_disk(self.path.parent, self.settings, announced)

    def sink(self, file: ReceivedFile, data: bytes) -> None:
        self.held += len(data)
        if self.held > uploads.largest(self.kind, self.settings):
            raise FormError("the file is larger than this server accepts", 413)
        if self.kind == Kind.RESULTS:
            self.pieces.setdefault(id(file), bytearray()).extend(data)
            return
        append(self.handle, data, self.settings.free_mib << 20)


async def submit_form(request: Request, caller: Caller) -> Submission:
    """Receive the form, keep its file, submit it.

    Raises:
        FormError: what is wrong, with the fields on `fields` of the error.
    """
    settings: Settings = request.app.state.settings
    path = partial_path(settings, f"form-{secrets.token_hex(8)}")
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    form = Form(request, caller, settings, path, handle)
    try:
        stream = FormStream(request, form.on_fields, form.sink)
        async for block in timed_blocks(request, settings):
            await run_in_threadpool(stream.feed, block)
        stream.finish()
        return await run_in_threadpool(_submit, form, stream.files)
    except FormError as error:
        raise with_fields(error, form.fields) from None
    except HTTPException as error:
        if error.status_code == 403 and not isinstance(error, Problem):
            raise  # not one of our forms
        raise with_fields(FormError(str(error.detail), error.status_code), form.fields) from None
    except Refusal as refusal:
        raise with_fields(FormError(str(refusal)), form.fields) from None
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)


def with_fields(error: FormError, fields: dict[str, str]) -> FormError:
    error.fields = fields  # type: ignore[attr-defined]
    return error


def _submit(form: Form, files: list[ReceivedFile]) -> Submission:
    asked = _request(form.fields, "0" * 24)  # the text first: its errors cost no upload
    if not files or form.held == 0:
        raise FormError("file: choose one; an empty file cannot be evaluated")
    if form.kind == Kind.RESULTS:
        data = bundle([bytes(piece) for piece in form.pieces.values()])
        append(form.handle, data, form.settings.free_mib << 20)
        name, size = "results.json", len(data)
        digest = uploads.file_digest(form.path)
    elif len(files) > 1:
        raise FormError("file: one file at a time")
    else:
        name, size, digest = files[0].file_name, files[0].size, files[0].digest.hexdigest()
    state = form.request.app.state
    with state.writing.begin() as session:
        upload, _ = uploads.announce(
            session, form.caller, form.settings, form.kind, name, size, digest
        )
    if upload.state != UploadState.COMPLETE:
        os.replace(form.path, partial_path(form.settings, upload.public_id))
        upload = settle(form.request, form.caller, upload.public_id)
    if upload.state != UploadState.COMPLETE:
        raise FormError(f"file: {upload.reason}")
    asked = asked.model_copy(update={"upload": upload.public_id})
    submission, _ = submitting(form.request).submit(
        form.caller, asked, form.fields["key"] if len(form.fields["key"]) == 43 else None
    )
    return submission


def _request(fields: dict[str, str], upload: str) -> SubmissionRequest:
    values: dict[str, Any] = {
        name: fields[name]
        for name in TEXTS
        if name not in ("kind", "key", "input_options", "modality", "pretraining_data")
    }
    values["suite"] = values["suite"] or "starter"
    values["modality"] = fields["modality"] or None
    named = [part.strip() for part in fields["pretraining_data"].split(",")]
    values["pretraining_data"] = [part for part in named if part]
    values["gpu"] = bool(fields["gpu"])
    if fields["kind"] == Kind.RESULTS:
        values["architecture"] = ""
    if fields["input_options"].strip():
        try:
            values["input_options"] = json.loads(fields["input_options"])
        except ValueError:
            raise FormError('input options: not JSON; write such as {"size": 224}') from None
    try:
        return SubmissionRequest(upload=upload, **values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise FormError(f"{where}: {problem['msg'].removeprefix('Value error, ')}") from None


def bundle(files: list[bytes]) -> bytes:
    """One results file of several: each a result, or a bundle itself.

    Raises:
        Refusal: not JSON.
    """
    results: list[Any] = []
    for data in files:
        found = parse_json(
            data, "results", "content", "send files of a run", max_bytes=MAX_BYTES, max_depth=12
        )
        several = isinstance(found, dict) and isinstance(found.get("results"), list)
        results += found["results"] if several else [found]
    return json.dumps({"results": results}).encode()
