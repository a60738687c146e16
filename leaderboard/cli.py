"""Commands that the leaderboard adds to `ssl-bench`, by the entry-point group `ssl_bench.commands`.

Light, as all command lines of ours: what a command needs is imported when it runs. `app` gathers
the commands of the areas; each area has a `commands.py` with a typer `app`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import SslBenchError

app = typer.Typer()
site_app = typer.Typer(
    help="Look after a leaderboard: database, results, people.", no_args_is_help=True
)
app.add_typer(site_app, name="site")

AREAS = (  # areas with commands of their own, for `app` or for `site_app`
    "leaderboard.accounts.commands",
    "leaderboard.backup.commands",
    "leaderboard.client.commands",
    "leaderboard.evaluation.commands",
)


@contextmanager
def extra() -> Iterator[None]:
    """One clear line where the packages of the extra are not installed."""
    try:
        yield
    except ImportError as error:
        raise SslBenchError(
            f"the leaderboard needs {error.name or error}: pip install 'ssl-bench[leaderboard]'"
        ) from error


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="[8000]")] = None,
    home: Annotated[Path | None, typer.Option(help="folder of database, uploads and keys")] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="web processes on this port [1]")
    ] = None,
    load: Annotated[
        list[Path] | None, typer.Option(help="runs whose results are loaded before it starts")
    ] = None,
) -> None:
    """Start the leaderboard."""
    with extra():
        from leaderboard.server import serve_command
    serve_command(host, port, home, processes, load or [])


@site_app.command()
def migrate() -> None:
    """Bring the database to this version's schema."""
    with extra():
        from leaderboard.db.engine import make_engine
        from leaderboard.db.migrate import migrate as run
        from leaderboard.db.migrate import revisions
        from leaderboard.settings import load_settings
    engine = make_engine(load_settings())
    run(engine)
    typer.echo(f"the database is at revision {revisions(engine)[0]}")


@site_app.command("load")
def load_results(
    runs: Annotated[list[Path], typer.Argument(help="folders that `ssl-bench eval --out` wrote")],
    self_reported: Annotated[
        bool, typer.Option("--self-reported", help="computed by others: shown as such")
    ] = False,
) -> None:
    """Publish the results of runs."""
    with extra():
        from leaderboard.server import load_command
    load_command(runs, self_reported)


@site_app.command()
def rebuild() -> None:
    """Compute all standings anew, from the results alone."""
    with extra():
        from leaderboard.server import rebuild_command
    rebuild_command()


def _gather() -> None:
    for area in AREAS:
        package = area.rpartition(".")[0]
        if find_spec(package) is not None and find_spec(area) is not None:
            import_module(area)


_gather()
