"""The evaluation of a submission as a durable DBOS workflow.

Its steps: check the file and plan; one step per (task, protocol); publish. What a step returned is
kept by DBOS, so that whoever runs the workflow next goes on behind the last finished step. The
steps are looked up by their order: while `VERSION` stays the same, workflows begun by an older
release are finished by a newer one; where the order changes, a new number makes the newer release
leave them to workers of the older one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from dbos import DBOS, StepOptions, WorkflowSerializationFormat
from sqlalchemy.exc import DBAPIError, OperationalError

from leaderboard.db import StepState, SubmissionState
from leaderboard.evaluation.evaluation import Evaluation
from leaderboard.evaluation.journal import Abandoned
from leaderboard.evaluation.sandbox import StepError

VERSION = "evaluation-1"
NAME = "evaluate_submission"
DATABASE_PATIENCE = 15 * 60  # seconds without a database until a workflow gives up
log = logging.getLogger("ssl_bench.worker")
T = TypeVar("T")

_open: Callable[[int], Evaluation] | None = None  # how this process opens a submission
active: dict[str, float] = {}  # workflow id -> since when this process runs it


def serve(opener: Callable[[int], Evaluation]) -> None:
    """Say how workflows of this process get at a submission."""
    global _open  # noqa: PLW0603 - a workflow's arguments are all that DBOS hands over
    _open = opener


@DBOS.workflow(
    name=NAME,
    max_recovery_attempts=None,  # a step counts its own attempts
    serialization_type=WorkflowSerializationFormat.PORTABLE,
)
def evaluate_submission(submission_id: int) -> str:
    """Evaluate and publish one submission; returns how it ended."""
    assert _open is not None
    workflow = DBOS.workflow_id or ""
    active[workflow] = time.time()
    evaluation = _open(submission_id)
    try:
        return _evaluate(evaluation)
    except Abandoned:
        log.info("submission %s is left to another worker", submission_id)
        raise
    except Exception:
        log.exception("submission %s: its workflow failed", submission_id)
        patiently(evaluation.close, SubmissionState.FAILED, UNEXPECTED)
        return SubmissionState.FAILED
    finally:
        active.pop(workflow, None)


UNEXPECTED = (
    "something went wrong on the server, not with what you sent; the operators can see what"
)


def _evaluate(evaluation: Evaluation) -> str:
    plan = _step("plan", evaluation.plan)
    if plan["state"] == StepState.FAILED:
        return _closed(evaluation, SubmissionState.FAILED, plan["message"])
    outcomes = []
    cancelled = plan["state"] == StepState.CANCELLED
    for cell in plan["cells"]:
        found = _step(f"{cell[0]} / {cell[1]}", evaluation.run_cell, cell, retries=evaluation)
        if cancelled := found["state"] == StepState.CANCELLED:
            break
        outcomes.append({"cell": cell, **found})
    if cancelled:
        return _closed(evaluation, SubmissionState.CANCELLED, "")
    ended: str = _step("publish", evaluation.publish, outcomes)
    return ended


def _closed(evaluation: Evaluation, state: SubmissionState, reason: str) -> str:
    _step("close", evaluation.close, state, reason)
    return state


def _step(
    name: str, function: Callable[..., Any], *arguments: Any, retries: Evaluation | None = None
) -> Any:
    """Run a step of the workflow: kept once it has returned. A step of the sandbox that ends badly
    is tried again with growing pauses; the last time it says why in its outcome."""

    def attempt() -> Any:
        return patiently(function, *arguments)

    def again(error: BaseException) -> bool:
        return isinstance(error, StepError) and not error.final

    options = StepOptions(name=name)
    if retries is not None:
        options |= StepOptions(
            retries_allowed=True,
            max_attempts=retries.settings.step_attempts,
            interval_seconds=retries.settings.step_retry_seconds,
            backoff_rate=3.0,
            should_retry=again,
        )
    return DBOS.run_step(options, attempt)


def patiently(function: Callable[..., T], *arguments: Any) -> T:
    """Call again while the database cannot be reached, or is held by someone else."""
    deadline, pause = time.monotonic() + DATABASE_PATIENCE, 0.5
    while True:
        try:
            return function(*arguments)
        except DBAPIError as error:
            away = error.connection_invalidated or isinstance(error, OperationalError)
            if not away or time.monotonic() > deadline:
                raise
            log.warning("the database is away: %s", str(error.orig).splitlines()[0])
        time.sleep(pause)
        pause = min(pause * 2, 10)
