"""The worker table: who is there, who is gone."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from benchmark import __version__
from leaderboard.db import Submission, SubmissionState, SubmissionStep, Worker, now

STOPPED = "stopped"
AT_WORK = (SubmissionState.VALIDATING, SubmissionState.RUNNING)
FORGOTTEN_AFTER = timedelta(days=7)


def place() -> str:
    """A name of this boot of this machine or container: process ids mean the same within it."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def new_worker_id() -> str:
    return f"{place()}-{os.getpid()}-{secrets.token_hex(4)}"


def register(session: Session, worker_id: str, device: str) -> None:
    """Enter a worker that has just started."""
    session.add(
        Worker(
            id=worker_id,
            host=socket.gethostname()[:120],
            process=os.getpid(),
            device=device[:120],
            version=__version__,
        )
    )
    session.flush()


def beat(session: Session, worker_id: str, device: str, state: str) -> None:
    """Say that a worker is alive; enters it again where someone removed it."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        register(session, worker_id, device)
        worker = session.get_one(Worker, worker_id)
    worker.heartbeat = now()
    worker.state = state


def lost_workers(session: Session, seconds: float) -> list[str]:
    """Workers with work that are gone: stopped, silent for `seconds`, or, on this machine, without
    a process."""
    here = place()
    owners = select(Submission.worker_id).where(Submission.state.in_(AT_WORK)).distinct()
    found = []
    for worker in session.scalars(select(Worker).where(Worker.id.in_(owners))):
        silent = worker.heartbeat < now() - timedelta(seconds=seconds)
        gone = worker.id.startswith(f"{here}-") and not _runs(worker.process)
        if worker.state == STOPPED or silent or gone:
            found.append(worker.id)
    return found


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def forget_old(session: Session) -> list[str]:
    """Remove workers that have long been gone and that nothing refers to."""
    old = select(Worker.id).where(Worker.heartbeat < now() - FORGOTTEN_AFTER)
    used = select(Submission.worker_id).where(Submission.worker_id.is_not(None))
    used_by_steps = select(SubmissionStep.worker_id).where(SubmissionStep.worker_id.is_not(None))
    names = list(
        session.scalars(old.where(Worker.id.not_in(used), Worker.id.not_in(used_by_steps)))
    )
    session.execute(delete(Worker).where(Worker.id.in_(names)))
    return names
