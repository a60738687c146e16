"""`ssl-bench` in a process of its own, as a user's would be, without paying its imports each time.

A server process imports the heavy libraries once; every command is a fork of it. What depends on a
fresh interpreter (light imports, variables that a library reads when it is imported) is tested with
`subprocess` instead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["torch", "datasets", "benchmark.cli", "benchmark.commands.evaluate", "benchmark.run"]
)


@dataclass(frozen=True)
class Done:
    """A command that ended: its status, negative where a signal ended it, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Started:
    """A command that runs."""

    process: BaseProcess
    printed: tempfile.TemporaryDirectory[str]

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def wait(self) -> Done:
        self.process.join()
        assert self.process.exitcode is not None
        out, err = ((Path(self.printed.name) / name).read_text() for name in ("out", "err"))
        self.printed.cleanup()
        return Done(self.process.exitcode, out, err)


def start(*arguments: str, cwd: Path | None = None, **environment: str) -> Started:
    """Start `ssl-bench ARGUMENTS` in the folder `cwd`, with further environment variables."""
    printed = tempfile.TemporaryDirectory()
    given = {**os.environ, **environment}
    process = _context.Process(target=_command, args=(arguments, cwd, given, printed.name))
    process.start()
    return Started(process, printed)


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> Done:
    """The same, to its end."""
    return start(*arguments, cwd=cwd, **environment).wait()


def _command(
    arguments: tuple[str, ...], cwd: Path | None, environment: dict[str, str], printed: str
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd or ".")
    for number, name in enumerate(("in", "out", "err")):
        source = os.open(os.devnull if not number else Path(printed, name), os.O_RDWR | os.O_CREAT)
        os.dup2(source, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a terminal's, not a background job's
    sys.argv = ["ssl-bench", *arguments]
    from benchmark import cli

    sys.modules["__main__"] = cli  # as after `python -m benchmark.cli`, also for its own processes
    cli.main()
