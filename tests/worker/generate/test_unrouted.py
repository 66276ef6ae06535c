"""Every task that follows a producer's must name its queue."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from worker.generate.unrouted import unrouted_tasks

APP = Celery("shop", set_as_current=False)


def routed(name: str = "shop.a") -> Any:
    return APP.signature(name, queue="shop")


def unrouted(name: str = "shop.lost") -> Any:
    return APP.signature(name, args=[{"task": "shop.argument", "options": {}}])


def generate() -> Any:
    return APP.signature("boomerang.generate", kwargs={"prompt": "x"})


def with_link(link: Any) -> Any:
    one = routed()
    one.link(link)
    return one


GOOD: dict[str, Callable[[], Any]] = {
    "nothing": dict,
    "a queue": lambda: {"link": [routed()], "link_error": [routed()]},
    "an exchange and a key": lambda: {"link": [APP.signature("shop.a", exchange="x", routing_key="y")]},
    "our own": lambda: {"chain": [generate()]},
    "a chord's body": lambda: {"chord": routed()},
    "a group": lambda: {"chain": [group([routed(), generate()], app=APP)]},
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
}


@pytest.mark.parametrize("continuation", GOOD.values(), ids=GOOD)
def test_routed_tasks_are_accepted(continuation: Callable[[], Any]) -> None:
    assert unrouted_tasks(json.dumps({"task_id": "x", **continuation()})) == []


@pytest.mark.parametrize("continuation", BAD.values(), ids=BAD)
def test_unrouted_tasks_are_named(continuation: Callable[[], Any]) -> None:
    assert unrouted_tasks(json.dumps({"task_id": "x", **continuation()})) == ["shop.lost"]
