"""Commands that the leaderboard adds to `ssl-bench`."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import uvicorn
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from benchmark import cli
from benchmark.errors import SslBenchError
from benchmark.results import Result, write_result
from leaderboard.cli import app, extra

runner = CliRunner()


def test_the_entry_point_names_commands_that_the_main_program_takes_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (root,) = (
        line.split("=")[1].strip(' "\n')
        for line in (Path(__file__).parents[2] / "pyproject.toml").read_text().splitlines()
        if line.startswith('leaderboard = "leaderboard.')
    )
    good = importlib.metadata.EntryPoint("leaderboard", root, "ssl_bench.commands")
    bad = importlib.metadata.EntryPoint("broken", "no_such_module:app", "ssl_bench.commands")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [good, bad])
    empty = typer.Typer()
    monkeypatch.setattr(cli, "app", empty)
    cli._add_commands()
    named = {command.name or command.callback.__name__ for command in empty.registered_commands}
    assert {"serve", "worker", "login", "submit", "verify"} <= named
    assert "the commands of 'broken' are left out" in capsys.readouterr().err


def test_a_missing_package_is_one_clear_line() -> None:
    message = r"needs no_such_package: pip install 'ssl-bench\["
    with pytest.raises(SslBenchError, match=message), extra():
        import no_such_package  # noqa: F401


def test_help_imports_no_web_framework() -> None:
    code = (
        "import sys, leaderboard.cli; "
        "print([m for m in ('fastapi', 'sqlalchemy', 'torch', 'dbos') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_results_are_loaded_and_standings_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., Result]
) -> None:
    monkeypatch.setenv("SSL_BENCH_SITE_HOME", str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    write_result(make_result(), tmp_path / "run")
    loaded = runner.invoke(app, ["site", "load", "run"])
    assert loaded.exit_code == 0, loaded.output
    assert "run: 1 results, 1 of them new" in loaded.output
    again = runner.invoke(app, ["site", "load", "run", "--self-reported"])
    assert again.exit_code == 0
    rebuilt = runner.invoke(app, ["site", "rebuild"])
    assert "the standings of 1 cells are rebuilt" in rebuilt.output
    migrated = runner.invoke(app, ["site", "migrate"])
    assert "the database is at revision" in migrated.output


def test_loading_what_is_no_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_BENCH_SITE_HOME", str(tmp_path / "site"))
    failed = runner.invoke(app, ["site", "load", str(tmp_path / "nothing")])
    assert isinstance(failed.exception, SslBenchError)
    assert "holds no results" in str(failed.exception)


def test_several_processes_make_the_same_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn starts them, each with what stands in the environment."""
    for name in ("PROCESSES", "PORT", "HOME", "MIGRATE_ON_START"):
        monkeypatch.setenv(f"SSL_BENCH_SITE_{name}", "")  # undone after the test
        monkeypatch.delenv(f"SSL_BENCH_SITE_{name}")
    monkeypatch.chdir(tmp_path)
    started: dict[str, Any] = {}
    monkeypatch.setattr(uvicorn, "run", lambda app, **given: started.update(given, app=app))
    command = ["serve", "--home", "site", "--port", "8123", "--processes", "3"]
    served = runner.invoke(app, command, catch_exceptions=False)
    assert served.exit_code == 0, served.output
    assert (started["workers"], started["factory"], started["port"]) == (3, True, 8123)
    module, _, name = started["app"].partition(":")
    one = getattr(importlib.import_module(module), name)()
    assert one.state.settings.home == Path("site")
    assert one.state.settings.processes == 3
    with TestClient(one) as client:
        assert client.get("/readyz").status_code == 200
