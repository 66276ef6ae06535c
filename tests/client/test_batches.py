"""Batches: streamed uploads, what can be sent again, results, waiting."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import Client, Invalid, NotFound, ServiceUnavailable, Status, StillRunning, UsageError
from boomerang_client.bodies import body_of

LINES = [{"model": "kirin_image_omni", "prompt": f"Boat {number} – grün"} for number in range(5)]
NDJSON = "".join(json.dumps(line) + "\n" for line in LINES).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "jobs.jsonl"
    file.write_bytes(NDJSON)
    return file


def sources(path: Path) -> dict[str, Callable[[], Any]]:
    return {
        "path": lambda: path,
        "file": lambda: io.BytesIO(NDJSON),
        "list": lambda: LINES,
        "list-of-bytes": lambda: NDJSON.splitlines(keepends=True),
        "generator": lambda: (line for line in LINES),
    }


@pytest.mark.parametrize("source", ["path", "file", "list", "list-of-bytes", "generator"])
def test_every_source_arrives_whole(client: Client, service: Any, path: Path, source: str) -> None:
    sent = []
    accepted = client.enqueue_batch(sources(path)[source](), progress=sent.append)
    assert (accepted.accepted, accepted.known, accepted.rejected) == (5, 0, 0)
    assert [json.loads(line) for line in service.seen[0].body.splitlines()] == LINES
    assert sent[-1] == len(service.seen[0].body)
    assert service.seen[0].headers["content-type"] == "application/x-ndjson"
    assert service.batches == {accepted.id: [f"{accepted.id}.{number}" for number in range(1, 6)]}


@pytest.mark.parametrize("source", ["path", "file", "list", "list-of-bytes"])
@pytest.mark.parametrize("after", [False, True], ids=["cut", "answer-lost"])
def test_a_source_that_can_begin_again_is_sent_again_whole(
    client: Client, service: Any, fault_type: Any, path: Path, *, source: str, after: bool
) -> None:
    service.faults.append(fault_type(after=after))
    accepted = client.enqueue_batch(sources(path)[source]())
    assert (accepted.accepted, accepted.known) == ((0, 5) if after else (5, 0))
    assert service.seen[0].body == service.seen[1].body
    assert len(service.jobs) == 5


@pytest.mark.parametrize(
    "fault", [pytest.param({}, id="cut"), pytest.param({"status": 503, "headers": {"Retry-After": "0"}}, id="503")]
)
def test_a_plain_iterator_is_sent_once_and_the_error_names_the_id(
    client: Client, service: Any, fault_type: Any, fault: dict[str, Any]
) -> None:
    service.faults.append(fault_type(**fault))
    with pytest.raises(ServiceUnavailable) as caught:
        client.enqueue_batch(line for line in LINES)
    assert len(service.seen) == 1
    assert service.seen[0].query == {"id": caught.value.repeat_id}


def test_a_file_wrapper_is_not_taken_for_something_that_begins_again() -> None:
    class Wrapper:
        def __init__(self) -> None:
            self.lines = iter([b"{}"])

        def __iter__(self) -> Iterator[bytes]:
            yield from self.lines

    assert body_of(Wrapper()).repeatable is False
    assert body_of([b"{}"]).repeatable is True


def test_a_file_is_sent_from_where_it_stands_to_its_present_end() -> None:
    file = io.BytesIO(b"skipped\n" + NDJSON)
    file.readline()
    body = body_of(file)
    file.seek(0, 2)
    file.write(b"appended later\n")
    body.seek(0)
    assert len(body) == len(NDJSON)
    assert b"".join(body) == NDJSON


def test_lines_are_read_while_they_are_sent(client: Client, service: Any) -> None:
    read = []

    def lines() -> Iterator[dict[str, str]]:
        for number in range(5000):
            read.append(number)
            yield LINES[0]

    seen_at = []
    client.enqueue_batch(lines(), progress=lambda sent: seen_at.append(len(read)))
    assert seen_at[0] < 2000
    assert len(service.jobs) == 5000


def test_repeating_an_upload_under_its_id_changes_nothing(client: Client, service: Any, path: Path) -> None:
    first = client.enqueue_batch(path, id="spring")
    again = client.enqueue_batch(path, id="spring")
    assert (first.id, first.accepted, again.accepted, again.known) == ("spring", 5, 0, 5)


def test_rejected_lines_come_with_number_fields_and_codes(client: Client, service: Any) -> None:
    accepted = client.enqueue_batch([LINES[0], {"n": 0}, LINES[1]])
    assert (accepted.accepted, accepted.rejected) == (2, 1)
    [error] = accepted.errors
    assert (error.line, error.codes) == (2, ("002016003",))
    assert error.errors["n"] == ("Must be between 1 and 9.",)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        pytest.param([LINES[0], {"a": object()}], "Line 2 cannot be written as JSON", id="object"),
        pytest.param(["{}"], "Line 1 is str", id="text"),
        pytest.param(io.StringIO("{}"), "binary mode", id="text-file"),
    ],
)
def test_lines_that_cannot_be_sent(client: Client, service: Any, lines: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        client.enqueue_batch(lines)
    assert service.jobs == {}


def test_a_batch_as_a_whole_may_be_refused(client: Client, service: Any, fault_type: Any) -> None:
    service.faults.append(fault_type(status=413, body=b'{"detail": "Send at most 10 GB."}'))
    with pytest.raises(Invalid, match="at most 10 GB"):
        client.enqueue_batch(LINES)


def test_results_stream_in_input_order(client: Client, service: Any) -> None:
    batch = client.enqueue_batch(LINES)
    service.end(f"{batch.id}.2")
    jobs = list(client.results(batch.id))
    assert [job.id for job in jobs] == service.batches[batch.id]
    assert [job.status for job in jobs].count(Status.COMPLETED) == 1


def test_results_may_be_left_early(client: Client, service: Any) -> None:
    batch = client.batch(client.enqueue_batch(LINES).id)
    with closing(client.results(batch)) as jobs:
        assert next(jobs).id == f"{batch.id}.1"


def test_results_that_break_off_say_so(client: Client, service: Any) -> None:
    batch = client.enqueue_batch(LINES)
    service.results_cut_after = 3
    jobs = client.results(batch.id)
    assert [next(jobs).id for _ in range(3)] == service.batches[batch.id][:3]
    with pytest.raises(ServiceUnavailable, match="broke off after 3 lines"):
        next(jobs)


def test_waiting_shows_each_look_until_the_batch_is_done(client: Client, service: Any, pauses: list[float]) -> None:
    service.per_look = 2
    looks = []
    batch = client.wait(client.enqueue_batch(LINES).id, progress=looks.append, every=7)
    assert [look.finished for look in looks] == [2, 4, 5]
    assert pauses == [7, 7]
    assert batch.done
    assert (batch.counts[Status.COMPLETED], batch.unsuccessful, str(batch.cost)) == (5, 0, "1.23")


def test_waiting_for_a_batch_ends_with_the_timeout(client: Client, service: Any) -> None:
    service.per_look = 0
    batch = client.batch(client.enqueue_batch(LINES).id)
    with pytest.raises(StillRunning, match="0 of 5 jobs ended in 10 s"):
        client.wait(batch, timeout=10)
    with pytest.raises(NotFound, match="no batch summer"):
        client.wait("summer")


def failing(client: Client, service: Any) -> str:
    """A batch of three, of which one failed."""
    batch = client.enqueue_batch([LINES[0], LINES[1] | {"prompt": "please fail"}, LINES[2]])
    service.end(f"{batch.id}.2")
    return batch.id


def test_a_batch_is_changed_as_a_whole(client: Client, service: Any) -> None:
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
def test_the_failed_ones_are_tried_again(
    client: Client, service: Any, options: dict[str, Any], affected: int, query: str
) -> None:
    id_ = failing(client, service)
    assert client.retry_batch(id_, **options).affected == affected
    assert service.seen[-1].raw_query == query
    tried_again = affected and not options.get("dry_run")
    assert service.jobs[f"{id_}.2"]["status"] == ("queued" if tried_again else "failed")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel_batch"])
def test_a_change_whose_answer_is_lost_is_repeated(client: Client, service: Any, fault_type: Any, verb: str) -> None:
    id_ = failing(client, service)
    service.faults.append(fault_type(after=True))
    getattr(client, verb)(id_)
    assert len(service.seen) == 3


def test_a_retry_of_a_batch_is_never_repeated(client: Client, service: Any, fault_type: Any) -> None:
    id_ = failing(client, service)
    service.faults.append(fault_type(after=True))
    with pytest.raises(ServiceUnavailable):
        client.retry_batch(id_, codes=["002016095"])
    assert len(service.seen) == 2


def test_a_batch_that_is_not_there_is_not_changed(client: Client, service: Any) -> None:
    for verb in (client.pause, client.resume, client.cancel_batch, client.retry_batch):
        with pytest.raises(NotFound, match="no batch summer"):
            verb("summer")
