"""Every task that follows a producer's must reach a queue: otherwise the message is refused before anything is paid."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from queue import Empty
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu import Connection, Exchange, Queue

from jobs.errors import Unroutable
from tests.support.examples import examples
from tests.support.world import MakeWorld, World
from worker.generate.unreachable import Reachability

APP = Celery("shop", set_as_current=False)


def routed(name: str = "shop.a") -> Any:
    return APP.signature(name, queue="shop")


def unrouted(name: str = "shop.lost") -> Any:
    return APP.signature(name, args=[{"task": "shop.argument", "options": {}}])


def generate() -> Any:
    return APP.signature("boomerang.generate", kwargs={"prompt": "x"})


@APP.task(name="shop.each", shared=False)
def shop_each(_: Any) -> None: ...


def mapped(**options: Any) -> Any:
    return shop_each.map([1, 2]).set(**options)


def with_link(link: Any) -> Any:
    one = routed()
    one.link(link)
    return one


GOOD: dict[str, Callable[[], Any]] = {
    "nothing": dict,
    "a queue": lambda: {"link": [routed()], "link_error": [routed()]},
    "the default exchange and a key": lambda: {"link": [APP.signature("shop.a", exchange="", routing_key="shop")]},
    "our own": lambda: {"chain": [generate()]},
    "our own, by the queue": lambda: {"chain": [generate().set(queue="celery")]},
    "a chord's body": lambda: {"chord": routed()},
    "a group": lambda: {"chain": [group([routed(), generate()], app=APP)]},
    "a group with a queue": lambda: {"chain": [group([unrouted(), unrouted()], app=APP).set(queue="shop")]},
    "a chord with a queue": lambda: {"chain": [chord([unrouted(), unrouted()], unrouted(), app=APP).set(queue="shop")]},
    "a map": lambda: {"chain": [mapped(queue="shop")]},
    "Celery's own": lambda: {"chain": [APP.signature("celery.accumulate")]},
}
BAD: dict[str, Callable[[], Any]] = {
    "a link": lambda: {"link": [routed(), unrouted()]},
    "an errback": lambda: {"link_error": [unrouted()]},
    "in a chain": lambda: {"chain": [unrouted(), routed()]},
    "a chord's body": lambda: {"chord": unrouted()},
    "its errback": lambda: {"chord": routed().on_error(unrouted())},
    "in a group": lambda: {"link": [group([routed(), unrouted()], app=APP)]},
    "in a chain in a link": lambda: {"link": [chain(routed(), unrouted(), app=APP)]},
    "in a chord that follows": lambda: {"chain": [chord([routed(), unrouted()], routed(), app=APP)]},
    "the body of one that follows": lambda: {"chain": [chord([routed(), routed()], unrouted(), app=APP)]},
    "a link's link": lambda: {"link": [with_link(unrouted())]},
    "a routing key only": lambda: {"link": [unrouted().set(routing_key="shop")]},
    "an exchange only": lambda: {"link": [unrouted().set(exchange="shop")]},
    "our own queue": lambda: {"link": [unrouted().set(queue="celery")]},
    "our own queue by its key": lambda: {"link": [unrouted().set(exchange="", routing_key="boomerang.submit")]},
    "an undeclared exchange": lambda: {"link": [unrouted().set(exchange="no-such", routing_key="x")]},
    "an exchange of an unknown type": lambda: {
        "link": [unrouted().set(exchange="x", exchange_type="headers", routing_key="x")]
    },
    "the first of a chain gets its queue": lambda: {
        "link": [chain(routed("shop.a").set(queue=None), unrouted(), app=APP).set(queue="shop")]
    },
    "a group with a queue of ours": lambda: {"link": [group([unrouted()], app=APP).set(queue="celery")]},
    "a queue that is no text": lambda: {"link": [unrouted().set(queue={"name": "shop"})]},
}


@pytest.fixture
def w(world: MakeWorld) -> World:
    return world(link_queues=("*",))


@pytest.mark.parametrize("continuation", GOOD.values(), ids=GOOD)
def test_tasks_that_reach_somebody_are_accepted(continuation: Callable[[], Any], w: World) -> None:
    assert Reachability(w.app)(json.dumps({"task_id": "x", **continuation()})) == []


@pytest.mark.parametrize("continuation", BAD.values(), ids=BAD)
def test_tasks_that_reach_nobody_are_named(continuation: Callable[[], Any], w: World) -> None:
    faults = Reachability(w.app)(json.dumps({"task_id": "x", **continuation()}))
    assert [each.partition(":")[0] for each in faults] == ["shop.lost"]


def test_a_map_without_a_queue_is_named(w: World) -> None:
    for each in (mapped(), mapped(queue="celery")):
        (fault,) = Reachability(w.app)(json.dumps({"chain": [each]}))
        assert fault.startswith("celery.map:")


# --- What is accepted arrives -----------------------------------------------------------------------------------------

#: Queues of a producer, as its own worker declares them.
QUEUES = (
    Queue("shop", Exchange("shop"), routing_key="shop"),
    Queue("shop-topics", Exchange("shop-topic", "topic"), routing_key="shop.*.high"),
    Queue("shop-all", Exchange("shop-topic", "topic"), routing_key="shop.#"),
    Queue("shop-events", Exchange("shop-fanout", "fanout")),
)


class Producer:
    """A producer's consumer: declares `QUEUES` and reads them."""

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)
        self.got: list[str] = []
        self._consumers = [
            self._connection.Consumer(queue, callbacks=[self._note(queue.name)], no_ack=True) for queue in QUEUES
        ]
        for each in self._consumers:
            each.consume()

    def _note(self, name: str) -> Callable[[Any, Any], None]:
        return lambda _body, _message: self.got.append(name)

    def drain(self) -> None:
        with suppress(TimeoutError, Empty):
            while True:
                self._connection.drain_events(timeout=0.3)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    producer = Producer(redis_url)
    producer.drain()
    yield producer
    producer.close()


ARRIVES: dict[str, tuple[Mapping[str, Any], list[str]]] = {
    "a queue": ({"queue": "shop"}, ["shop"]),
    "the default exchange": ({"exchange": "", "routing_key": "shop"}, ["shop"]),
    "a direct exchange": ({"exchange": "shop", "routing_key": "shop"}, ["shop"]),
    "a queue, and another exchange": (
        {"queue": "shop", "exchange": "shop-topic", "routing_key": "shop.x"},
        ["shop-all"],
    ),
    "a topic exchange": ({"exchange": "shop-topic", "routing_key": "shop.eu.high"}, ["shop-all", "shop-topics"]),
    "a topic exchange, named": (
        {"exchange": "shop-topic", "exchange_type": "topic", "routing_key": "shop.eu.high"},
        ["shop-all", "shop-topics"],
    ),
    "a fanout exchange": ({"exchange": "shop-fanout", "exchange_type": "fanout"}, ["shop-events"]),
    "a direct exchange, another key": ({"exchange": "shop", "routing_key": "other"}, []),
    "a topic exchange, another key": ({"exchange": "shop-topic", "routing_key": "other"}, []),
    "no exchange": ({"exchange": "none", "routing_key": "shop"}, []),
}


@pytest.mark.parametrize(("options", "queues"), ARRIVES.values(), ids=ARRIVES)
def test_a_message_arrives_where_its_options_say(
    options: Mapping[str, Any], queues: list[str], w: World, producer: Producer
) -> None:
    keys = set(w.redis.keys())
    link = APP.signature("shop.a", **options)
    faults = Reachability(w.app)(json.dumps({"link": [link]}))
    assert bool(faults) == (not queues)
    if faults:
        # If the binding goes after the check, the failure is an error, not silence.
        with pytest.raises(Unroutable):
            w.app.send_task("shop.a", **options)
    else:
        w.app.send_task("shop.a", **options)
    producer.drain()
    assert sorted(producer.got) == queues
    # It declares nothing.
    assert set(w.redis.keys()) <= keys


NAMES = st.sampled_from(["", "shop", "celery", "shop-topic", "shop-fanout", "none", "boomerang.submit"])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "queue": NAMES,
        "exchange": NAMES,
        "routing_key": st.sampled_from(["", "shop", "celery", "shop.eu.high", "other"]),
        "exchange_type": st.sampled_from(["direct", "topic", "fanout"]),
    },
)


@given(options=OPTIONS)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_accepted_leaves_our_queues_alone(options: Mapping[str, Any], w: World, producer: Producer) -> None:
    faults = Reachability(w.app)(json.dumps({"link": [APP.signature("shop.a", **options)]}))
    w.redis.delete("shop", "celery", "boomerang.submit")
    if not faults:
        # Never to a queue of ours, whose worker would discard it.
        w.app.send_task("shop.a", **options)
    assert not w.redis.exists("celery", "boomerang.submit")


def test_the_producers_priority_stays(w: World) -> None:
    w.app.send_task("shop.a", queue="shop", priority=9)
    (key,) = w.redis.keys("shop*")
    (text,) = w.redis.lrange(key, 0, -1)
    assert json.loads(text)["properties"]["priority"] == 9
    assert json.loads(base64.b64decode(json.loads(text)["body"]))[0] == []
