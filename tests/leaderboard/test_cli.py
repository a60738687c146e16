"""Commands that the leaderboard adds to `ssl-bench`."""

import importlib.metadata
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
import typer
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


def test_several_processes_share_a_port_and_end_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "benchmark.cli", "serve", "--home", "site"]
    command += ["--processes", "2", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        children: list[psutil.Process] = []
        for _ in range(1200):
            children = psutil.Process(server.pid).children(recursive=True)
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                assert answer.status == 200
                break
            time.sleep(0.1)
        else:
            pytest.fail((tmp_path / "log").read_text())
        assert sum("spawn_main" in " ".join(child.cmdline()) for child in children) == 2
        server.terminate()
        assert server.wait(30) == 0
        assert not psutil.wait_procs(children, timeout=10)[1]
    finally:
        server.kill()
        server.wait()
