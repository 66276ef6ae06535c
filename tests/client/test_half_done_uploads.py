"""Uploads that end in the middle: the error names the batch, and the corrected input buys nothing again."""

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from boomerang_client import Client, Invalid, ServiceUnavailable, Unauthorized, UsageError, uploading
from tests.support.fake_boomerang import FakeService, Fault

LINES: list[dict[str, Any]] = [{"model": "kirin_image_omni", "prompt": f"Boat {number}"} for number in range(5)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_LINES", 2)


def breaking(error: BaseException) -> Iterator[Any]:
    yield from LINES[:3]
    raise error


def assert_continues(client: Client, service: FakeService, error: BaseException) -> None:
    """The error has all that is needed to send the rest, and the rest only is enqueued."""
    [batch] = service.batches
    enqueued = len(service.jobs)
    assert getattr(error, "repeat_id", None) == batch
    text = f"{error} {' '.join(getattr(error, '__notes__', []))}"
    assert f"Batch {batch} has at least {enqueued} jobs" in text
    again = client.enqueue_batch(LINES, id=batch)
    assert (again.known, again.accepted) == (enqueued, len(LINES) - enqueued)
    assert len(service.jobs) == len(LINES)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("my database went away"), id="error of the caller"),
        pytest.param(KeyboardInterrupt(), id="Ctrl-C"),
        pytest.param(UsageError("Row 4 cannot be read."), id="a reader's error"),
        pytest.param(UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"), id="bytes"),
    ],
)
def test_a_source_that_breaks(client: Client, service: FakeService, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        client.enqueue_batch(breaking(error))
    assert caught.value is error
    assert_continues(client, service, error)


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        pytest.param([Fault(status=401)], Unauthorized, id="key"),
        pytest.param([Fault(status=413, body=b'{"detail": "Too much."}')], Invalid, id="too large"),
        pytest.param([Fault()] * 5, ServiceUnavailable, id="connection"),
        pytest.param([Fault(status=500)], ServiceUnavailable, id="service"),
    ],
)
def test_a_service_that_refuses_in_the_middle(
    client: Client, service: FakeService, faults: list[Fault], kind: type[Exception]
) -> None:
    service.on_request = lambda: service.faults.extend(faults if len(service.seen) == 2 else [])
    with pytest.raises(kind) as caught:
        client.enqueue_batch(LINES, patience=0)
    service.on_request = lambda: None
    assert_continues(client, service, caught.value)


@pytest.mark.parametrize("status", [400, 413])
def test_a_first_part_that_fails_midway(client: Client, service: FakeService, status: int) -> None:
    detail = {"detail": "The body came too slowly.", "id": "b", "accepted": 1, "known": 1}
    service.faults.append(Fault(status=status, body=json.dumps(detail).encode()))
    with pytest.raises(Invalid, match="Batch b has at least 2 jobs") as caught:
        client.enqueue_batch(LINES, id="b")
    assert (caught.value.repeat_id, caught.value.enqueued) == ("b", 2)


@pytest.mark.parametrize("form", ["path", "file"])
def test_a_compressed_file_that_is_cut_off(client: Client, service: FakeService, tmp_path: Path, form: str) -> None:
    data = gzip.compress("".join(json.dumps(line) + "\n" for line in LINES).encode() + b" " * 100_000)[:-8]
    path = tmp_path / "jobs"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="cut off") as caught:
        client.enqueue_batch(path if form == "path" else io.BytesIO(data))
    assert_continues(client, service, caught.value)


def test_an_error_before_anything_was_sent_names_no_batch(client: Client, service: FakeService) -> None:
    with pytest.raises(RuntimeError) as caught:
        client.enqueue_batch(line for line in breaking(RuntimeError()) if line is LINES[0])
    assert (hasattr(caught.value, "repeat_id"), service.seen) == (False, [])
    service.faults.append(Fault(status=413, body=b'{"detail": "Too much."}'))
    with pytest.raises(Invalid) as refused:
        client.enqueue_batch(LINES)
    assert refused.value.repeat_id is None


def test_values_that_json_cannot_hold_are_refused_lines(client: Client, service: FakeService) -> None:
    lines: list[dict[str, Any]] = [LINES[0], {"prompt": "\ud800"}, {"n": float("nan")}, LINES[1], {"n": float("inf")}]
    accepted = client.enqueue_batch(lines)
    assert (accepted.accepted, [error.line for error in accepted.errors]) == (2, [2, 3, 5])
    with pytest.raises(UsageError, match="3 lines") as caught:
        client.enqueue_batch(lines, on_error="abort")
    assert [error.line for error in caught.value.lines] == [2, 3, 5]


def test_a_moved_line_is_named_and_buys_nothing(client: Client, service: FakeService) -> None:
    client.enqueue_batch(LINES, id="b")
    with pytest.raises(Invalid) as caught:
        client.enqueue_batch([*LINES[:2], *LINES[3:]], id="b")
    assert caught.value.line == 3
    assert len(service.jobs) == len(LINES)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04" + bytes(40), "boomerang enqueue FILE"),
        (bytes(range(256)), "binary"),
        (gzip.compress(b"\x89PNG\r\n\x1a\n"), "PNG"),
    ],
    ids=["PDF", "zip", "binary", "image in gzip"],
)
def test_files_of_other_kinds_make_no_batch(
    client: Client, service: FakeService, tmp_path: Path, data: bytes, says: str
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(data)
    for lines in (path, io.BytesIO(data)):
        with pytest.raises(UsageError, match=says):
            client.enqueue_batch(lines)
    assert service.seen == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_file_in_an_encoding_of_windows_is_enqueued(
    client: Client, service: FakeService, tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_bytes(pack("".join(json.dumps(line) + "\r\n" for line in LINES).encode(encoding)))
    assert client.enqueue_batch(path, id="b").accepted == len(LINES)
    assert service.requests["b.1"]["prompt"] == "Boat 0"


def test_a_batch_that_cannot_be_fetched_after_its_upload(client: Client, service: FakeService) -> None:
    service.on_request = lambda: service.faults.extend([Fault(status=401)] if len(service.seen) == 4 else [])
    with pytest.raises(Unauthorized) as caught:
        client.batch(LINES)
    service.on_request = lambda: None
    assert_continues(client, service, caught.value)
