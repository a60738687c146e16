"""Reading a backup into an empty installation: all of it, or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import typer
from sqlalchemy import Connection, Engine, MetaData, Table, func, insert, select, text

from benchmark.errors import SslBenchError
from leaderboard.backup.rows import FORMAT, KEY, MANIFEST, TABLES, UPLOADS, decode_row
from leaderboard.db import Base, SubmissionState
from leaderboard.db.engine import make_engine
from leaderboard.db.migrate import migrate
from leaderboard.settings import Settings, load_settings
from leaderboard.submissions.storage import Storage

NAMES = re.compile(
    rf"{MANIFEST}|{KEY}|{TABLES}[a-z_]+\.jsonl|{UPLOADS}sha256/[0-9a-f]{{2}}/[0-9a-f]{{64}}"
)
AT_WORK = (SubmissionState.VALIDATING, SubmissionState.RUNNING)
MANY = 500  # rows of one statement


def restore_command(file: Path) -> None:
    settings = load_settings()
    engine = make_engine(settings)
    told = restore(engine, settings, file)
    engine.dispose()
    typer.echo(f"{file}: {told['rows']} rows, {told['uploads']} uploads are back")


def restore(engine: Engine, settings: Settings, file: Path) -> dict[str, int]:
    """Bring back what `save` wrote; what was being evaluated is queued again.

    Raises:
        SslBenchError: no backup, a damaged one, of a newer version, or the site is not empty.
    """
    with tempfile.TemporaryDirectory(prefix="ssl-bench-restore-") as name:
        folder = Path(name)
        manifest = _unpack(file, folder)
        migrate(engine, "head")
        _check_empty(engine, file)
        storage = Storage(settings.storage)
        uploads = sorted(path for path in (folder / UPLOADS).rglob("*") if path.is_file())
        for path in uploads:
            storage.keep(path, path.name)
        if (folder / KEY).exists():
            _restore_key(folder / KEY, settings.signing_key_file)
        migrate_to(engine, manifest["revision"])
        with engine.begin() as connection:
            rows = sum(
                _fill(connection, table.name, folder / TABLES / f"{table.name}.jsonl")
                for table in Base.metadata.sorted_tables
            )
            _queue_again(connection)
        migrate(engine, "head")
    return {"rows": rows, "uploads": len(uploads)}


def migrate_to(engine: Engine, revision: str) -> None:
    """The schema of the backup, on an empty database.

    Raises:
        SslBenchError: this version does not know the revision.
    """
    from alembic import command
    from alembic.util.exc import CommandError

    from leaderboard.db.migrate import configuration

    try:
        command.downgrade(configuration(engine), revision)
    except CommandError as error:
        raise SslBenchError(
            f"the backup is of the database revision {revision}, which this version does not know: "
            "install the version that wrote it, or a newer one"
        ) from error


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Everything in the backup, checked against its manifest."""
    damaged = f"{file} is not a whole backup of ssl-bench"
    try:
        with tarfile.open(file, "r:") as archive:
            for entry in archive:
                if not entry.isreg() or not NAMES.fullmatch(entry.name):
                    raise SslBenchError(
                        f"{damaged}: it holds {entry.name[:100]!r}; take another one"
                    )
                target = folder / entry.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(entry)
                assert source is not None
                with target.open("wb") as held:
                    shutil.copyfileobj(source, held)
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        sums = dict(manifest["sha256"])
        revision, number = str(manifest["revision"]), int(manifest["format"])
    except FileNotFoundError as error:
        where = error.filename if error.filename == str(file) else file
        raise SslBenchError(f"{where}: there is no such backup, or it lacks its manifest") from None
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise SslBenchError(f"{damaged} ({error}); take another one") from None
    if number > FORMAT or not re.fullmatch(r"[0-9a-f]{1,40}", revision):
        raise SslBenchError(f"{file} was written by a newer version of ssl-bench: install that")
    found = {
        str(path.relative_to(folder)): _sha256(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    if found != sums:
        wrong = sorted(name for name in {*found, *sums} if found.get(name) != sums.get(name))
        raise SslBenchError(f"{damaged}: {wrong[0]} is missing or damaged; take another one")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_empty(engine: Engine, file: Path) -> None:
    with engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            if connection.scalar(select(func.count()).select_from(table)):
                raise SslBenchError(
                    f"{file} can be restored into an empty site only, and {table.name} has rows: "
                    "set SSL_BENCH_SITE_HOME (and SSL_BENCH_SITE_DATABASE_URL) to a new place"
                )


def _restore_key(source: Path, target: Path) -> None:
    if target.exists() and target.read_bytes() != source.read_bytes():
        raise SslBenchError(f"{target} is another signing key than the backup's: move it away")
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    target.unlink(missing_ok=True)
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(source.read_bytes())


def _fill(connection: Connection, name: str, path: Path) -> int:
    if not path.exists():  # a table of a later version
        return 0
    table = Table(name, MetaData(), autoload_with=connection)
    count = 0
    with path.open("rb") as lines:
        batch: list[dict[str, Any]] = []
        for line in lines:
            batch.append(decode_row(line))
            count += 1
            if len(batch) == MANY:
                connection.execute(insert(table), batch)
                batch = []
        if batch:
            connection.execute(insert(table), batch)
    numbered = "id" in table.c and table.c.id.type.python_type is int
    if connection.dialect.name == "postgresql" and numbered and count:
        sequence = text(
            "SELECT setval(pg_get_serial_sequence(:name, 'id'), (SELECT max(id) FROM "
            f'"{table.name}"))'
        )
        connection.execute(sequence, {"name": f'"{table.name}"'})
    return count


def _queue_again(connection: Connection) -> None:
    """Workflows are not in the backup: what was running begins anew."""
    table = Table("submission", MetaData(), autoload_with=connection)
    connection.execute(
        table.update()
        .where(table.c.state.in_([str(state) for state in AT_WORK]))
        .values(state=str(SubmissionState.QUEUED), worker_id=None, workflow_id=None)
    )
