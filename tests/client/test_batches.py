"""Batches: results, waiting, and changes to all their jobs."""

import json
from contextlib import closing
from typing import Any

import pytest

from boomerang_client import (
    Client,
    NotFound,
    ServiceUnavailable,
    Status,
    StillRunning,
)
from tests.support.fake_boomerang import FakeService, Fault

LINES = [{"model": "kirin_image_omni", "prompt": f"Boat {number} – grün"} for number in range(5)]
NDJSON = "".join(json.dumps(line) + "\n" for line in LINES).encode()


def test_results_are_streamed_in_input_order(client: Client, service: FakeService) -> None:
    batch = client.enqueue_batch(LINES)
    service.end(f"{batch.id}.2")
    jobs = list(client.results(batch.id))
    assert [job.id for job in jobs] == service.batches[batch.id]
    assert [job.status for job in jobs].count(Status.COMPLETED) == 1


def test_reading_results_may_stop_early(client: Client, service: FakeService) -> None:
    batch = client.batch(client.enqueue_batch(LINES).id)
    results: Any = client.results(batch)
    with closing(results) as jobs:
        assert next(jobs).id == f"{batch.id}.1"


def test_truncated_results_are_an_error(client: Client, service: FakeService) -> None:
    batch = client.enqueue_batch(LINES)
    service.results_cut_after = 3
    jobs = client.results(batch.id)
    assert [next(jobs).id for _ in range(3)] == service.batches[batch.id][:3]
    with pytest.raises(ServiceUnavailable, match="broke off after 3 lines"):
        next(jobs)


def test_waiting_reports_each_request_until_the_batch_is_done(
    client: Client, service: FakeService, pauses: list[float]
) -> None:
    service.per_look = 2
    reports: list[Any] = []
    batch = client.wait(client.enqueue_batch(LINES).id, progress=reports.append, every=7)
    assert [report.finished for report in reports] == [2, 4, 5]
    assert pauses == [7, 7]
    assert [one.path.rpartition("/")[2] for one in service.seen[1:]] == [batch.id] * 3
    assert batch.done
    assert (batch.counts[Status.COMPLETED], batch.unsuccessful, str(batch.cost)) == (5, 0, "1.23")


def test_waiting_for_a_batch_ends_with_the_timeout(client: Client, service: FakeService) -> None:
    service.per_look = 0
    batch = client.batch(client.enqueue_batch(LINES).id)
    with pytest.raises(StillRunning, match="0 of 5 jobs ended in 10 s"):
        client.wait(batch, timeout=10)
    with pytest.raises(NotFound, match="no batch summer"):
        client.wait("summer")


def failing(client: Client, service: FakeService) -> str:
    """A batch of three jobs, one of which failed."""
    batch = client.enqueue_batch([LINES[0], LINES[1] | {"prompt": "please fail"}, LINES[2]])
    service.end(f"{batch.id}.2")
    return batch.id


def test_a_batch_is_changed_as_a_whole(client: Client, service: FakeService) -> None:
    id_ = failing(client, service)
    paused = client.pause(id_)
    assert (paused.id, paused.action, paused.affected, paused.pending) == (id_, "pause", 2, 0)
    service.per_look = 0
    seen = client.batch(id_)
    assert (seen.paused, seen.rate, seen.eta, dict(seen.errors)) == (True, 2.5, None, {})
    assert client.resume(seen).action == "resume"
    assert not client.batch(id_).paused
    assert client.cancel_batch(id_).affected == 2
    assert service.paths()[-1] == f"POST /v1/batches/{id_}/cancel"


@pytest.mark.parametrize(
    ("options", "affected", "query"),
    [
        pytest.param({}, 1, "", id="failed"),
        pytest.param({"codes": ["002016095", "1301"]}, 1, "code=002016095&code=1301", id="codes"),
        pytest.param({"codes": ["1301"]}, 0, "code=1301", id="another code"),
        pytest.param({"statuses": [Status.CANCELLED, "expired"]}, 0, "status=cancelled&status=expired", id="statuses"),
        pytest.param({"dry_run": True}, 1, "dry_run=true", id="dry run"),
    ],
)
def test_failed_jobs_are_retried(
    client: Client, service: FakeService, options: dict[str, Any], affected: int, query: str
) -> None:
    id_ = failing(client, service)
    assert client.retry_batch(id_, **options).affected == affected
    assert service.seen[-1].raw_query == query
    tried_again = affected and not options.get("dry_run")
    assert service.jobs[f"{id_}.2"]["status"] == ("queued" if tried_again else "failed")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel_batch"])
def test_a_change_with_a_lost_response_is_repeated(client: Client, service: FakeService, verb: str) -> None:
    id_ = failing(client, service)
    service.faults.append(Fault(after=True))
    getattr(client, verb)(id_)
    assert len(service.seen) == 3


def test_a_retry_of_a_batch_is_never_repeated(client: Client, service: FakeService) -> None:
    id_ = failing(client, service)
    service.faults.append(Fault(after=True))
    with pytest.raises(ServiceUnavailable):
        client.retry_batch(id_, codes=["002016095"])
    assert len(service.seen) == 2


def test_a_change_of_an_unknown_batch_is_an_error(client: Client, service: FakeService) -> None:
    for verb in (client.pause, client.resume, client.cancel_batch, client.retry_batch):
        with pytest.raises(NotFound, match="no batch summer"):
            verb("summer")
