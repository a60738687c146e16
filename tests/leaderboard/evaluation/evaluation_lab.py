"""A leaderboard with submitters and files, and real worker processes on it."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from benchmark.commands.evaluate import EvalRequest, run_eval
from benchmark.executors.choice import ExecutorRequest
from benchmark.results import Result as ResultFile
from benchmark.results import read_run
from leaderboard.db import (
    Kind,
    Result,
    Submission,
    SubmissionLog,
    SubmissionState,
    SubmissionStep,
    Upload,
    UploadState,
    User,
)
from leaderboard.db.engine import make_engine, make_sessions, writing_sessions
from leaderboard.db.migrate import migrate
from leaderboard.results.documents import file_of
from leaderboard.settings import PREFIX, Settings, load_settings

Scores = dict[tuple[str, str], tuple[Any, str]]  # cell -> (metrics, replicates)
QUICK = {
    "worker_poll_seconds": 0.3,
    "worker_lost_seconds": 4.0,
    "step_retry_seconds": 0.2,
    "step_memory_gib": 8.0,
}
ENDED = (SubmissionState.DONE, SubmissionState.FAILED, SubmissionState.CANCELLED)


@dataclass
class Lab:
    """What a test does with a leaderboard and its workers."""

    settings: Settings
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = make_engine(self.settings)
        migrate(self.engine)
        self.reading = make_sessions(self.engine)
        self.writing = writing_sessions(self.engine)

    def submit(
        self,
        content: bytes,
        kind: Kind = Kind.CHECKPOINT,
        *,
        owner: str = "ada",
        name: str = "Net",
        architecture: str = "mock-net",
        modality: str = "audio",
        suite: str = "mock-one",
        **facts: Any,
    ) -> int:
        """What the submission API does; returns the submission's id."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = Path(self.settings.storage.removeprefix("file://")) / sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with self.writing.begin() as session:
            user = session.scalar(select(User).where(User.name == owner)) or User(name=owner)
            session.add(user)
            session.flush()
            upload = Upload(
                owner_id=user.id,
                kind=kind,
                state=UploadState.COMPLETE,
                size=len(content),
                received=len(content),
                sha256=sha256,
                storage_key=sha256,
            )
            session.add(upload)
            session.flush()
            submission = Submission(
                owner_id=user.id,
                upload_id=upload.id,
                kind=kind,
                name=name,
                architecture="" if kind == Kind.ONNX else architecture,
                modality=modality,
                suite=suite,
                **facts,
            )
            session.add(submission)
            session.flush()
            return submission.id

    def start_worker(self, **settings: Any) -> subprocess.Popen[bytes]:
        environment = dict(self.environment)
        environment |= {f"{PREFIX}{key.upper()}": str(value) for key, value in settings.items()}
        log = (self.settings.home / f"worker-{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmark.cli", "worker", "--device", "cpu"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def logs(self) -> str:
        files = sorted(self.settings.home.glob("worker-*.log"))
        return "\n".join(f"== {path.name}\n{path.read_text()[-6000:]}" for path in files)

    def submission(self, number: int) -> Any:
        with self.reading() as session:
            found: Any = session.get_one(Submission, number)
            found.upload_sha256 = found.upload.sha256
            return found

    def change(self, number: int, **fields: Any) -> None:
        with self.writing.begin() as session:
            submission = session.get_one(Submission, number)
            for name, value in fields.items():
                setattr(submission, name, value)

    def steps(self, number: int) -> dict[tuple[str, str], SubmissionStep]:
        with self.reading() as session:
            query = select(SubmissionStep).where(SubmissionStep.submission_id == number)
            return {(step.task, step.protocol): step for step in session.scalars(query)}

    def results(self, number: int) -> dict[tuple[str, str], Result]:
        with self.reading() as session:
            query = select(Result).where(Result.submission_id == number)
            rows = list(session.scalars(query))
            cells = {(row.task, row.protocol): row for row in rows}
            assert len(cells) == len(rows), "a cell was published twice"
            for row in rows:
                _ = row.payload.document
            return cells

    def scores(self, number: int) -> Scores:
        with self.reading() as session:
            rows = [session.merge(row) for row in self.results(number).values()]
            files = [ResultFile.model_validate(file_of(row.payload)) for row in rows]
        return {(f.task.name, f.protocol.name): (f.metrics, f.replicates) for f in files}

    def log_of(self, number: int) -> list[str]:
        with self.reading() as session:
            query = select(SubmissionLog.message).where(SubmissionLog.submission_id == number)
            return list(session.scalars(query.order_by(SubmissionLog.id)))

    def wait(self, condition: Callable[[], Any], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain\n{self.logs()}"
            time.sleep(0.1)

    def wait_for(self, *numbers: int, seconds: float = 90) -> None:
        """Wait until submissions have ended, whichever way."""
        self.wait(lambda: all(self.submission(n).state in ENDED for n in numbers), seconds)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    def stop_all(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill(process)


def make_lab(home: Path, cache: Path, **settings: Any) -> Lab:
    """A leaderboard in `home`; its workers have the same settings."""
    home.mkdir()
    values = {"home": home, **QUICK, **settings}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SSL_BENCH_CACHE": str(cache)}
    environment |= {f"{PREFIX}{key.upper()}": str(value) for key, value in values.items()}
    return Lab(load_settings(**values, _env_file=None), environment)


def local_scores(model: str, checkpoint: Path | None, folder: Path, **more: Any) -> Scores:
    """What `ssl-bench eval` gives: cell -> (metrics, replicates)."""
    fixed = {"executor": ExecutorRequest(device="cpu", workers=1), "out": folder}
    fixed |= {"checkpoint": checkpoint, "suite": "mock-one"}
    request = EvalRequest([model], **{**fixed, **more})
    shown = io.StringIO()
    with one_thread(), redirect_stdout(shown), redirect_stderr(shown):
        run_eval(request)
    return {
        (result.task.name, result.protocol.name): (result.metrics, result.replicates)
        for result in read_run(folder)
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """As on a machine whose cores have a process each."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
