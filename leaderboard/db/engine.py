"""Engine and sessions: SQLite tuned for one machine, PostgreSQL by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from benchmark.errors import SslBenchError
from leaderboard.settings import PREFIX, Settings

PRAGMAS = {
    "journal_mode": "WAL",  # readers go on while one writes
    "synchronous": "NORMAL",  # with WAL: safe against a crash of the program
    "busy_timeout": "10000",  # milliseconds to wait for another writer
    "foreign_keys": "ON",
    "cache_size": "-65536",  # KiB
    "mmap_size": "268435456",
}


def make_engine(settings: Settings) -> Engine:
    """The engine of this installation; the folder of an SQLite file is made.

    Raises:
        SslBenchError: the URL cannot be read, or its driver is not installed.
    """
    try:
        url = make_url(settings.database)
        if url.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20)
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, connect_args={"timeout": 10})
    except OSError as error:
        raise SslBenchError(
            f"{settings.home} cannot be used: {error.strerror}; set {PREFIX}HOME"
        ) from error
    except (ArgumentError, ImportError) as error:
        raise SslBenchError(f"{PREFIX}DATABASE_URL: {error}") from error
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see below
    cursor = connection.cursor()
    for name, value in PRAGMAS.items():
        cursor.execute(f"PRAGMA {name}={value}")
    cursor.close()


def _begin(connection: Any) -> None:
    """A transaction that will write takes the lock at once (`writing`): one that reads first and
    writes later could not wait for another writer, SQLite refuses it."""
    options = connection.get_execution_options()
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writing") else "BEGIN")


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions for reading, or for writing where nobody else writes."""
    return sessionmaker(engine, expire_on_commit=False)


def writing_sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions that take SQLite's write lock when they begin; the same as others on PostgreSQL."""
    return sessionmaker(engine.execution_options(writing=True), expire_on_commit=False)
