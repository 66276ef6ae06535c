import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.api_keys import KeyRing, Scope
from jobs.errors import BatchNotFound, StoreUnavailable
from jobs.read_models import Batch
from jobs.store.store import Store
from schemas.views.batches import BatchView
from tests.support.producers import own
from webhook import gunicorn_conf, places
from webhook.api import batch_events

LINE = b'{"model":"kirin_image_omni","prompt":"a fox"}\n'


def parsed(text: str) -> list[tuple[str, Any]]:
    """Parse a stream into (name, data) of each event. A comment is ("", None)."""
    found = []
    for block in text.split("\n\n")[:-1]:
        if block.startswith(":"):
            found.append(("", None))
            continue
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


class WatchedBatch:
    """A watched batch with a simulated clock that only `sleep` moves. `then` maps a second to a change of the batch."""

    def __init__(self, store: Store, then: dict[int, Any]) -> None:
        self.store, self.then, self.now = store, then, 0.0

    def read(self) -> Batch:
        if change := self.then.get(int(self.now)):
            change()
        return self.store.batches.get(own("b"))

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def events(self) -> Iterator[str]:
        return batch_events.progress(self.read(), self.read, self.sleep, lambda: self.now)


@pytest.fixture
def foxes(client: FlaskClient, store: Store) -> Store:
    client.post("/v1/batches?id=b", data=LINE * 3)
    return store


def test_events_report_changes_and_silence_until_the_batch_ends(foxes: Store) -> None:
    watched = WatchedBatch(
        foxes,
        {
            5: lambda: foxes.jobs.cancel(own("b.1")),
            40: lambda: foxes.batches.pause(own("b")),
            41: lambda: foxes.batches.cancel(own("b")),
        },
    )
    events = parsed("".join(watched.events()))
    assert [name for name, _ in events] == ["progress", "progress", "", "", "progress", "done"]
    assert [data["counts"]["cancelled"] for _, data in events if data] == [0, 1, 1, 3]
    assert events[4][1]["paused"] is True
    assert events[-1][1]["done"] is True
    assert all(BatchView().validate(data) == {} for _, data in events if data)
    assert watched.now == 41


@pytest.mark.slow
def test_a_stream_ends_after_its_maximum_duration(foxes: Store) -> None:
    watched = WatchedBatch(foxes, {})
    assert parsed("".join(watched.events()))[-1] == ("", None)
    assert watched.now == batch_events.MAX_DURATION


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), BatchNotFound("b")])
def test_a_stream_whose_reads_fail_ends_without_done(foxes: Store, error: Exception) -> None:
    def fail() -> None:
        raise error

    assert [name for name, _ in parsed("".join(WatchedBatch(foxes, {3: fail}).events()))] == ["progress"]


def test_events_are_sent_without_buffering(client: FlaskClient, foxes: Store) -> None:
    answer = client.get("/v1/batches/b/events", buffered=False)
    assert (answer.status_code, answer.content_type) == (200, "text/event-stream")
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
    stream = answer.iter_encoded()
    assert parsed(next(stream).decode())[0][0] == "progress"
    foxes.batches.cancel(own("b"))
    last = next(stream).decode()
    assert last.startswith("id: done\nevent: done\n")
    assert next(stream, None) is None
    answer.close()


def test_a_client_that_has_seen_done_gets_204(client: FlaskClient, foxes: Store) -> None:
    foxes.batches.cancel(own("b"))
    assert [name for name, _ in parsed(client.get("/v1/batches/b/events").text)] == ["done"]
    again = client.get("/v1/batches/b/events", headers={"Last-Event-ID": "done"})
    assert (again.status_code, again.data) == (204, b"")
    # After a retry the batch has events again
    foxes.jobs.retry(own("b.1"))
    with client.get("/v1/batches/b/events", headers={"Last-Event-ID": "done"}, buffered=False) as more:
        assert more.status_code == 200


def test_an_unknown_batch_gets_404(client: FlaskClient) -> None:
    assert client.get("/v1/batches/unknown/events").status_code == 404


def test_concurrent_streams_are_limited(client: FlaskClient, foxes: Store) -> None:
    open_ones = [client.get("/v1/batches/b/events", buffered=False) for _ in range(places.EVENTS)]
    refused = client.get("/v1/batches/b/events")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    # An EventSource would give up for good after a 503
    source = client.get("/v1/batches/b/events", headers={"Accept": batch_events.EVENTS})
    assert (source.status_code, source.mimetype) == (200, batch_events.EVENTS)
    assert source.text.startswith("retry: 5000\n: ")
    assert not [line for line in source.text.splitlines() if line.startswith(("data:", "event:", "id:"))]
    # Uploads have a separate limit
    assert client.post("/v1/batches?id=c", data=LINE).status_code == 201
    for each in open_ones:
        each.close()
    with client.get("/v1/batches/b/events", buffered=False) as again:
        assert again.status_code == 200


def test_a_stream_that_fails_to_start_does_not_count(
    client: FlaskClient, foxes: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Iterator[str]:
        raise RuntimeError("no stream")

    with monkeypatch.context() as patch:
        patch.setattr(batch_events, "progress", broken)
        answers = [client.get("/v1/batches/b/events").status_code for _ in range(places.EVENTS)]
    assert answers == [500] * places.EVENTS
    with client.get("/v1/batches/b/events", buffered=False) as stream:
        assert stream.status_code == 200


def test_one_thread_always_remains_for_callbacks() -> None:
    assert gunicorn_conf.threads > sum(
        (places.WAITS, places.TRANSFERS, places.DOWNLOADS, places.EVENTS, places.SLOW, places.STRANGERS)
    )


def test_a_stream_ends_when_its_key_is_revoked(app: Flask, foxes: Store) -> None:
    ring = KeyRing(foxes.context.client, foxes.context.keys)
    key, secret = ring.add("boss", [Scope.ADMIN])
    with app.test_client().get("/v1/batches/b/events", headers={"Authorization": f"Bearer {secret}"}) as stream:
        events = iter(stream.response)
        assert "progress" in str(next(events))
        ring.revoke(key.id)
        # With a valid key the stream would continue until the batch ends
        assert list(events) == []
