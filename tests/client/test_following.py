"""Following a batch: events under every fault, and each job once as it ends."""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from boomerang_client import Client, Job, ServiceUnavailable, Status, StillRunning
from boomerang_client.following import BatchChanges, EndedJobs
from boomerang_client.retrying import PatientCaller
from tests.support.fake_boomerang import FakeService, Fault

REQUEST = {"model": "kirin_image_omni", "prompt": "A red boat"}


def paths(service: FakeService) -> list[str]:
    return [one.path.rpartition("/")[2] for one in service.seen if one.method == "GET"]


def test_events_report_the_changes(client: Client, service: FakeService, pauses: list[float]) -> None:
    service.per_look = 1
    batch = client.batch([REQUEST] * 4, "b")
    counts = []
    assert batch.wait(progress=lambda seen: counts.append(seen.finished)) is batch
    assert counts == [2, 3, 4]
    assert paths(service) == ["b", "b", "events"]
    assert (batch.done, pauses) == (True, [])


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"status": 503, "headers": {"Retry-After": "1"}}, id="all seats taken"),
        pytest.param({"status": 429}, id="too busy"),
        pytest.param({}, id="cut"),
    ],
)
def test_without_events_it_polls(
    client: Client, service: FakeService, pauses: list[float], fault: dict[str, Any]
) -> None:
    service.per_look = 1
    batch = client.batch([REQUEST] * 4, "b")

    def fail() -> None:
        if paths(service)[-1] == "events":
            service.faults.append(Fault(**fault))

    service.on_request = fail
    batch.wait()
    assert paths(service) == ["b", "b", "events", "b", "events", "b"]
    assert pauses == [1, 1]


def test_an_interrupted_event_stream_is_requested_again(client: Client, service: FakeService) -> None:
    service.per_look = 1
    batch = client.batch([REQUEST] * 6, "b")
    service.events_cut_after = 1
    batch.wait()
    assert paths(service) == ["b", "b", "events", "b", "events", "b"]


def test_a_service_that_becomes_unreachable_is_waited_for(
    client: Client, service: FakeService, pauses: list[float]
) -> None:
    service.per_look = 1
    batch = client.batch([REQUEST] * 6, "b")
    service.events_cut_after = 1
    service.on_request = lambda: service.faults.extend([Fault()] * 12 if len(service.seen) == 5 else [])
    batch.wait()
    assert pauses == [1, 1, 2, 1]  # one pause after the interrupted events, and one for the unreachable service
    service.on_request = lambda: service.faults.append(Fault())
    with pytest.raises(ServiceUnavailable):  # a service that was never reached is not waited for
        client.wait("b")


def test_waiting_ends_at_the_timeout_even_without_events(client: Client, service: FakeService) -> None:
    service.per_look = 0
    batch = client.batch([REQUEST], "b")
    service.events_cut_after = 0
    with pytest.raises(StillRunning, match="0 of 1 jobs ended in 5 s"):
        batch.wait(timeout=5)
    with pytest.raises(StillRunning, match="0 of 1 jobs ended"):
        list(batch.results(timeout=5))


def test_heartbeats_do_not_extend_the_timeout(client: Client, service: FakeService) -> None:
    service.per_look = 0
    batch = client.batch([REQUEST], "b")
    ticks = itertools.count()

    class Silent:
        def events(self, path: str) -> Iterator[None]:
            yield from itertools.repeat(None)

    def clock() -> float:
        return next(ticks)

    caller = PatientCaller(0, clock, lambda _: None)
    changes = BatchChanges(Silent(), batch.refresh, caller, clock, lambda _: None, timeout=60)  # type: ignore[arg-type]
    with pytest.raises(StillRunning):
        list(changes.states())
    assert 60 <= next(ticks) < 70


def test_each_result_is_returned_once_as_it_finishes(client: Client, service: FakeService) -> None:
    service.per_look = 0
    service.page = 3
    batch = client.batch([REQUEST] * 10, "b")
    order = list(range(1, 11))
    random.Random(7).shuffle(order)
    ending = iter(order)

    def end_one() -> None:
        if (number := next(ending, None)) is not None:
            service.end(f"b.{number}")

    service.on_request = end_one
    found = [job.id for job in batch.results()]
    assert sorted(found) == sorted(service.batches["b"])
    assert len(found) == 10
    assert batch.refresh().done


def test_results_of_a_finished_batch_are_in_input_order(client: Client, service: FakeService) -> None:
    batch = client.batch([REQUEST] * 5, "b")
    assert [job.id for job in batch.results()] == service.batches["b"]
    assert [job.id for job in batch.results()] == service.batches["b"]  # again from the beginning


class Jobs:
    """A batch's jobs in pages of two, as `GET /v1/jobs?batch=` returns them. Records which pages are read."""

    def __init__(self, count: int) -> None:
        self.states = [Status.QUEUED] * count
        self.read: list[int] = []

    def fetch(self, cursor: str | None) -> tuple[list[Job], str | None]:
        start = int(cursor or 0)
        self.read.append(start)
        jobs = [
            Job(id=str(place), status=status, model="m")
            for place, status in list(enumerate(self.states))[start : start + 2]
        ]
        return jobs, str(start + 2) if start + 2 < len(self.states) else None

    def finished(self) -> int:
        return sum(status.final for status in self.states)


Search = Callable[..., tuple[list[int], list[int]]]


@pytest.fixture
def search() -> Search:
    """`search(jobs, ended)` returns the jobs that are found and the pages that were read."""

    def one(jobs: Jobs, ended: EndedJobs, *, everywhere: bool = False) -> tuple[list[int], list[int]]:
        jobs.read.clear()
        found = [int(job.id) for job in ended.search(jobs.finished(), everywhere=everywhere)]
        return found, jobs.read[:]

    return one


def test_the_search_reads_only_pages_with_unfinished_jobs(search: Search) -> None:
    jobs = Jobs(10)
    ended = EndedJobs(jobs.fetch)
    jobs.states[0] = Status.COMPLETED
    assert search(jobs, ended) == ([0], [0])
    jobs.states[1] = jobs.states[4] = Status.FAILED
    assert search(jobs, ended) == ([1, 4], [0, 2, 4])
    # the first page is finished and never read again
    jobs.states[5] = Status.COMPLETED
    assert search(jobs, ended) == ([5], [2, 4])
    jobs.states[2:] = [Status.COMPLETED] * 8
    assert search(jobs, ended, everywhere=True) == ([2, 3, 6, 7, 8, 9], [2, 6, 8])


def test_a_retried_job_is_found_once_and_hides_no_other(search: Search) -> None:
    jobs = Jobs(6)
    ended = EndedJobs(jobs.fetch)
    jobs.states[0] = jobs.states[1] = Status.FAILED
    assert search(jobs, ended) == ([0, 1], [0])
    # one is retried and another ends, so the number of ended jobs stays the same
    jobs.states[1], jobs.states[2] = Status.QUEUED, Status.COMPLETED
    assert search(jobs, ended)[0] == [2]
    jobs.states[1:] = [Status.COMPLETED] * 5
    assert search(jobs, ended, everywhere=True)[0] == [3, 4, 5]


def test_added_jobs_are_found(search: Search) -> None:
    jobs = Jobs(3)
    ended = EndedJobs(jobs.fetch)
    jobs.states[:] = [Status.COMPLETED] * 3
    assert search(jobs, ended)[0] == [0, 1, 2]
    jobs.states += [Status.COMPLETED] * 3
    assert search(jobs, ended)[0] == [3, 4, 5]


def test_expired_jobs_do_not_hide_others(search: Search) -> None:
    jobs = Jobs(4)
    ended = EndedJobs(jobs.fetch)
    jobs.states[0] = Status.COMPLETED
    assert search(jobs, ended)[0] == [0]
    # the first job is deleted, and the next page's first job moves to its page
    jobs.states[2] = Status.COMPLETED
    whole = jobs.fetch
    ended.fetch = lambda cursor: ([*whole(cursor)[0][1:], whole("2")[0][0]], "2") if cursor is None else whole(cursor)
    assert [int(job.id) for job in ended.search(2, everywhere=True)] == [2]


def test_waiting_with_progress_prints_a_line(
    client: Client, service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    client.batch([REQUEST, REQUEST | {"prompt": "please fail"}], "b").wait(progress=True)
    assert capsys.readouterr().err == "2 of 2 ended: 1 completed, 1 failed\n"
