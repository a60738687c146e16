"""The worker's copy of what was submitted, and the folder of a submission's evaluation."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import fsspec

from benchmark.errors import SslBenchError
from benchmark.paths import file_sha256, replacing
from leaderboard.db import Kind, Submission
from leaderboard.settings import Settings

SUFFIX = {Kind.CHECKPOINT: ".safetensors", Kind.ONNX: ".onnx", Kind.RESULTS: ".json"}


def folder_of(settings: Settings, public_id: str) -> Path:
    """Where the evaluation of a submission keeps its things on this machine."""
    return settings.home / "evaluation" / public_id


def local_copy(settings: Settings, submission: Submission) -> Path:
    """The submitted file on this machine, checked against its sha256.

    Raises:
        SslBenchError: nothing was uploaded, or what is stored is not what was sent.
    """
    upload = submission.upload
    if upload is None or not upload.storage_key:
        raise SslBenchError("there is no uploaded file: submit it again")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", submission.name).strip("-.")[:60] or "model"
    path = folder_of(settings, submission.public_id) / "model" / (stem + SUFFIX[submission.kind])
    if not (path.is_file() and file_sha256(path) == upload.sha256):
        system, root = fsspec.core.url_to_fs(settings.storage)
        try:
            with replacing(path) as scratch:
                system.get_file(f"{root.rstrip('/')}/{upload.storage_key}", str(scratch))
        except FileNotFoundError:
            raise SslBenchError(
                "the uploaded file is gone from the store: submit it again"
            ) from None
        if file_sha256(path) != upload.sha256:
            path.unlink()
            raise SslBenchError("the stored file is damaged (sha256 differs): submit it again")
    path.chmod(0o644)  # the sandbox's user reads it; the folders above are the worker's alone
    return path


def scratch_of(settings: Settings, public_id: str) -> Path:
    """The folder that the steps of a submission share, for embeddings."""
    scratch = folder_of(settings, public_id) / "work"
    scratch.mkdir(parents=True, exist_ok=True)
    folder_of(settings, public_id).chmod(0o711)
    return scratch


def remove_folder(settings: Settings, public_id: str) -> None:
    shutil.rmtree(folder_of(settings, public_id), ignore_errors=True)
