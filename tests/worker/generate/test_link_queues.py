"""BOOMERANG_LINK_QUEUES: no task that follows a job reaches a queue that the operator does not allow."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from jobs.connections.link_queues import LinkQueues
from jobs.errors import DestinationRefused, SettingsInvalid
from jobs.states import State
from jobs.task_names import GENERATE
from tests.support.worker_service import RunService
from tests.support.world import MakeWorld, World
from worker.errors import GenerationRefused
from worker.generate.ending import end_message
from worker.generate.enqueue import Ending, GenerateCall, GenerateHandler
from worker.generate.unreachable import Reachability
from worker.settings import Settings

# Celery calls it to store a result
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")
APP = Celery("shop", set_as_current=False)
REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}
TIMEOUT = 30
#: kombu's text of a binding: routing key, pattern, queue.
BINDING = "{}\x06\x16{}\x06\x16{}"


@APP.task(name="shop.each", shared=False)
def shop_each(_: Any) -> None: ...


def to(queue: str = "payroll", **options: Any) -> Any:
    return APP.signature("shop.a", queue=queue, **options)


def ours() -> Any:
    return APP.signature(GENERATE, kwargs=REQUEST, queue="celery")


def with_link(one: Any, link: Any) -> Any:
    one.link(link)
    return one


#: Ways to name a destination that is not allowed, each as a continuation.
HIDDEN: dict[str, Callable[[], Any]] = {
    "a link": lambda: {"link": [to("shop"), to()]},
    "an errback": lambda: {"link_error": [to()]},
    "the default exchange": lambda: {"link": [to("", exchange="", routing_key="payroll").set(queue=None)]},
    "a priority": lambda: {"link": [to(priority=5)]},
    "the last of a chain": lambda: {"chain": [to(), to("shop"), ours()]},
    "the first of a chain": lambda: {"chain": [to("shop"), to()]},
    "a chord's body": lambda: {"chord": to()},
    "the errback of a chord's body": lambda: {"chord": to("shop").on_error(to())},
    "a group": lambda: {"link": [group([to("shop"), to()], app=APP)]},
    "a group's own queue": lambda: {"link": [group([to("shop")], app=APP).set(queue="payroll")]},
    "a chord's header": lambda: {"chain": [chord([to("shop"), to()], to("shop"), app=APP)]},
    "the body of a chord in a chain": lambda: {"chain": [chord([to("shop"), to("shop")], to(), app=APP)]},
    "a link's link": lambda: {"link": [with_link(to("shop"), to())]},
    "the link of one of our jobs": lambda: {"link": [with_link(ours(), with_link(ours(), to()))]},
    "a chain in a group": lambda: {"link": [group([chain(to("shop"), to(), app=APP), to("shop")], app=APP)]},
    "a map": lambda: {"chain": [shop_each.map([1]).set(queue="payroll")]},
    "chunks": lambda: {"chain": [shop_each.chunks([(1,)], 1).set(queue="payroll"), to()]},
    "a link of Celery's own task": lambda: {"link": [with_link(APP.signature("celery.accumulate"), to())]},
    "another exchange": lambda: {"link": [to("shop", exchange="payroll", routing_key="shop")]},
    "a fanout exchange": lambda: {"link": [to("", exchange="payroll", exchange_type="fanout").set(queue=None)]},
    "Celery's remote control": lambda: {"link": [to("shop", exchange="celery.pidbox", exchange_type="fanout")]},
    "another case": lambda: {"link": [to("Shop")]},
    "a longer name": lambda: {"link": [to("my-shop")]},
    "a line break": lambda: {"link": [to("payroll\nshop")]},
}


@pytest.fixture
def w(world: MakeWorld) -> World:
    return world()


def handler(w: World) -> GenerateHandler:
    return GenerateHandler(w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False)


@pytest.mark.parametrize("continuation", HIDDEN.values(), ids=HIDDEN)
def test_what_is_not_allowed_is_refused_before_anything_is_recorded(
    continuation: Callable[[], Any], w: World, world: MakeWorld
) -> None:
    w.redis.sadd("_kombu.binding.payroll", BINDING.format("shop", "", "shop"))
    text = json.dumps({"task_id": "fox", **continuation()})
    ending = handler(w)(GenerateCall(task_id="fox", request=REQUEST, continuation=text))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert "BOOMERANG_LINK_QUEUES" in str(ending.outcome)
    assert "shop*" in str(ending.outcome)
    assert w.store.jobs.get_many(["fox"]) == [None]
    # An operator may allow it
    assert not any("BOOMERANG_LINK_QUEUES" in why for why in Reachability(world(link_queues=("*",)).app)(text))


@pytest.mark.parametrize("continuation", HIDDEN.values(), ids=HIDDEN)
def test_what_was_accepted_before_a_change_of_the_setting_is_not_sent(
    continuation: Callable[[], Any], w: World
) -> None:
    options = json.loads(json.dumps(continuation()))
    task = w.app.tasks[GENERATE]
    fails = not options.keys() & {"link", "chain"}
    task.push_request(
        id="fox",
        callbacks=options.get("link"),
        errbacks=options.get("link_error") or [dict(to("shop"))],
        chain=options.get("chain"),
        chord=options.get("chord"),
        group="g",
        delivery_info={},
    )
    try:
        end_message(task, Ending(ValueError("no") if fails else {"id": "fox"}, attempts=1), lambda _: [])
    finally:
        task.pop_request()
    assert not w.redis.exists("payroll", "payroll\x06\x165")


def test_a_binding_does_not_lead_to_a_queue_that_is_not_allowed(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Producers may write bindings."""
    w.redis.sadd("_kombu.binding.shop", BINDING.format("x", "", "payroll"), BINDING.format("x", "", "shop"))
    link = to("shop", exchange="shop", routing_key="x")
    (fault,) = Reachability(w.app)(json.dumps({"link": [link]}))
    assert "'payroll'" in fault
    assert "BOOMERANG_LINK_QUEUES" in fault
    with pytest.raises(DestinationRefused):
        w.app.send_task("shop.a", exchange="shop", routing_key="x")
    # A binding that is made after the check
    with w.app.connection_for_write() as connection:
        channel = connection.default_channel
        monkeypatch.setattr(channel, "missing", lambda *_: "")
        with connection.Producer() as producer, pytest.raises(DestinationRefused):
            producer.publish("x", exchange="shop", routing_key="x", mandatory=True, declare=[])
    assert not w.redis.exists("payroll", "shop")


@pytest.mark.parametrize(
    ("env", "allowed", "refused"),
    [
        ({}, "shop shop-eu shop.x", "payroll sho Shop celery ''"),
        ({"BOOMERANG_PRODUCER_QUEUES": "orders. mail"}, "orders.eu mail mail2", "shop payroll"),
        ({"BOOMERANG_LINK_QUEUES": "mail orders.?"}, "mail orders.1", "mail2 orders. orders.12 shop"),
        ({"BOOMERANG_LINK_QUEUES": "mail,shop", "BOOMERANG_PRODUCER_QUEUES": "x"}, "mail shop", "x shop2"),
        ({"BOOMERANG_LINK_QUEUES": "*"}, "payroll x", ""),
    ],
)
def test_the_settings_give_the_patterns(env: dict[str, str], allowed: str, refused: str) -> None:
    queues = LinkQueues(Settings.from_env(env).link_patterns)
    for name in allowed.split():
        queues.check("", name)
        queues.check(name, "any key", [name])
    for name in refused.split():
        for call in (("", name), (name, "shop")):
            with pytest.raises(DestinationRefused):
                queues.check(*call)


@pytest.mark.parametrize("text", ["shop[1]", "a/b", "shop\\", "ä", "'shop'"])
def test_a_pattern_that_redis_would_read_in_another_way_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="BOOMERANG_LINK_QUEUES"):
        Settings.from_env({"BOOMERANG_LINK_QUEUES": text})


@pytest.mark.stack
def test_celerys_own_tasks_in_our_queue_send_nothing_to_other_queues(
    run_service: RunService, wait_for: Callable[..., None]
) -> None:
    """A worker runs them for any sender, without the check of our task."""
    with run_service() as service:
        app = service.producer
        followed = {"queue": "celery", "link": [dict(to())], "link_error": [dict(to())]}
        sent = [
            app.send_task("celery.accumulate", args=(1,), **followed),
            app.send_task("celery.map", kwargs={"task": dict(to()), "it": [1]}, **followed),
            app.send_task("celery.chord", args=([dict(to())], dict(to())), **followed),
            app.send_task("celery.group", args=([dict(to())], "g", None), **followed),
            app.send_task("celery.backend_cleanup", **followed),
            app.send_task("celery.chord_unlock", args=("g", dict(to())), kwargs={"result": []}, **followed),
        ]
        wait_for(lambda: all(each.ready() for each in sent[:2]), TIMEOUT)
        # The worker goes on
        assert service.send("fox").get(TIMEOUT)["status"] == "completed"
        assert service.store.jobs.get("fox").state is State.COMPLETED
        assert not service.redis.exists("payroll")
