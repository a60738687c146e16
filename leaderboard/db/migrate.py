"""Migrations, run on start or by `ssl-bench site migrate`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Engine

from benchmark.errors import SslBenchError

FOLDER = Path(__file__).parent / "migrations"


def configuration(engine: Engine) -> Config:
    """Alembic's configuration; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to `revision`; nothing happens when it is there.

    Raises:
        SslBenchError: the database was written by a newer version.
    """
    try:
        command.upgrade(configuration(engine), revision)
    except CommandError as error:
        raise SslBenchError(
            f"the database cannot be migrated: {error}; it may belong to a newer version of "
            "ssl-bench: install that, or restore a backup"
        ) from error


def revisions(engine: Engine) -> tuple[str | None, str | None]:
    """(the database's revision, this version's)."""
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(configuration(engine)).get_current_head()
