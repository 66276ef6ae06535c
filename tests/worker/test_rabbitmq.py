"""The service with RabbitMQ as its broker and results in Redis. This module starts its node."""

import json
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from amqp.exceptions import NotFound
from celery import Celery, chain, chord
from celery.exceptions import TaskRevokedError
from kombu import Connection, Queue

from jobs.states import State
from tests.support.rabbitmq import running
from tests.support.waiting import WaitFor
from tests.support.worker_service import RunService, Service
from webhook.messages import Messages
from webhook.settings import Settings

pytestmark = pytest.mark.stack
TIMEOUT = 30
#: The second worker reads a quorum queue.
QUORUM = {"BOOMERANG_GENERATE_QUEUE": "boomerang.generate", "BOOMERANG_GENERATE_QUEUE_TYPE": "quorum"}


@pytest.fixture(scope="module")
def _service(tmp_path_factory: pytest.TempPathFactory, run_service: RunService, wait_for: WaitFor) -> Iterator[Any]:
    with (
        running(tmp_path_factory.mktemp("rabbitmq"), wait_for) as node,
        run_service(node.url, workers=[{}, QUORUM]) as service,
    ):
        yield service


REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}


class Shop:
    """A producer with a queue that only the test reads."""

    def __init__(self, service: Service, wait_for: WaitFor) -> None:
        self.service = service
        self.app: Celery = service.producer
        self.queue = f"shop-{uuid.uuid4().hex}"
        self._wait_for = wait_for

    def generate(self, task_id: str, **options: Any) -> Any:
        return self.app.signature("boomerang.generate", kwargs=REQUEST, task_id=task_id, immutable=True, **options)

    def shop_task(self, name: str) -> Any:
        return self.app.signature(name, queue=self.queue)

    def got(self) -> list[tuple[str, Any]]:
        """Take every message out of the shop's queue. Return (task, args) of each."""
        found = []
        with Connection(self.service.broker) as connection, suppress(NotFound):
            while message := connection.default_channel.basic_get(self.queue, no_ack=True):
                found.append((message.headers["task"], json.loads(message.body)[0]))
        return found

    def unacknowledged(self) -> int:
        """Return how many of 99 messages a worker holds: those that no longer wait in the queue."""
        with Connection(self.service.broker) as connection:
            waiting = connection.default_channel.queue_declare("celery", passive=True).message_count
        return 99 - int(waiting)

    def one(self) -> tuple[str, Any]:
        found: list[tuple[str, Any]] = []
        self._wait_for(lambda: found.extend(self.got()) or found, TIMEOUT)
        (only,) = found + self.got()
        return only


@pytest.fixture
def shop(service: Service, wait_for: WaitFor) -> Shop:
    return Shop(service, wait_for)


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


@pytest.mark.parametrize("queue", ["celery", "boomerang.generate"])
def test_get_returns_the_result(queue: str, service: Service, name: str) -> None:
    if queue == "boomerang.generate":
        service.producer.amqp.queues.add(Queue(queue, routing_key=queue, queue_arguments={"x-queue-type": "quorum"}))
    assert service.send(name, queue=queue).get(TIMEOUT)["id"] == name


def test_a_failure_calls_its_errback(shop: Shop, name: str) -> None:
    shop.service.simulator.turn(fail_permanent=1)
    result = shop.service.send(name, link_error=shop.shop_task("shop.sorry"))
    with pytest.raises(Exception, match="1301"):
        result.get(TIMEOUT)
    assert shop.one() == ("shop.sorry", [name])


def test_a_chord_in_a_chain_calls_its_body(shop: Shop, name: str) -> None:
    members = [shop.generate(f"{name}-{number}") for number in range(5)]
    chain(shop.generate(name), chord(members, shop.shop_task("shop.all")), app=shop.app).apply_async()
    task, (views,) = shop.one()
    assert (task, [view["id"] for view in views]) == ("shop.all", [f"{name}-{number}" for number in range(5)])


def test_a_repeated_message_calls_its_link_once(shop: Shop, name: str) -> None:
    shop.service.simulator.turn(latency="1")
    for _ in range(2):
        result = shop.generate(name, link=[shop.shop_task("shop.paint")]).apply_async()
    result.get(TIMEOUT)
    shop.generate(name, link=[shop.shop_task("shop.paint")]).apply_async()
    # A later task has ended, so all earlier messages are processed
    assert shop.generate(f"{name}-after").apply_async().get(TIMEOUT)
    assert shop.one()[0] == "shop.paint"
    assert shop.service.simulator.bought()[:2] == (2, 0)


def test_a_revoke_cancels_the_job(shop: Shop, name: str, wait_for: WaitFor) -> None:
    shop.service.simulator.turn(latency="1000")
    result = shop.service.send(name)
    wait_for(lambda: shop.service.redis.exists(f"{{b}}:k:{name}"), TIMEOUT)
    result.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        result.get(TIMEOUT)
    assert result.state == "REVOKED"
    assert shop.service.store.jobs.get(name).state is State.CANCELLED


def test_a_countdown_waits_in_the_record(shop: Shop, name: str, wait_for: WaitFor) -> None:
    result = shop.service.send(name, countdown=7200)
    wait_for(lambda: shop.service.redis.exists(f"{{b}}:k:{name}"), TIMEOUT)
    assert shop.service.redis.zscore("{b}:alarms", name) / 1e6 > time.time() + 7000
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(TIMEOUT)


def test_a_task_that_has_not_begun_expires(shop: Shop, name: str) -> None:
    with pytest.raises(TaskRevokedError, match="expired"):
        shop.service.send(name, countdown=7200, expires=1).get(TIMEOUT)
    assert shop.service.store.jobs.get(name).state is State.EXPIRED


def test_a_killed_worker_loses_none_of_its_messages(shop: Shop, name: str, wait_for: WaitFor) -> None:
    def recorded() -> int:
        return int(shop.service.redis.exists(*(f"{{b}}:k:{each}" for each in names)))

    names = [f"{name}-{number}" for number in range(100)]
    worker = shop.service.workers[0]
    shop.service.send(names[0], countdown=7200)
    wait_for(recorded, TIMEOUT)
    # The stopped worker is sent as many messages as it may prefetch
    worker.send_signal(signal.SIGSTOP)
    for each in names[1:]:
        shop.service.send(each, countdown=7200)
    wait_for(lambda: 1 < shop.unacknowledged() < 50, TIMEOUT)
    worker.kill()
    assert worker.wait(TIMEOUT) == -signal.SIGKILL
    assert recorded() == 1
    shop.service.start("again")
    wait_for(lambda: recorded() == len(names), TIMEOUT)
    shop.app.control.revoke(names)
    wait_for(lambda: all(job.state.final for job in shop.service.store.jobs.get_many(names)), TIMEOUT)


def test_the_web_process_sends_hints_through_rabbitmq(shop: Shop) -> None:
    messages = Messages(Settings(broker_url=shop.service.broker))
    assert messages.ping()
    assert messages.send("boomerang.submit")
