"""The process that steps are forked from: it has imported the engine, and has seen nothing that was
submitted.

For each job it forks a *launcher*, which leaves the worker's namespaces and forks the step (behind
the first process of the PID namespace, with which the kernel kills all others in it). The launcher
holds one end of a leash, a pipe: when the worker lets go of the other, by will or because it was
killed, everything that the step started is killed.

Messages of a step are JSON lines on the pipe that the worker gave; prints go to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from contextlib import suppress
from typing import Any

MAX_JOB_BYTES = 160 << 10
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> None:
    """Serve jobs from the socket on descriptor 0 until the worker closes it."""
    with socket.socket(fileno=os.dup(0)) as jobs:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        first = json.loads(jobs.recv(MAX_JOB_BYTES))
        os.environ.update(dict.fromkeys(THREADS, str(first["threads"])), HF_HUB_OFFLINE="1")
        sys.path[:] = first["path"]
        for name in first["preload"]:
            importlib.import_module(name)
        from benchmark.provenance import revision

        revision()  # remembered by the forks: it takes a program, which a step may not start
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # launchers end unseen
        jobs.send(b"ready")
        while True:
            text, descriptors, _, _ = socket.recv_fds(jobs, MAX_JOB_BYTES, 4)
            if not text:
                return
            if os.fork() == 0:
                jobs.close()
                _launch(text, *descriptors)
            for number in descriptors:
                os.close(number)


def _launch(text: bytes, out: int, err: int, status: int, leash: int) -> None:
    """The launcher's life; ends the process."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(err, 1)
        os.dup2(err, 2)
        from leaderboard.evaluation import isolation
        from leaderboard.evaluation.limits import Job

        job = Job.from_json(text.decode())
        uid = isolation.own_user(job, os.getpid())
        missing = isolation.namespaces(job)
        step = os.fork()
        if step == 0:
            os.setsid()
            os.close(status)
            os.close(leash)
            _first(job, uid, out, missing)
        os.close(out)
        code = _attend(step, leash)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            os.write(status, str(code).encode())
        os._exit(0)


def _attend(step: int, leash: int) -> int:
    """Wait for the step or for the worker to let go; its exit status, signals as in a shell."""
    ended = os.pidfd_open(step)
    watched = select.poll()
    watched.register(ended, select.POLLIN)
    watched.register(leash, select.POLLHUP)
    watched.poll()
    os.waitid(os.P_PID, step, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # not reaped: its id is kept
    with suppress(ProcessLookupError):
        os.killpg(step, signal.SIGKILL)  # and whatever it started, where there is no PID namespace
    status = os.waitpid(step, 0)[1]
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _first(job: Any, uid: int, out: int, missing: str) -> None:
    """In the new namespaces; where there are none, this is the step already."""
    from leaderboard.evaluation import isolation, syscalls

    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    lacking, running, landlocked = [], 0, False
    try:
        if missing:
            lacking.append(f"no namespaces ({missing})")
            running = 0 if uid else isolation.processes_of_user()
            refused = isolation.own_files(job)
            landlocked = not refused
            lacking += [f"no Landlock ({refused})"] if refused else []
        else:
            isolation.own_root(job)
            step = os.fork()
            if step:
                os.close(out)
                _reap_until(step)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        lacking += isolation.restrict(job, uid, running, landlocked)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(71)
    _run(job, out, lacking, inside=not missing)


def _reap_until(step: int) -> None:
    """The first process of a PID namespace inherits orphans; it ends as the step ends."""
    while True:
        found, status = os.wait()
        if found == step:
            signalled = os.WIFSIGNALED(status)
            os._exit(128 + os.WTERMSIG(status) if signalled else os.WEXITSTATUS(status))


def _run(job: Any, out: int, lacking: list[str], inside: bool) -> None:
    """The step itself, confined; ends the process."""
    from leaderboard.evaluation.limits import PRIVATE, WORK

    messages = os.fdopen(out, "w", encoding="utf-8")

    def tell(message: dict[str, Any]) -> None:
        messages.write(json.dumps(message) + "\n")
        messages.flush()

    work, private = (WORK if job.scratch else "", PRIVATE)
    if not inside:
        work, private = job.scratch, f"{job.private}/tmp"
    os.environ.clear()
    os.environ.update(
        HOME=private,
        TMPDIR=private,
        LANG="C.UTF-8",
        HF_HUB_OFFLINE="1",
        HF_HOME=f"{private}/hf",
        MPLCONFIGDIR=private,
        TORCHINDUCTOR_CACHE_DIR=f"{private}/inductor",
        SSL_BENCH_CACHE=f"{work or private}/cache",
        **dict.fromkeys(THREADS, str(job.threads)),
    )
    tempfile.tempdir = None  # what the zygote's libraries found is not there any more
    places = {outside: seen if inside else outside for outside, seen in job.read_only}
    try:
        os.chdir(private)
        tell({"phase": "confined", "lacking": lacking})
        module, _, name = job.entry.partition(":")
        entry = getattr(importlib.import_module(module), name)
        tell({"phase": "end", **entry(job.arguments, places, tell)})
    except MemoryError:
        tell({"phase": "end", "failure": "out of memory"})
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)  # no exit handler of a library has anything left to do


if __name__ == "__main__":
    main()
