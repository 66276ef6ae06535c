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
from kombu import Connection, Exchange, Queue

from jobs.connections.rabbitmq import Transport
from jobs.errors import Unroutable
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
    """A producer with a queue that only the test reads. It declares the queue with these properties."""

    def __init__(self, service: Service, wait_for: WaitFor, **properties: Any) -> None:
        self.service = service
        self.app: Celery = service.producer
        self.queue = f"shop-{uuid.uuid4().hex}"
        self._wait_for = wait_for
        self.declare(Queue(self.queue, **properties))

    def declare(self, *entities: Any) -> None:
        with Connection(self.service.broker) as connection:
            for each in entities:
                each(connection.default_channel).declare()

    def exists(self, queue: str) -> bool:
        with Connection(self.service.broker) as connection:
            try:
                connection.default_channel.queue_declare(queue, passive=True)
            except NotFound:
                return False
            return True

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


#: Queues as producers have them. A declaration with other properties is an error of RabbitMQ (406).
PROPERTIES: dict[str, dict[str, Any]] = {
    "classic": {},
    "quorum": {"queue_arguments": {"x-queue-type": "quorum"}},
    "not durable": {"durable": False},
    "deleted when unused": {"auto_delete": True},
    "priorities": {"max_priority": 9},
    "a limit, a time to live and a dead-letter exchange": {
        "message_ttl": 600.0,
        "max_length": 100,
        "queue_arguments": {"x-dead-letter-exchange": "dead"},
    },
    "expires": {"expires": 600.0},
    "bound to an exchange": {"exchange": Exchange("shop-bound", "topic"), "routing_key": "shop.#"},
}


@pytest.mark.parametrize("properties", PROPERTIES.values(), ids=PROPERTIES)
def test_continuations_reach_a_queue_of_any_kind(
    properties: dict[str, Any], service: Service, wait_for: WaitFor, name: str
) -> None:
    shop = Shop(service, wait_for, **properties)
    members = [shop.generate(f"{name}-{number}") for number in range(2)]
    chord(members, shop.shop_task("shop.all"), app=shop.app).apply_async()
    assert shop.one()[0] == "shop.all"
    shop.generate(name, link=[shop.shop_task("shop.paint")]).apply_async()
    assert shop.one()[0] == "shop.paint"
    service.simulator.turn(fail_permanent=1)
    shop.generate(f"{name}-fails", link_error=[shop.shop_task("shop.sorry")]).apply_async()
    assert shop.one() == ("shop.sorry", [f"{name}-fails"])


def test_a_link_reaches_an_exclusive_queue(shop: Shop, name: str, wait_for: WaitFor) -> None:
    queue = f"{shop.queue}-exclusive"
    with Connection(shop.service.broker) as connection:
        channel = connection.default_channel
        Queue(queue, exclusive=True)(channel).declare()
        shop.generate(name, link=[shop.app.signature("shop.paint", queue=queue)]).apply_async()
        wait_for(lambda: channel.basic_get(queue, no_ack=True), TIMEOUT)


EXCHANGES: dict[str, tuple[str, dict[str, str]]] = {
    "direct": ("shop.x", {}),
    "topic": ("shop.eu.x", {}),
    "fanout": ("", {"exchange_type": "fanout"}),
}


@pytest.mark.parametrize("kind", EXCHANGES)
def test_a_link_goes_through_the_exchange_that_its_options_name(kind: str, shop: Shop, name: str) -> None:
    key, more = EXCHANGES[kind]
    exchange = Exchange(f"shop-{kind}", kind, durable=False, auto_delete=True)
    shop.declare(Queue(shop.queue, exchange, routing_key="shop.#" if kind == "topic" else key))
    link = shop.app.signature("shop.paint", exchange=exchange.name, **more)
    if key:
        link.set(routing_key=key)
    shop.generate(name, link=[link]).apply_async()
    assert shop.one()[0] == "shop.paint"


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "shop-none"},
        {"exchange": "shop-none", "routing_key": "x"},
        {"exchange": "", "routing_key": "shop-none"},
    ],
    ids=str,
)
def test_a_continuation_to_nobody_is_refused_unpaid_and_creates_nothing(
    options: dict[str, str], shop: Shop, name: str
) -> None:
    link = shop.app.signature("shop.lost", **options)
    with pytest.raises(Exception, match=r"shop\.lost: the broker has no .*'shop-none'"):
        shop.generate(name, link=[link]).apply_async().get(TIMEOUT)
    assert shop.service.store.jobs.get_many([name]) == [None]
    assert not shop.exists("shop-none")


def test_a_queue_that_is_deleted_meanwhile_is_not_created_again(shop: Shop, name: str, wait_for: WaitFor) -> None:
    # Given a link to a queue that exists when the job is recorded, and not when it ends
    shop.service.simulator.turn(latency="1000")
    shop.generate(name, link=[shop.shop_task("shop.paint")]).apply_async()
    wait_for(lambda: shop.service.redis.exists(f"{{b}}:k:{name}"), TIMEOUT)
    with Connection(shop.service.broker) as connection:
        connection.default_channel.queue_delete(shop.queue)
    shop.service.simulator.turn(latency="0")
    shop.service.store.jobs.cancel(name)
    assert shop.generate(f"{name}-after").apply_async().get(TIMEOUT)
    assert not shop.exists(shop.queue)


def test_a_returned_message_is_an_error_and_the_channel_goes_on(shop: Shop) -> None:
    options = {"confirm_publish": True}
    with (
        Connection(shop.service.broker, transport=Transport, transport_options=options) as connection,
        connection.Producer() as producer,
    ):
        for number in range(3):
            for exchange in ("", "amq.topic"):
                with pytest.raises(Unroutable, match="none"):
                    producer.publish("lost", mandatory=True, exchange=exchange, routing_key="none")
            with pytest.raises(NotFound):
                producer.publish("lost", mandatory=True, exchange="none", routing_key="none")
            producer.publish(number, routing_key=shop.queue, mandatory=True)
        received = [connection.default_channel.basic_get(shop.queue, no_ack=True) for _ in range(4)]
    assert [message and json.loads(message.body) for message in received] == [0, 1, 2, None]


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
