"""What the steps of a submission's workflow do: check and plan, evaluate a cell, publish."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbos import DBOS
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from benchmark.errors import SslBenchError
from benchmark.results import Result as ResultFile
from leaderboard.db import Kind, ResultState, StepState, Submission, SubmissionState
from leaderboard.evaluation.files import local_copy, remove_folder, scratch_of
from leaderboard.evaluation.journal import (
    ENDED,
    Abandoned,
    CancelledError,
    Cell,
    Journal,
    finish,
    log_differences,
)
from leaderboard.evaluation.limits import DATA, MODEL, PREPARED, Job, Limits
from leaderboard.evaluation.planning import cells_of
from leaderboard.evaluation.preparing import prepared
from leaderboard.evaluation.publishing import checked_result, publish_submission, published_cells
from leaderboard.evaluation.sandbox import Sandbox, StepError, StoppedError
from leaderboard.evaluation.signing import Signer
from leaderboard.evaluation.step import Cell as StepCell
from leaderboard.settings import Settings

log = logging.getLogger("ssl_bench.worker")
CHECK = "leaderboard.validation.checks:check"


@dataclass(frozen=True)
class Evaluation:
    """One submission in the hands of one worker."""

    settings: Settings
    journal: Journal
    reading: sessionmaker[Session]
    device: str
    signer: Signer
    sandbox: Sandbox
    stopping: Callable[[], bool]

    def plan(self) -> dict[str, Any]:
        """Check the file in the sandbox and list the cells: {"state", "cells", "message"}."""
        submission = self._submission()
        try:
            self._go_on()
            path = local_copy(self.settings, submission)
            refused = self._check(submission, path)
            if refused:
                return {"state": StepState.FAILED, "cells": [], "message": refused}
            cells, absent = cells_of(submission, self.settings)
        except CancelledError:
            return {"state": StepState.CANCELLED, "cells": []}
        except (SslBenchError, StepError) as error:
            return {"state": StepState.FAILED, "cells": [], "message": str(error)}
        with self.reading() as session:
            done = published_cells(session, submission.id)
        self.journal.plan(cells, absent)
        todo = [list(cell) for cell in cells if cell not in done]
        return {"state": StepState.DONE, "cells": todo}

    def run_cell(self, cell: list[str]) -> dict[str, Any]:
        """Evaluate one (task, protocol): {"state", "message", "result"}.

        Raises:
            StepError: it ended badly and may end otherwise the next time.
        """
        key: Cell = (cell[0], cell[1])
        try:
            self._go_on()
            begun = self.journal.begin(key)
            if begun > self.settings.step_interruptions:
                raise StepError(
                    f"it was begun {begun - 1} times and never ended, perhaps because it takes the "
                    "whole machine with it",
                    final=True,
                )
            outcome = self._evaluated(key)
        except CancelledError:
            return {"state": StepState.CANCELLED, "message": ""}
        except StepError as error:
            log.warning("%s / %s: %s %s", *key, error, error.detail)
            status = DBOS.step_status
            last = status is None or status.current_attempt in (
                None,
                (status.max_attempts or 1) - 1,
            )
            if not (error.final or last):
                self.journal.progress(key, f"{error}; it is tried again")
                raise
            outcome = {"state": StepState.FAILED, "message": str(error)}
        self.journal.end(key, StepState(outcome["state"]), outcome["message"])
        return outcome

    def publish(self, outcomes: list[dict[str, Any]]) -> str:
        """Publish what was scored, and end the submission, in one transaction."""
        if self.stopping():
            raise Abandoned
        failed = [o for o in outcomes if o["state"] == StepState.FAILED]
        files = [ResultFile.model_validate(o["result"]) for o in outcomes if o.get("result")]
        with self.journal.entry() as (session, submission):
            if submission.cancel_requested or submission.state in ENDED:
                finish(session, submission, SubmissionState.CANCELLED)
                return SubmissionState.CANCELLED
            reason = _summary(failed, len(outcomes), bool(files))
            state = SubmissionState.FAILED if failed else SubmissionState.DONE
            if not files and not failed and not published_cells(session, submission.id):
                reason, state = (
                    "the encoder has no output that a task needs",
                    SubmissionState.FAILED,
                )
            if files:
                try:
                    with session.begin_nested():
                        publish_submission(
                            session, submission, files, self.signer, ResultState.VERIFIED
                        )
                        log_differences(session, submission)
                except SslBenchError as error:
                    reason, state = f"the results cannot be published: {error}", state.FAILED
            finish(session, submission, state, reason)
            public_id = submission.public_id
        remove_folder(self.settings, public_id)
        return state

    def close(self, state: SubmissionState, reason: str = "") -> None:
        """End a submission without publishing."""
        self.journal.close(state, reason)
        remove_folder(self.settings, self._submission().public_id)

    def _go_on(self) -> None:
        if self.stopping():
            raise Abandoned
        self.journal.check()

    def _submission(self) -> Submission:
        with self.reading() as session:
            submission = session.get_one(Submission, self.journal.submission_id)
            _ = submission.upload  # loaded while there is a session
            return submission

    def _check(self, submission: Submission, path: Path) -> str:
        """Why the file is refused; empty where it is not."""
        inside = f"{MODEL}/{path.name}"
        arguments = {
            "path": str(path),
            "kind": str(submission.kind),
            "name": path.name,
            "architecture": submission.architecture,
            "modality": submission.modality,
            "options": submission.input_options or None,
        }
        job = Job(
            arguments,
            CHECK,
            read_only=((str(path), inside),),
            hidden=self._hidden(),
            uid=self.settings.sandbox_uid,
            namespaces=self.settings.sandbox_namespaces,
            limits=self._limits(),
        )
        return str(self._run(job).get("refused", ""))

    def _run(
        self, job: Job, tell: Callable[[dict[str, Any]], None] = lambda message: None
    ) -> dict[str, Any]:
        try:
            return self.sandbox.run(job, tell, self._unwanted)
        except StoppedError:
            self._go_on()
            raise StepError("it was stopped") from None

    def _evaluated(self, key: Cell) -> dict[str, Any]:
        submission = self._submission()
        path = local_copy(self.settings, submission)
        try:
            data = prepared(key[0], self.settings.data_dir)
        except SslBenchError as error:
            raise StepError(str(error)) from None
        scratch = scratch_of(self.settings, submission.public_id)
        is_onnx = submission.kind == Kind.ONNX
        cell = StepCell(
            task=key[0],
            protocol=key[1],
            modality=submission.modality,
            architecture="" if is_onnx else submission.architecture,
            checkpoint="" if is_onnx else str(path),
            onnx=str(path) if is_onnx else "",
            input_options=json.dumps(submission.input_options or {}),
            data_dir=str(self.settings.data_dir or ""),
            prepared=str(data.folder),
            prepared_name=data.name,
            device=self.device,
            precision="bfloat16" if self.device.startswith("cuda") else "float32",
            batch_size=self.settings.step_batch_size,
            threads=self.settings.worker_threads,
        )
        read_only = [(str(path), f"{MODEL}/{path.name}"), (str(data.folder), PREPARED)]
        if self.settings.data_dir is not None:
            read_only.append((str(self.settings.data_dir), DATA))
        gpu = self.device.startswith("cuda")
        job = Job(
            cell.arguments(),
            read_only=tuple(read_only),
            devices=tuple(glob.glob("/dev/nvidia*")) if gpu else (),
            scratch=str(scratch),
            hidden=self._hidden(),
            uid=self.settings.sandbox_uid,
            namespaces=self.settings.sandbox_namespaces,
            limits=self._limits(),
        )
        end = self._run(job, self._teller(key))
        if "result" in end:
            result = checked_result(end["result"], cell, submission)
            score = result.score
            text = f"{result.metric} {score.value:.4f}"
            return {
                "state": StepState.DONE,
                "message": text,
                "result": result.model_dump(mode="json"),
            }
        if "skip" in end:
            return {"state": StepState.SKIPPED, "message": str(end["skip"])}
        raise StepError(str(end.get("failure", "it ended without a result"))[:1500], final=True)

    def _limits(self) -> Limits:
        s = self.settings
        return Limits(
            memory_bytes=int(s.step_memory_gib * 2**30),
            cpu_seconds=s.step_cpu_seconds,
            wall_seconds=s.step_wall_seconds,
            disk_bytes=int(s.step_disk_gib * 2**30),
            processes=s.step_processes,
        )

    def _hidden(self) -> tuple[str, ...]:
        database = self.settings.database.removeprefix("sqlite:///")
        return (str(self.settings.home.resolve()), *(() if "://" in database else (database,)))

    def _unwanted(self) -> bool:
        return self.stopping() or not self.journal.still_wanted()

    def _teller(self, key: Cell) -> Callable[[dict[str, Any]], None]:
        def tell(message: dict[str, Any]) -> None:
            with suppress(DBAPIError, Abandoned):  # the next message says it anew
                self.journal.progress(key, _words(message))

        return tell


def _words(message: dict[str, Any]) -> str:
    """A message of the engine's, as the submission page shows it."""
    done, total, detail = message.get("done"), message.get("total"), message.get("detail", "")
    if message.get("phase") == "embed" and total:
        return f"embedding {detail}: {done} of {total}"
    if message.get("phase") == "score":
        return "scoring"
    return f"{message.get('phase')} {detail}".strip()[:300]


def _summary(failed: list[dict[str, Any]], all_: int, some: bool) -> str:
    if not failed:
        return ""
    first = failed[0]
    task, protocol = first["cell"]
    rest = "; the others are published" if some else ""
    return (
        f"{len(failed)} of {all_} evaluations failed{rest}. {task} / {protocol}: {first['message']}"
    )
