"""Batches' events reach the callback_url, over real sockets, however often messages and rounds repeat."""

import json
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from jobs.new_job import BatchOptions, NewJob
from jobs.owners import ANYONE
from jobs.saved import Saved
from jobs.store.store import Store
from tests.support.listener import Listener
from tests.support.waiting import WaitFor
from tests.support.world import CLOCK, MakeWorld, request_of
from worker.batch_notifications import BatchNotifications
from worker.deliver import Deliverer
from worker.notification import Notifier
from worker.sender import Sender

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()


@pytest.fixture
def w(world: MakeWorld) -> Any:
    """A world with a batch of two jobs, whose producer is notified of its events."""
    made = world(allow_private_hosts=True, notify_secrets=(SECRET,))
    with ThreadPoolExecutor(4) as threads:
        of_batches = BatchNotifications(made.store, Notifier(made.settings), Sender(threads, 8, threading.Event()))
        made.deliverer = Deliverer(made.store, made.messages, None, made.threads, "celery", of_batches=of_batches)  # type: ignore[arg-type]
        yield made


def enqueue(w: Any, listener: Listener) -> None:
    jobs = [NewJob(id=each, text=request_of().text(), model="kirin_image_omni") for each in ("a", "b")]
    options = BatchOptions(callback_url=f"{listener.url}/batches", notify_unbegun=True)
    w.store.jobs.enqueue(jobs, "spring", options)


def test_a_finished_batch_is_notified_once(w: Any, listener: Listener, wait_for: WaitFor) -> None:
    enqueue(w, listener)
    w.store.jobs.cancel("a")
    assert w.store.batch_events.find_due(10) == []
    w.store.jobs.cancel("b")
    w.round(1)
    assert w.messages_in("boomerang.deliver") >= 1
    (event,) = w.store.delivery_log.of_batch("spring")
    w.deliverer([event.id])
    w.deliverer([event.id])
    assert wait_for(lambda: w.store.delivery_log.of_batch("spring")[0].state == "delivered")
    w.deliverer([event.id])
    ((method, path, headers, body),) = listener.received
    assert (method, path, headers["webhook-id"]) == ("POST", "/batches", "spring.finished.1")
    view = Webhook(SECRET).verify(body, dict(headers))
    assert (view["type"], view["data"]["id"], view["data"]["done"]) == ("batch.finished", "spring", True)


def test_a_receiver_that_fails_gets_it_later_under_the_same_id(w: Any, listener: Listener, wait_for: WaitFor) -> None:
    enqueue(w, listener)
    listener.answers = [503, 404]
    w.store.batches.pause("spring")
    (event,) = w.store.delivery_log.of_batch("spring")

    def attempts() -> int:
        return len(w.store.delivery_log.of_batch("spring")[0].attempts)

    for count in (1, 2, 3):
        w.deliverer([event.id])
        assert wait_for(lambda: attempts() >= count)  # noqa: B023 - it is called at once
    assert [each.headers["webhook-id"] for each in listener.received] == ["spring.paused.1"] * 3
    assert json.loads(listener.received[0].body)["reason"] == "request"


def test_results_that_are_saved_or_given_up_are_notified_and_replayed(
    w: Any, listener: Listener, wait_for: WaitFor
) -> None:
    saves = Store(w.redis, replace(w.settings, result_store="file:///srv/results"), clock=CLOCK).saves
    saves.announce()
    enqueue(w, listener)
    w.round(1)
    w.settle("a")
    w.settle("b")
    done = {due.job.id: due for due in saves.claim(60.0, 10, 10)}
    saves.saved(done["a"], Saved(datetime(2026, 1, 2, tzinfo=UTC), ()))
    saves.give_up(done["b"], "it answered 404")
    events = w.store.delivery_log.of_batch("spring")
    assert [each.event for each in events] == ["batch.finished", "batch.saved"]
    w.deliverer([events[1].id])
    assert wait_for(lambda: w.store.delivery_log.of_batch("spring")[1].state == "delivered")
    assert w.store.delivery_log.replay([events[1].id], ANYONE) == ["owed"]
    w.deliverer([events[1].id])
    assert wait_for(lambda: len(listener.received) == 2)
    first, second = listener.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "spring.saved.2"
    view = Webhook(SECRET).verify(first.body, dict(first.headers))
    assert (view["type"], view["unsaved"]) == ("batch.saved", ["b"])
    assert (view["data"]["to_save"], view["data"]["unsaved"]) == (0, 1)
