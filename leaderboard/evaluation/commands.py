"""`ssl-bench worker` and `ssl-bench verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.cli import app, extra


@app.command()
def worker(
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ... or auto")] = None,
    home: Annotated[Path | None, typer.Option(help="folder of database, uploads and keys")] = None,
    once: Annotated[bool, typer.Option("--once", help="end when the queue is empty")] = False,
) -> None:
    """Evaluate what is submitted to the leaderboard. Several may run, on several machines."""
    with extra():
        from leaderboard.evaluation.worker import worker_command
        from leaderboard.settings import load_settings
    settings = load_settings(**({} if home is None else {"home": home}))
    worker_command(settings, device, once)


@app.command()
def verify(
    result: Annotated[Path, typer.Argument(help="a signed result, as the leaderboard gives it")],
    server: Annotated[
        str | None, typer.Option(envvar="SSL_BENCH_SERVER", help="whose key: URL of a leaderboard")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="its public key, in PEM")] = None,
) -> None:
    """Check the signature of a published result."""
    with extra():
        from leaderboard.evaluation.checking import verify_command
    verify_command(result, server, key)
