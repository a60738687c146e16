"""What is done ahead is done in order, within bounds, and ends with the one who takes it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from benchmark.pipeline import Clock, in_background, in_order, one_ahead


def test_results_come_in_order_and_no_more_than_stated_are_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.002 * (number % 3))
        return number

    with ThreadPoolExecutor(4) as pool:
        taken = []
        for result in in_order(pool, (partial(work, number) for number in range(20)), 5):
            taken.append(result)
            assert len(begun) <= len(taken) + 5
    assert taken == list(range(20))


def test_an_error_comes_when_its_turn_comes() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    taken = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="two"):
        for result in in_order(pool, (partial(work, number) for number in range(5)), 3):
            taken.append(result)
    assert taken == [0, 1]


def test_the_next_is_carried_out_while_one_is_worked_on() -> None:
    done = [threading.Event() for _ in range(4)]

    def work(number: int) -> int:
        done[number].set()
        return number

    with ThreadPoolExecutor(1) as pool:
        for taken in one_ahead(pool, [partial(work, number) for number in range(4)]):
            if taken < 3:
                assert done[taken + 1].wait(10)
            assert not any(event.is_set() for event in done[taken + 2 :])
        assert taken == 3
        assert list(one_ahead(pool, [])) == []


def test_who_is_ahead_waits() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with in_background(items(), 3) as ahead:
        next(ahead)
        time.sleep(0.1)
        assert len(made) <= 6
        assert [0, *ahead] == list(range(100))


def test_the_thread_ends_with_the_block_whatever_happens() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with pytest.raises(KeyError), in_background(items(), 2) as ahead:
        next(ahead)
        raise KeyError
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "feed"]


def test_an_error_of_the_thread_is_raised_where_items_are_taken() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    with in_background(items(), 2) as ahead:
        assert next(ahead) == 1
        with pytest.raises(ValueError, match="damaged"):
            next(ahead)


def test_the_clock_tells_waiting_from_computing() -> None:
    clock = Clock()
    time.sleep(0.05)
    clock.begin()
    clock.begin()
    time.sleep(0.1)
    clock.end()
    clock.end()
    assert 0.04 < clock.waiting < 0.09 < clock.computing
