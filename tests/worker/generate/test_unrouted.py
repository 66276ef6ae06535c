"""Whether every task that follows a producer's says where it is to be sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from worker.generate.unrouted import unrouted_tasks

APP = Celery("shop", set_as_current=False)


def home(name: str = "shop.a") -> Any:
    return APP.signature(name, queue="shop")


def lost(name: str = "shop.lost") -> Any:
    return APP.signature(name, args=[{"task": "shop.argument", "options": {}}])


def generate() -> Any:
    return APP.signature("boomerang.generate", kwargs={"prompt": "x"})


def with_link(link: Any) -> Any:
    one = home()
    one.link(link)
    return one


GOOD: dict[str, Callable[[], Any]] = {
    "nothing": dict,
    "a queue": lambda: {"link": [home()], "link_error": [home()]},
    "an exchange and a key": lambda: {"link": [APP.signature("shop.a", exchange="x", routing_key="y")]},
    "our own": lambda: {"chain": [generate()]},
    "a chord's body": lambda: {"chord": home()},
    "a group": lambda: {"chain": [group([home(), generate()], app=APP)]},
}
BAD: dict[str, Callable[[], Any]] = {
    "a link": lambda: {"link": [home(), lost()]},
    "an errback": lambda: {"link_error": [lost()]},
    "in a chain": lambda: {"chain": [lost(), home()]},
    "a chord's body": lambda: {"chord": lost()},
    "its errback": lambda: {"chord": home().on_error(lost())},
    "in a group": lambda: {"link": [group([home(), lost()], app=APP)]},
    "in a chain in a link": lambda: {"link": [chain(home(), lost(), app=APP)]},
    "in a chord that follows": lambda: {"chain": [chord([home(), lost()], home(), app=APP)]},
    "the body of one that follows": lambda: {"chain": [chord([home(), home()], lost(), app=APP)]},
    "a link's link": lambda: {"link": [with_link(lost())]},
}


@pytest.mark.parametrize("continuation", GOOD.values(), ids=GOOD)
def test_routed_tasks_are_accepted(continuation: Callable[[], Any]) -> None:
    assert unrouted_tasks(json.dumps({"task_id": "x", **continuation()})) == []


@pytest.mark.parametrize("continuation", BAD.values(), ids=BAD)
def test_unrouted_tasks_are_named(continuation: Callable[[], Any]) -> None:
    assert unrouted_tasks(json.dumps({"task_id": "x", **continuation()})) == ["shop.lost"]
