"""Callers at the same time share one run of work."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.support.waiting import WaitFor
from webhook.shared_work import SharedWork


def test_callers_that_wait_share_the_next_run(wait_for: WaitFor) -> None:
    work, begun, arrived, may_end = SharedWork[int](), list[int](), list[int](), Event()

    def count() -> int:
        begun.append(1)
        assert may_end.wait(30)
        return len(begun)

    def ask() -> int:
        arrived.append(1)
        return work.run(count)

    with ThreadPoolExecutor(21) as threads:
        first = threads.submit(work.run, count)
        wait_for(lambda: begun)
        # What these ask for must not be older than their question, so that the first run does not answer them.
        others = [threads.submit(ask) for _ in range(20)]
        wait_for(lambda: len(arrived) == len(others))
        may_end.set()
        results = {each.result(30) for each in others}
    assert first.result() == 1
    assert 1 not in results
    assert len(begun) < 10


def test_an_error_is_raised_for_all_and_does_not_stay() -> None:
    work = SharedWork[int]()
    with pytest.raises(ZeroDivisionError):
        work.run(lambda: 1 // 0)
    assert work.run(lambda: 2) == 2
