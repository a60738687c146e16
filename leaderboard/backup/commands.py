"""`ssl-bench site backup | restore | sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.cli import extra, site_app


@site_app.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(help="the .tar to write")],
    uploads: Annotated[bool, typer.Option("--uploads/--no-uploads")] = True,
) -> None:
    """Write database, signing key and uploads to one file, while the site runs."""
    with extra():
        from leaderboard.backup.saving import backup_command
    backup_command(file, uploads)


@site_app.command("restore")
def restore(file: Annotated[Path, typer.Argument(help="what `site backup` wrote")]) -> None:
    """Bring a backup into an empty installation, of SQLite or PostgreSQL."""
    with extra():
        from leaderboard.backup.restoring import restore_command
    restore_command(file)


@site_app.command("sweep")
def sweep() -> None:
    """Remove uploads that were never finished, and files that nobody submitted."""
    with extra():
        from leaderboard.backup.saving import sweep_command
    sweep_command()
