"""Running steps of submissions in child processes with limits, seen from the worker."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.errors import SslBenchError
from leaderboard.evaluation import isolation
from leaderboard.evaluation.conversation import Conversation, Pipes, StepError, StoppedError, Tell
from leaderboard.evaluation.limits import Job

__all__ = ["ENGINE", "Sandbox", "StepError", "StoppedError", "refuse_bare_root"]

ZYGOTE = Path(__file__).with_name("zygote.py")
ENGINE = (  # what nearly every step needs, imported once
    "torch",
    "datasets",
    "threadpoolctl",
    "benchmark.run",
    "benchmark.embed",
    "benchmark.splits",
    "benchmark.cross_validation",
    "benchmark.encoder",
    "benchmark.protocols.linear_probe",
    "benchmark.protocols.knn",
    "leaderboard.evaluation.step",
)


def refuse_bare_root() -> None:
    """Limits do not hold for root: its steps take another user id, or there are none.

    Raises:
        SslBenchError: this is root, and a container took the right to change the user away.
    """
    if os.geteuid() == 0 and not isolation.may_change_user():
        raise SslBenchError(
            "what is submitted must not run as root, and this root may not change its user: start "
            "it as another user, or leave it the capabilities CHOWN, SETGID and SETUID"
        )


class Sandbox:
    """Where steps run. Several threads may use one."""

    def __init__(self, threads: int = 1, preload: tuple[str, ...] = ENGINE) -> None:
        self.threads = threads
        self.preload = preload
        self.path = tuple(dict.fromkeys(str(Path(p or ".").absolute()) for p in sys.path))
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._jobs: socket.socket | None = None

    def run(
        self,
        job: Job,
        tell: Tell = lambda message: None,
        stop: Callable[[], bool] = lambda: False,
        poll_seconds: float = 0.1,
    ) -> dict[str, Any]:
        """Run a job to its end; returns what its entry returned. The private folder is removed.

        tell: called with every message of the step. stop: asked every `poll_seconds`; once true,
        the step is killed.

        Raises:
            StepError: it broke a limit, died or sent nothing readable.
            StoppedError: `stop` said so.
        """
        with _private_folder() as private:
            job = replace(
                job,
                private=private,
                path=job.path or self.path,
                prefixes=job.prefixes or _prefixes(),
                threads=self.threads,
            )
            with Pipes() as pipes:
                self._send(job.to_json().encode(), pipes)
                pipes.close_theirs()
                return Conversation(pipes, job, tell, stop, poll_seconds).run()

    def close(self) -> None:
        """End the zygote; steps that still run are not touched."""
        with self._lock:
            self._end()

    def _send(self, text: bytes, pipes: Pipes) -> None:
        with self._lock:
            for last in (False, True):  # a zygote may have been killed for want of memory
                if self._jobs is None:
                    self._start()
                assert self._jobs is not None
                try:
                    socket.send_fds(self._jobs, [text], pipes.theirs)
                    return
                except OSError:
                    self._end()
                    if last:
                        raise

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        nothing: dict[str, str] = {}
        with theirs:
            self._zygote = subprocess.Popen(
                [sys.executable, "-I", str(ZYGOTE)], stdin=theirs.fileno(), env=nothing, cwd="/"
            )
        self._jobs = ours
        first = {"path": self.path, "preload": self.preload, "threads": self.threads}
        ours.send(json.dumps(first).encode())
        if ours.recv(16) != b"ready":
            self._end()
            raise StepError("the evaluation could not be started; the operators can see why")

    def _end(self) -> None:
        if self._jobs is not None:
            self._jobs.close()
            self._jobs = None
        if self._zygote is not None:
            with suppress(subprocess.TimeoutExpired):
                self._zygote.wait(2)
            self._zygote.kill()
            self._zygote.wait()
            self._zygote = None


@contextmanager
def _private_folder() -> Iterator[str]:
    private = tempfile.mkdtemp(prefix="ssl-bench-step-")
    os.mkdir(f"{private}/tmp", 0o700)
    os.chmod(private, 0o711)  # the step's own user passes through, and lists nothing
    try:
        yield private
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _prefixes() -> tuple[str, ...]:
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    return tuple(sorted(path for path in found if not path.startswith("/usr")))
