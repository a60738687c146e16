"""`ssl-bench worker`: takes submissions from the queue and runs their workflows.

Each worker has a DBOS queue of its own, on which it puts what it has taken from the submission
table or taken over from a worker that is gone; DBOS hands a workflow to one process only, and what
an earlier owner still writes does not count.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from benchmark.errors import SslBenchError
from leaderboard.db import Submission, SubmissionState
from leaderboard.db.engine import make_engine, make_sessions, writing_sessions
from leaderboard.db.migrate import migrate, revisions
from leaderboard.evaluation import heartbeats, queue, workflow
from leaderboard.evaluation.evaluation import Evaluation
from leaderboard.evaluation.files import folder_of, remove_folder
from leaderboard.evaluation.journal import Journal, finish
from leaderboard.evaluation.sandbox import Sandbox, refuse_bare_root
from leaderboard.evaluation.signing import Signer
from leaderboard.settings import Settings

log = logging.getLogger("ssl_bench.worker")
UNDER_WAY = ("PENDING", "ENQUEUED")
HANDED_OVER = 30.0  # seconds that DBOS may take to start what it was given


@dataclass
class Worker:
    """One worker process."""

    settings: Settings
    device: str
    once: bool = False  # end when the queue is empty
    id: str = field(default_factory=heartbeats.new_worker_id)
    stopping: threading.Event = field(default_factory=threading.Event)
    _given: dict[str, float] = field(default_factory=dict)  # workflow id -> when DBOS was given it

    def __post_init__(self) -> None:
        self.engine = make_engine(self.settings)
        self.reading = make_sessions(self.engine)
        self.writing = writing_sessions(self.engine)
        self.gpu = self.device.startswith("cuda")
        self.sandbox = Sandbox(self.settings.worker_threads)

    def run(self) -> None:
        """Work until told to stop. Does not return: the process ends here, since threads of DBOS
        cannot be ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        wait_for_schema(self.engine, self.settings)
        self.signer = Signer.load(self.settings.signing_key_file)
        with self.writing.begin() as session:
            heartbeats.register(session, self.id, self.device)
        workflow.serve(self._open)
        launch(self.settings, self.id)
        threading.Thread(target=self._beat_for_ever, daemon=True, name="heartbeat").start()
        self._remove_leavings()
        log.info("worker %s is ready (%s)", self.id, self.device)
        while not self.stopping.is_set():
            idle = self._tick()
            if self.once and idle:
                break
            self.stopping.wait(self.settings.worker_poll_seconds)
        self._end()

    def _tick(self) -> bool:
        """Take over, take on, see to it that all of it runs; whether there is nothing to do."""
        try:
            with self.writing.begin() as session:
                queue.settle_cancelled(session)
                self._take(session)
            return not self._run_mine()
        except DBAPIError as error:
            log.warning("the database is away: %s", str(error.orig).splitlines()[0])
        except Exception:  # one submission that cannot be begun must not end the worker
            log.exception("the queue could not be worked")
        return False

    def _take(self, session: Any) -> None:
        lost = heartbeats.lost_workers(session, self.settings.worker_lost_seconds)
        lost = [name for name in lost if name != self.id]
        free = self.settings.worker_concurrency - len(self._mine(session))
        while free > 0:
            found = queue.adopt(session, lost, self.id, gpu=self.gpu) if lost else None
            if found is None:
                quota = self.settings.running_per_submitter
                found = queue.claim(session, self.id, gpu=self.gpu, quota=quota)
            if found is None:
                return
            free -= 1

    def _mine(self, session: Any) -> list[Submission]:
        query = select(Submission).where(
            Submission.worker_id == self.id, Submission.state.in_(heartbeats.AT_WORK)
        )
        return list(session.scalars(query))

    def _run_mine(self) -> int:
        with self.reading() as session:
            mine = self._mine(session)
        for submission in mine:
            self._see_that_it_runs(submission)
        return len(mine)

    def _see_that_it_runs(self, submission: Submission) -> None:
        name = submission.workflow_id or ""
        given = self._given.get(name, 0.0)
        if name in workflow.active or time.monotonic() - given < HANDED_OVER:
            return
        status = DBOS.get_workflow_status(name)
        if status is None:
            with SetWorkflowID(name):
                DBOS.enqueue_workflow(self.id, workflow.evaluate_submission, submission.id)
        elif status.status in UNDER_WAY or status.status not in ("SUCCESS", "ERROR"):
            DBOS.resume_workflow(name, queue_name=self.id)
            log.info("submission %s goes on from its last finished step", submission.public_id)
        else:  # it ended, and could not say so
            with self.writing.begin() as session:
                found = session.get_one(Submission, submission.id)
                if found.worker_id == self.id and found.state in heartbeats.AT_WORK:
                    finish(session, found, SubmissionState.FAILED, workflow.UNEXPECTED)
            return
        self._given[name] = time.monotonic()

    def _open(self, submission_id: int) -> Evaluation:
        journal = Journal(self.reading, self.writing, submission_id, self.id)
        return Evaluation(
            self.settings,
            journal,
            self.reading,
            self.device,
            self.signer,
            self.sandbox,
            self.stopping.is_set,
        )

    def _beat_for_ever(self) -> None:
        pause = min(5.0, self.settings.worker_lost_seconds / 4)
        while True:
            state = "stopping" if self.stopping.is_set() else "busy" if workflow.active else "idle"
            try:
                with self.writing.begin() as session:
                    heartbeats.beat(session, self.id, self.device, state)
            except DBAPIError as error:
                log.warning("no heartbeat: %s", str(error.orig).splitlines()[0])
            time.sleep(pause)

    def _remove_leavings(self) -> None:
        """Folders of evaluations that ended elsewhere, and DBOS queues of workers of old."""
        with self.writing.begin() as session:
            names = heartbeats.forget_old(session)
            at_work = set(
                session.scalars(
                    select(Submission.public_id).where(Submission.state.in_(heartbeats.AT_WORK))
                )
            )
        for name in names:
            DBOS.delete_queue(name)
        folder = folder_of(self.settings, "")
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name not in at_work:
                remove_folder(self.settings, entry.name)

    def _end(self) -> None:
        """Stop the steps that run; what they belong to is at once free for other workers."""
        self.stopping.set()
        log.info("worker %s ends", self.id)
        deadline = time.monotonic() + 20
        while workflow.active and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            with self.writing.begin() as session:
                heartbeats.beat(session, self.id, self.device, heartbeats.STOPPED)
            DBOS.delete_queue(self.id)
        except Exception as error:
            log.warning("the end could not be entered: %s", error)
        logging.shutdown()
        os._exit(0)


def launch(settings: Settings, worker_id: str) -> None:
    """Start DBOS: its tables stand in the schema `dbos` of PostgreSQL, or in an SQLite file."""
    config: DBOSConfig = {
        "name": "ssl-bench",
        "system_database_url": settings.evaluation_database,
        "application_version": workflow.VERSION,
        "executor_id": worker_id,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "ERROR",
        "enable_otlp": False,
        "notification_listener_polling_interval_sec": 5.0,
    }
    DBOS(config=config)
    DBOS.listen_queues([worker_id])
    DBOS.launch()
    DBOS.register_queue(worker_id, polling_interval_sec=min(1.0, settings.worker_poll_seconds))


def wait_for_schema(engine: Engine, settings: Settings, seconds: float = 60.0) -> None:
    """The web server migrates; a worker that finds nobody doing it does it itself.

    Raises:
        SslBenchError: the schema is not this version's, and it may not be changed.
    """
    deadline = time.monotonic() + (seconds if revisions(engine)[0] else 5.0)
    while (found := revisions(engine))[0] != found[1]:
        if time.monotonic() > deadline:
            if not settings.migrate_on_start:
                raise SslBenchError(
                    f"the database is at revision {found[0]}, this version needs {found[1]}: run "
                    "`ssl-bench site migrate`"
                )
            migrate(engine)
            return
        time.sleep(0.5)


def worker_command(settings: Settings, device: str | None, once: bool) -> None:
    """Start a worker, and be it."""
    from benchmark.executors.device import choose_device
    from leaderboard.operations import configure_logs

    configure_logs(settings)
    refuse_bare_root()
    found = choose_device(device or settings.worker_device)
    Worker(settings, found, once=once).run()
