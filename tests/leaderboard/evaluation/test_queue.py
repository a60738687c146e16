"""Who is next, who takes over."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from leaderboard.db import SubmissionState, Worker, now
from leaderboard.evaluation import heartbeats, queue


@pytest.fixture
def add(lab: Any) -> Any:
    def submit(owner: str, **facts: Any) -> int:
        number: int = lab.submit(b"x", owner=owner, **facts)
        return number

    with lab.writing.begin() as session:
        for name in ("one", "two"):
            session.add(Worker(id=name, host="far away", process=1, device="cpu"))
    return submit


def take(lab: Any, *, gpu: bool = False, quota: int = 9, worker: str = "one") -> int | None:
    with lab.writing.begin() as session:
        found = queue.claim(session, worker, gpu=gpu, quota=quota)
        return None if found is None else found.id


def test_submitters_take_turns(lab: Any, add: Any) -> None:
    ada = [add("ada") for _ in range(3)]
    bob = [add("bob") for _ in range(2)]
    eve = [add("eve")]
    order = [take(lab) for _ in range(7)]
    assert order == [ada[0], bob[0], eve[0], ada[1], bob[1], ada[2], None]


def test_turns_go_on_when_earlier_ones_have_ended(lab: Any, add: Any) -> None:
    ada = [add("ada") for _ in range(2)]
    first = take(lab)
    lab.change(first, state=SubmissionState.DONE)
    bob = add("bob")
    assert [take(lab), take(lab)] == [bob, ada[1]]


def test_priority_goes_first_and_quota_bounds(lab: Any, add: Any) -> None:
    add("ada")
    urgent = [add("ada", priority=5) for _ in range(2)]
    low = add("bob", priority=-1)
    assert [take(lab, quota=2) for _ in range(4)] == [*urgent, low, None]
    lab.change(urgent[0], state=SubmissionState.FAILED)
    assert take(lab, quota=2) is not None


def test_gpu_jobs_wait_for_gpu_workers_which_take_them_first(lab: Any, add: Any) -> None:
    plain, heavy = add("ada"), add("bob", gpu=True)
    assert take(lab) == plain
    assert take(lab) is None
    other = add("eve")
    assert take(lab, gpu=True) == heavy
    assert take(lab, gpu=True) == other


def test_what_was_cancelled_is_not_taken(lab: Any, add: Any) -> None:
    number = add("ada", cancel_requested=True)
    assert take(lab) is None
    with lab.writing.begin() as session:
        assert queue.settle_cancelled(session) == 1
    assert lab.submission(number).state == SubmissionState.CANCELLED
    assert lab.submission(number).finished is not None


def silence(session: Session, worker: str, seconds: float) -> None:
    session.get_one(Worker, worker).heartbeat = now() - timedelta(seconds=seconds)


def test_only_a_lost_worker_is_taken_over_from_and_by_one(lab: Any, add: Any) -> None:
    number = add("ada")
    assert take(lab) == number
    name = lab.submission(number).workflow_id
    with lab.writing.begin() as session:
        assert heartbeats.lost_workers(session, 30) == []
        silence(session, "one", 31)
        lost = heartbeats.lost_workers(session, 30)
        assert lost == ["one"]
        taken = queue.adopt(session, lost, "two", gpu=False)
        assert taken is not None
        assert taken.id == number
        assert queue.adopt(session, lost, "three", gpu=False) is None
    assert lab.submission(number).worker_id == "two"
    assert lab.submission(number).workflow_id == name  # it goes on, it does not begin anew


def test_a_worker_that_ended_on_this_machine_is_lost_at_once(lab: Any, add: Any) -> None:
    with lab.writing.begin() as session:
        ended = f"{heartbeats.place()}-4194304-x"  # no process has this id
        session.add(Worker(id=ended, host="here", process=4194304, device="cpu"))
        here = heartbeats.new_worker_id()
        heartbeats.register(session, here, "cpu")
    numbers = [add("ada"), add("bob")]
    assert take(lab, worker=ended) == numbers[0]
    assert take(lab, worker=here) == numbers[1]
    with lab.reading() as session:
        assert heartbeats.lost_workers(session, 3600) == [ended]


def test_a_stopped_worker_gives_up_its_work(lab: Any, add: Any) -> None:
    add("ada")
    take(lab)
    with lab.writing.begin() as session:
        heartbeats.beat(session, "one", "cpu", heartbeats.STOPPED)
        assert heartbeats.lost_workers(session, 3600) == ["one"]
