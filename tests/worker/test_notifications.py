"""Receivers that hang, fail or are many delay neither tasks nor other producers, and lose nothing."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from jobs.job import Delivery
from jobs.new_job import NewJob
from jobs.receivers import FAILURES_TO_OPEN, LONGEST_PAUSE, MOST_TO_ONE
from jobs.store.scripts import Scripts
from tests.support.listener import Listener
from tests.support.waiting import WaitFor
from tests.support.world import MakeWorld, World, request_of
from worker.deliver import Deliverer
from worker.notification import Notifier
from worker.notifications import Notifications
from worker.sender import Sender

LIMIT = 16


class Hanging:
    """A server that accepts connections, and closes them when it is released."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.held: list[socket.socket] = []
        self.released = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                each, _ = self.socket.accept()
            except OSError:
                return
            self.held.append(each)
            if self.released.is_set():
                each.close()

    def release(self) -> None:
        self.released.set()
        for each in self.held:
            each.close()

    def close(self) -> None:
        self.release()
        self.socket.close()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    server = Hanging()
    yield server
    server.close()


@pytest.fixture
def shared(world: MakeWorld) -> Iterator[World]:
    """A world whose notifications have threads, as in a worker."""
    w = world(allow_private_hosts=True, max_notifying=LIMIT)
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(LIMIT))
        w.stopping = threading.Event()  # type: ignore[attr-defined]
        w.notifications = Notifications(w.store, Notifier(w.settings), Sender(threads, LIMIT, w.stopping))  # type: ignore[attr-defined]
        w.deliverer = Deliverer(w.store, w.messages, w.notifications, w.threads, "celery")
        yield w
        w.stopping.set()  # type: ignore[attr-defined]


def cancelled(w: World, owner: str, url: str, count: int, name: str = "job") -> list[str]:
    """Make ended jobs of an owner, which are to be notified."""
    ids = [f"{owner}-{name}-{number}" for number in range(count)]
    text = request_of(callback_url=url).text()
    owed = frozenset({Delivery.NOTIFY})
    jobs = [NewJob(id=each, text=text, model="kirin_image_omni", owed=owed, owner=owner) for each in ids]
    w.store.jobs.enqueue(jobs)
    for each in ids:
        w.store.jobs.cancel(each)
    return ids


def test_a_hanging_receiver_delays_no_other_producer(
    shared: World, hanging: Hanging, listener: Listener, wait_for: WaitFor
) -> None:
    shared.deliverer(cancelled(shared, "bad", hanging.url, 50))
    assert wait_for(lambda: len(hanging.held) == FAILURES_TO_OPEN)
    shared.deliverer(cancelled(shared, "shop", f"{listener.url}/hook", 10))
    assert wait_for(lambda: len(listener.received) == 10)
    assert len(hanging.held) == FAILURES_TO_OPEN
    hanging.release()


def test_many_hanging_receivers_of_one_producer_delay_no_other_one(
    shared: World, listener: Listener, wait_for: WaitFor
) -> None:
    with ExitStack() as stack:
        many = [Hanging() for _ in range(LIMIT)]
        for number, each in enumerate(many):
            stack.callback(each.close)
            shared.deliverer(cancelled(shared, f"bad{number % 2}", each.url, 4, str(number)))
        assert wait_for(lambda: sum(len(each.held) for each in many) > LIMIT // 2)
        shared.deliverer(cancelled(shared, "shop", f"{listener.url}/hook", 30))
        assert wait_for(lambda: len(listener.received) == 30)


def test_waiting_notifications_follow_one_another_without_alarms(
    shared: World, listener: Listener, wait_for: WaitFor
) -> None:
    ids = cancelled(shared, "shop", f"{listener.url}/hook", 5 * MOST_TO_ONE)
    shared.deliverer(ids)
    assert wait_for(lambda: len(listener.received) == len(ids))
    assert {json.loads(each.body)["id"] for each in listener.received} == set(ids)
    assert wait_for(lambda: all(not shared.job(each).owed for each in ids))
    assert shared.redis.zcard("{b}:notifying") == 0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "{}", '{"model": "m"}', '{"model": "m", "params": []}', "[" * 9_000]
)
def test_a_damaged_request_stops_no_other_notification(
    text: str, shared: World, listener: Listener, wait_for: WaitFor
) -> None:
    ids = cancelled(shared, "shop", f"{listener.url}/hook", 3)
    shared.redis.set(f"{{b}}:t:{ids[0]}", text)
    shared.deliverer(ids)
    assert wait_for(lambda: len(listener.received) == 2)
    assert not any(ids[0].encode() in each.body for each in listener.received)


def test_what_an_open_breaker_postpones_costs_a_few_round_trips(
    shared: World, hanging: Hanging, wait_for: WaitFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    #: The verbs of each round trip.
    trips: list[list[str]] = []
    call_each = Scripts.call_each

    def counted(self: Scripts, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        trips.append([verb for verb, *_ in calls])
        return call_each(self, calls)

    monkeypatch.setattr(Scripts, "call_each", counted)
    shared.deliverer(cancelled(shared, "bad", hanging.url, FAILURES_TO_OPEN, "first"))
    hanging.close()
    wait_for(lambda: shared.redis.zcard("{b}:notifying") == 0)
    ids = cancelled(shared, "bad", hanging.url, 40)
    trips.clear()
    shared.deliverer(ids)
    assert sum(trip.count("begin_notification") for trip in trips) <= 2
    # They are recorded together, too
    assert [trip.count("delivered") for trip in trips if "delivered" in trip] == [40]
    assert len(trips) <= 5
    postponed = [shared.job(each) for each in ids]
    assert {job.delivery_tries for job in postponed} == {0}
    assert all(job.owed and job.delivery_error for job in postponed)


@pytest.mark.parametrize("status", [404, 503])
def test_a_receiver_that_refuses_costs_little_whatever_the_number_of_jobs(
    world: MakeWorld, listener: Listener, status: int
) -> None:
    w = world(allow_private_hosts=True)
    ids = cancelled(w, "shop", f"{listener.url}/hook", 60)
    listener.answers = [status] * 10_000
    for _ in range(23):
        w.deliverer(ids)
        w.ahead(LONGEST_PAUSE)
    # Five, then one after each pause
    assert len(listener.received) <= FAILURES_TO_OPEN + 30
    for _ in range(90):
        w.deliverer(ids)
        w.ahead(LONGEST_PAUSE)
    # Before they are given up, each has been sent once
    assert {json.loads(each.body)["id"] for each in listener.received} == set(ids)
    assert len(listener.received) <= len(ids) + FAILURES_TO_OPEN + 30
    assert {w.job(each).undelivered for each in ids} == {frozenset({Delivery.NOTIFY})}
    # An operator can have them made again
    listener.answers = []
    w.store.deliveries.retry(ids)
    for _ in range(3):
        w.deliverer(ids)
        w.ahead(LONGEST_PAUSE)
    assert {w.job(each).owed | w.job(each).undelivered for each in ids} == {frozenset()}


def test_a_receiver_that_refuses_most_gets_the_others(world: MakeWorld, listener: Listener, wait_for: WaitFor) -> None:
    """Dead addresses of a host open its breaker, and its living ones wait for it."""
    w = world(allow_private_hosts=True)
    dead, living = (
        cancelled(w, "shop", f"{listener.url}/dead", 60),
        cancelled(w, "shop", f"{listener.url}/hook", 3, "live"),
    )
    listener.refused_paths = {"/dead"}
    for _ in range(60):
        w.deliverer([*dead, *living])
        w.ahead(LONGEST_PAUSE)
    assert {w.job(each).owed | w.job(each).undelivered for each in living} == {frozenset()}


def test_celery_messages_come_before_notifications(shared: World, hanging: Hanging, wait_for: WaitFor) -> None:
    ids = cancelled(shared, "bad", hanging.url, 30)
    shared.enqueue("job-1")
    shared.store.celery.park("job-1", "job-1", json.dumps({"task_id": "job-1"}))
    shared.store.jobs.cancel("job-1")
    shared.deliverer([*ids, "job-1"])
    assert shared.messages_in("celery") == 1
    hanging.release()


def test_a_stopping_worker_begins_no_more_and_the_rest_stays_owed(
    shared: Any, listener: Listener, wait_for: WaitFor
) -> None:
    ids = cancelled(shared, "shop", f"{listener.url}/hook", 3)
    shared.stopping.set()
    shared.deliverer(ids)
    assert listener.received == []
    assert all(shared.job(each).owed and shared.alarm_in(each) <= 30 for each in ids)


def test_a_receiver_that_recovers_gets_everything(world: MakeWorld, listener: Listener) -> None:
    w = world(allow_private_hosts=True)
    ids = cancelled(w, "shop", f"{listener.url}/hook", 20)
    listener.answers = [503] * (FAILURES_TO_OPEN + 2)
    for _ in range(30):
        w.round(30)
        w.deliverer(ids)
    notified = [json.loads(each.body)["id"] for each in listener.received[FAILURES_TO_OPEN + 2 :]]
    assert sorted(notified) == sorted(ids)


def test_servers_that_close_the_connection_are_failures(world: MakeWorld, hanging: Hanging) -> None:
    hanging.release()
    w = world(allow_private_hosts=True)
    ids = cancelled(w, "shop", hanging.url, 10)
    w.deliverer(ids)
    # The breaker opens, and the others wait
    assert sum(w.job(each).delivery_tries for each in ids) == FAILURES_TO_OPEN
    assert len(hanging.held) <= FAILURES_TO_OPEN
