"""Uploads of batches: from every source, in parts that can be repeated."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import (
    Client,
    Invalid,
    ServiceUnavailable,
    TooBusy,
    UsageError,
    uploading,
)
from tests.support.fake_boomerang import FakeService, Fault

LINES = [{"model": "kirin_image_omni", "prompt": f"Boat {number} – grün"} for number in range(5)]
NDJSON = "".join(json.dumps(line) + "\n" for line in LINES).encode()
SOURCES = ["path", "file", "list", "list-of-bytes", "generator"]


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


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_LINES", 2)


def sent(service: FakeService) -> list[list[dict[str, Any]]]:
    """Return the lines of each upload."""
    bodies = [gzip.decompress(one.body) for one in service.seen if (one.method, one.path) == ("POST", "/v1/batches")]
    return [[json.loads(line) for line in body.splitlines()] for body in bodies]


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_arrives_completely(client: Client, service: FakeService, path: Path, source: str) -> None:
    reported: list[Any] = []
    accepted = client.enqueue_batch(sources(path)[source](), progress=reported.append)
    assert (accepted.accepted, accepted.known, accepted.rejected) == (5, 0, 0)
    ids = [f"{accepted.id}.{number}" for number in range(1, 6)]
    assert sent(service) == [[line | {"external_task_id": id_} for line, id_ in zip(LINES, ids, strict=True)]]
    assert reported == [accepted]
    assert service.seen[0].headers["content-type"] == "application/x-ndjson"
    assert service.batches == {accepted.id: ids}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("after", [False, True], ids=["cut", "answer-lost"])
@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_upload_is_repeated_from_any_source(
    client: Client, service: FakeService, path: Path, *, source: str, after: bool
) -> None:
    service.faults.append(Fault(after=after))
    accepted = client.enqueue_batch(sources(path)[source]())
    assert (accepted.accepted, accepted.known) == ((3, 2) if after else (5, 0))
    assert [len(part) for part in sent(service)] == [2, 2, 2, 1]
    assert service.seen[0].body == service.seen[1].body
    assert service.batches == {accepted.id: [f"{accepted.id}.{number}" for number in range(1, 6)]}


def test_own_ids_and_invalid_requests_are_sent_unchanged(client: Client, service: FakeService) -> None:
    lines = [b'{"model": "m", "external_task_id": "own"}\r\n', b"\n", b"not JSON\n", b'{"model": "m"}', b"{}"]
    accepted = client.enqueue_batch(lines, id="b")
    body = gzip.decompress(service.seen[0].body).split(b"\n")
    assert body[:2] == [b'{"model": "m", "external_task_id": "own"}', b"not JSON"]
    assert body[2:] == [b'{"model": "m","external_task_id":"b.4"}', b'{"external_task_id":"b.5"}']
    assert service.batches["b"] == ["own", "b.4"]
    assert [error.line for error in accepted.errors] == [3, 5]


def test_an_upload_continues_after_an_outage(
    client: Client, service: FakeService, small_parts: None, pauses: list[float]
) -> None:
    # Given a service that accepts a part and is then away for longer than a call is retried
    service.on_request = lambda: service.faults.extend([Fault(status=503)] * 10 if len(service.seen) == 2 else [])
    reported: list[Any] = []
    accepted = client.enqueue_batch((line for line in LINES), on_wait=lambda error, _: reported.append(type(error)))
    assert accepted.accepted == 5
    assert len(reported) == 2
    assert pauses == [1, 2]


def test_an_upload_waits_as_long_as_the_service_asks(
    client: Client, service: FakeService, small_parts: None, pauses: list[float]
) -> None:
    service.capacity = 3
    reported: list[Any] = []

    def ended(error: Exception, seconds: float) -> None:
        reported.append((str(error), seconds))
        service.capacity = 5 if len(reported) == 2 else 3

    accepted = client.enqueue_batch((line for line in LINES), on_wait=ended)
    assert accepted.accepted + accepted.known == 5
    assert reported == [("The service is full. Send the same again later. (HTTP 429)", 30)] * 2
    assert pauses == [30, 30]


def test_after_the_longest_wait_the_error_names_the_id(client: Client, service: FakeService) -> None:
    service.capacity = 0
    with pytest.raises(TooBusy) as caught:
        client.enqueue_batch(LINES, patience=100)
    assert service.seen[-1].query == {"id": caught.value.repeat_id}
    # A service that was never reached is not waited for: its address may be wrong.
    service.faults.extend([Fault()] * 5)
    with pytest.raises(ServiceUnavailable):
        client.enqueue_batch(LINES)


def test_lines_are_read_while_they_are_sent(client: Client, service: FakeService, small_parts: None) -> None:
    read = []

    def lines() -> Iterator[dict[str, str]]:
        for number in range(50):
            read.append(number)
            yield LINES[0]

    seen_at = []
    client.enqueue_batch(lines(), progress=lambda accepted: seen_at.append((accepted.accepted, len(read))))
    assert seen_at == [(number, number) for number in range(2, 51, 2)]
    assert len(service.jobs) == 50


def test_slow_lines_are_sent_before_a_part_is_full(client: Client, service: FakeService) -> None:
    def lines() -> Iterator[dict[str, str]]:
        for _ in range(3):
            client._sleep(10)  # this advances the clock
            yield LINES[0]

    client.enqueue_batch(lines())
    assert [len(part) for part in sent(service)] == [1, 1, 1]


@pytest.mark.parametrize("lines", [[], [b"\n", b"  \n"]], ids=["nothing", "blank"])
def test_an_empty_batch_is_created(client: Client, service: FakeService, lines: list[bytes]) -> None:
    assert client.enqueue_batch(lines, id="b").accepted == 0
    assert service.batches == {"b": []}


def test_another_upload_under_the_same_id_is_a_conflict(client: Client, service: FakeService) -> None:
    client.enqueue_batch(LINES, id="spring")
    with pytest.raises(Invalid) as caught:
        client.enqueue_batch([LINES[0], LINES[0]], id="spring")
    assert caught.value.line == 2
    assert client.enqueue_batch([*LINES, LINES[0]], id="spring").accepted == 1  # additional lines are not a conflict


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("member", "line"),
    [
        pytest.param({"line": 2}, 4, id="of the part"),
        pytest.param({}, None, id="an older service"),
        *(pytest.param({"line": odd}, odd, id=f"no line of the part: {odd}") for odd in (0, -1, 3)),
        *(pytest.param({"line": odd}, None, id=f"no number: {odd!r}") for odd in ("2", 2.0, None, [2])),
    ],
)
def test_a_line_that_differs_is_counted_in_the_upload(
    client: Client, service: FakeService, member: dict[str, Any], line: int | None
) -> None:
    fault = Fault(status=422, body=json.dumps({"detail": "It differs."} | member).encode())
    service.on_request = lambda: service.faults.extend([fault] if len(service.seen) == 2 else [])
    with pytest.raises(Invalid) as caught:
        client.enqueue_batch(LINES[:4], id="spring")
    assert caught.value.line == line


@pytest.mark.usefixtures("small_parts")
def test_the_first_part_sets_the_options_of_a_batch(client: Client, service: FakeService) -> None:
    batch = client.batch(
        LINES, "b", labels={"shop": "7", "a": "x=y"}, priority="high", weight=5, max_cost="12.50", on_error="skip"
    )
    assert service.seen[0].raw_query == (
        "id=b&on_error=skip&label=shop%3D7&label=a%3Dx%3Dy&priority=high&weight=5&max_cost=12.50"
    )
    assert [one.raw_query for one in service.seen[1:3]] == ["id=b", "id=b"]
    assert (batch.labels, batch.priority, batch.weight) == ({"shop": "7", "a": "x=y"}, "high", 5)
    assert (str(batch.max_cost), str(batch.expected_cost)) == ("12.50", "2.00")


def test_all_lines_are_accepted_or_none(client: Client, service: FakeService) -> None:
    with pytest.raises(Invalid, match="Nothing was enqueued") as caught:
        client.enqueue_batch([LINES[0], {"n": 0}], id="b", on_error="abort")
    assert [(error.line, error.codes) for error in caught.value.lines] == [(2, ("002016003",))]
    assert service.jobs == {}
    # From a file, and so repeated as a whole
    service.faults.append(Fault(after=True))
    accepted = client.enqueue_batch((line for line in LINES), id="b", on_error="abort")
    assert (accepted.accepted, accepted.known) == (0, 5)
    assert service.seen[-1].body == service.seen[-2].body
    assert "external_task_id" not in sent(service)[-1][0]


def test_an_idempotency_key_is_any_text(client: Client, service: FakeService) -> None:
    batch = client.batch(LINES, key="Frühling, Teil 1")
    assert batch.id == "key-Frühling, Teil 1".encode().decode("latin-1")
    assert service.seen[0].query == {}
    both: tuple[dict[str, Any], ...] = ({"key": "a", "id": "b"}, {"key": "a\nb"})
    for options in both:
        with pytest.raises(UsageError, match="no `id` beside it"):
            client.batch(LINES, **options)


def test_repeating_an_upload_under_its_id_changes_nothing(client: Client, service: FakeService, path: Path) -> None:
    first = client.enqueue_batch(path, id="spring")
    again = client.enqueue_batch(path, id="spring")
    assert (first.id, first.accepted, again.accepted, again.known) == ("spring", 5, 0, 5)


def test_rejected_lines_have_number_fields_and_codes(client: Client, service: FakeService) -> None:
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
def test_lines_that_cannot_be_sent_are_errors(client: Client, service: FakeService, lines: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        client.enqueue_batch(lines)
    assert service.seen == []


def test_a_file_must_be_a_path_and_an_id_a_text(client: Client, service: FakeService, path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file"):
        client.batch(path.with_name("away"))
    with pytest.raises(UsageError, match=r"pass it as a pathlib\.Path"):
        client.batch("jobs.jsonl")


def test_a_whole_batch_may_be_refused(client: Client, service: FakeService) -> None:
    service.faults.append(Fault(status=413, body=b'{"detail": "Send at most 10 GB."}'))
    with pytest.raises(Invalid, match="at most 10 GB"):
        client.enqueue_batch(LINES)
