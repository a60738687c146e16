"""Workers and databases that die: nothing is lost, nothing is published twice, scores are the same.

`tests/bench/faults.py` does more of it, for longer.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from evaluation_lab import Lab, Scores, local_scores, make_lab
from own_postgres import Postgres, binaries

from leaderboard.db import StepState, SubmissionState, Worker
from leaderboard.evaluation.workflow import VERSION

FIRST, SECOND = ("mock-pitch", "linear-probe"), ("mock-pitch", "knn")


def running(lab: Lab, number: int, cell: tuple[str, str]) -> bool:
    step = lab.steps(number).get(cell)
    return step is not None and step.state == StepState.RUNNING


@pytest.fixture(scope="module")
def undisturbed(checkpoint: bytes, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    """What a local evaluation gives, of the same weights in a quicker architecture."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "net.safetensors").write_bytes(checkpoint)
    return local_scores("mock-net", folder / "net.safetensors", folder / "run")


@pytest.mark.slow
def test_killed_in_one_step_and_ended_in_the_next_it_goes_on_at_the_last_finished_one(
    lab: Lab, checkpoint: bytes, undisturbed: Scores
) -> None:
    number = lab.submit(checkpoint, architecture="mock-patient", name="Hunted")
    worker = lab.start_worker()
    lab.wait(lambda: running(lab, number, FIRST))
    workflow = lab.submission(number).workflow_id
    lab.kill(worker)

    worker = lab.start_worker()
    lab.wait(lambda: running(lab, number, SECOND))
    first = lab.steps(number)[FIRST]
    assert (first.state, first.attempts) == (StepState.DONE, 2)
    worker.terminate()
    assert worker.wait(15) == 0, lab.logs()
    assert lab.submission(number).state == SubmissionState.RUNNING
    with lab.reading() as session:
        assert session.get_one(Worker, lab.submission(number).worker_id).state == "stopped"

    lab.start_worker()
    lab.wait_for(number)
    submission = lab.submission(number)
    assert submission.state == SubmissionState.DONE, (submission.reason, lab.logs())
    assert submission.workflow_id == workflow
    with sqlite3.connect(lab.settings.home / "evaluation.db") as workflows:
        versions = workflows.execute("SELECT DISTINCT application_version FROM workflow_status")
        assert versions.fetchall() == [(VERSION,)]  # another release goes on with it
    again = lab.steps(number)[FIRST]
    assert (again.attempts, again.finished) == (2, first.finished)  # it was not done again
    assert lab.steps(number)[SECOND].attempts == 2
    assert lab.scores(number) == undisturbed


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    server = Postgres(programs)
    yield server
    server.remove()


@pytest.mark.slow
def test_two_workers_on_a_postgresql_that_crashes(
    postgres: Postgres, tmp_path: Path, prepared_cache: Path, checkpoint: bytes, undisturbed: Scores
) -> None:
    lab = make_lab(tmp_path / "site", prepared_cache, database_url=postgres.url)
    try:
        numbers = [
            lab.submit(checkpoint, architecture="mock-patient", name=f"Net {who}", owner=who)
            for who in ("ada", "bob")
        ]
        workers = [lab.start_worker(), lab.start_worker()]
        lab.wait(lambda: all(running(lab, number, FIRST) for number in numbers))
        owners = {lab.submission(number).worker_id for number in numbers}
        assert len(owners) == 2  # each has one
        lab.engine.dispose()
        postgres.stop("immediate")
        postgres.start()
        lab.wait(lambda: any(running(lab, number, SECOND) for number in numbers))
        lab.kill(workers[0])
        lab.wait_for(*numbers)
        assert [lab.submission(number).state for number in numbers] == ["done", "done"], lab.logs()
        for number in numbers:
            assert lab.scores(number) == undisturbed
    finally:
        lab.stop_all()
        lab.engine.dispose()
