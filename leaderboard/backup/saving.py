"""Writing a backup: one moment of the database, and every file that it names."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import typer
from sqlalchemy import Engine, select

from benchmark import __version__
from benchmark.errors import SslBenchError
from leaderboard.backup.rows import FORMAT, KEY, MANIFEST, TABLES, UPLOADS, encode_row
from leaderboard.db import Base, Upload, UploadState, now
from leaderboard.db.engine import make_engine, writing_sessions
from leaderboard.db.migrate import migrate, revisions
from leaderboard.settings import Settings, load_settings
from leaderboard.submissions.storage import Storage
from leaderboard.submissions.uploads import sweep


def backup_command(file: Path, uploads: bool) -> None:
    settings = load_settings()
    engine = make_engine(settings)
    migrate(engine)
    told = save(engine, settings, file, uploads=uploads)
    engine.dispose()
    typer.echo(f"{file}: {told['rows']} rows, {told['uploads']} uploads")


def sweep_command() -> None:
    settings = load_settings()
    engine = make_engine(settings)
    migrate(engine)
    with writing_sessions(engine).begin() as session:
        unfinished, unused = sweep(session, settings, Storage(settings.storage))
    typer.echo(f"{unfinished} unfinished uploads and {unused} unused files are gone")


def save(engine: Engine, settings: Settings, file: Path, *, uploads: bool = True) -> dict[str, int]:
    """Write a backup, readable by its owner alone; it appears whole or not at all.

    Raises:
        SslBenchError: it cannot be written, or an upload is gone from the store.
    """
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        handle = os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "wb") as held, tarfile.open(fileobj=held, mode="w") as archive:
            told = _write(archive, engine, settings, uploads)
        os.replace(scratch, file)
    except OSError as error:
        raise SslBenchError(
            f"{file} cannot be written: {error.strerror or error}; free the disk or choose "
            "another place"
        ) from error
    finally:
        scratch.unlink(missing_ok=True)
    return told


def _write(
    archive: tarfile.TarFile, engine: Engine, settings: Settings, uploads: bool
) -> dict[str, int]:
    sums: dict[str, str] = {}
    rows = 0
    with tempfile.TemporaryDirectory(prefix="ssl-bench-backup-") as folder:
        files, revision = _dump(engine, Path(folder))
        for name, path, count in files:
            rows += count
            sums[name] = _add(archive, name, path)
        if settings.signing_key_file.exists():
            sums[KEY] = _add(archive, KEY, settings.signing_key_file)
        kept = _uploads(engine) if uploads else []
        storage = Storage(settings.storage)
        for key, sha256 in kept:
            try:
                with storage.on_disk(key) as path:
                    found = _add(archive, UPLOADS + key, path)
            except FileNotFoundError:
                raise SslBenchError(f"the upload {key} is gone from the store: repair it") from None
            if found != sha256:
                raise SslBenchError(f"the upload {key} is damaged (sha256 differs): repair it")
            sums[UPLOADS + key] = found
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "revision": revision,
        "created": now().isoformat(),
        "rows": rows,
        "sha256": sums,
    }
    text = json.dumps(manifest, indent=1).encode()
    entry = tarfile.TarInfo(MANIFEST)
    entry.size, entry.mode = len(text), 0o600
    archive.addfile(entry, io.BytesIO(text))
    return {"rows": rows, "uploads": len(kept)}


def _dump(engine: Engine, folder: Path) -> tuple[list[tuple[str, Path, int]], str | None]:
    """Every table of one moment, in the order in which they can be filled."""
    files = []
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    with engine.connect().execution_options(**options) as connection, connection.begin():
        for table in Base.metadata.sorted_tables:
            path, count = folder / f"{table.name}.jsonl", 0
            keys = list(table.primary_key.columns)
            with path.open("wb") as file:
                for row in connection.execute(select(table).order_by(*keys)).mappings():
                    file.write(encode_row(dict(row)))
                    count += 1
            files.append((f"{TABLES}{table.name}.jsonl", path, count))
    return files, revisions(engine)[0]


def _uploads(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        found = connection.execute(
            select(Upload.storage_key, Upload.sha256)
            .where(Upload.state == UploadState.COMPLETE, Upload.storage_key.is_not(None))
            .distinct()
        )
        return [(str(key), sha256) for key, sha256 in found]


def _add(archive: tarfile.TarFile, name: str, path: Path) -> str:
    """Add a file; gives its sha256."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, 0o600
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        archive.addfile(entry, file)
    return digest
