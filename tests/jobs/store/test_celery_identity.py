"""Which Celery messages count as repeats of one message."""

import json
import threading
from typing import Any

import pytest
from celery import Celery, chain
from celery.canvas import Signature
from hypothesis import given
from hypothesis import strategies as st

from jobs.store.celery_identity import identity_of

APP = Celery("shop", set_as_current=False)


def link(name: str = "shop.paint", **options: Any) -> Signature:
    return APP.signature(name, queue="shop", **options)


def identity(**continuation: Any) -> str:
    return identity_of(json.dumps({"task_id": "fox", **continuation}))


#: What may differ between repeats: two continuations each.
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the sending thread": ({"reply_to": "a"}, {"reply_to": "b"}),
    "the task that sends it": ({"root_id": "a", "parent_id": "b"}, {"root_id": "c"}),
    "the thread, in a signature": ({"link": [link(reply_to="a")]}, {"link": [link(reply_to="b")]}),
    "the thread, deep in a chord": (
        {"chord": link(link=[dict(link(reply_to="a"))])},
        {"chord": link(link=[dict(link(reply_to="b"))])},
    ),
    "the order of stamps": ({"stamped_headers": ["a", "b"]}, {"stamped_headers": ["b", "a"]}),
}
#: What makes another message.
OTHER: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a link": ({}, {"link": [link()]}),
    "two links": ({"link": [link()]}, {"link": [link(), link()]}),
    "another task": ({"link": [link("shop.a")]}, {"link": [link("shop.b")]}),
    "a link's argument": ({"link": [link(args=(1,))]}, {"link": [link(args=(2,))]}),
    "an argument named like an option": (
        {"link": [link(kwargs={"reply_to": "a"})]},
        {"link": [link(kwargs={"reply_to": "b"})]},
    ),
    "an argument that looks like options": (
        {"link": [link(kwargs={"options": {"root_id": "a"}})]},
        {"link": [link(kwargs={"options": {"root_id": "b"}})]},
    ),
    "a link's queue": ({"link": [link()]}, {"link": [APP.signature("shop.paint", queue="other")]}),
    "a link or an errback": ({"link": [link()]}, {"link_error": [link()]}),
    "the id of the next task": ({"chain": [link(task_id="a")]}, {"chain": [link(task_id="b")]}),
    "the chord": ({"group_id": "a", "chord": link()}, {"group_id": "b", "chord": link()}),
    "a stamp": ({"stamped_headers": ["order"], "order": 1}, {"stamped_headers": ["order"], "order": 2}),
    "the result": ({}, {"ignore_result": True}),
}


@pytest.mark.parametrize(("one", "two"), SAME.values(), ids=SAME)
def test_who_sends_a_message_makes_no_difference(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert identity(**one) == identity(**two)


@pytest.mark.parametrize(("one", "two"), OTHER.values(), ids=OTHER)
def test_what_follows_a_message_makes_another_one(one: dict[str, Any], two: dict[str, Any]) -> None:
    assert identity(**one) != identity(**two)


def test_the_arguments_count_where_they_are_given() -> None:
    requests: list[dict[str, Any] | None] = [None, {}, {"model": "x"}, {"model": "y"}]
    assert len({identity_of("{}", request) for request in requests}) == len(requests)
    assert identity_of("{}", {"a": 1, "b": 2}) == identity_of("{}", {"b": 2, "a": 1})


def test_a_chain_that_two_threads_froze_is_the_same() -> None:
    """Its tasks have fixed ids. Celery gives new ids to a group or chord each time, which makes another message."""
    frozen: list[str] = []

    def freeze() -> None:
        following = chain(link(task_id="1"), link(task_id="2"), app=APP)
        following.freeze("2", root_id=str(threading.get_ident()))
        frozen.append(identity(link=[json.loads(json.dumps(following))]))

    threads = [threading.Thread(target=freeze) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert frozen[0] == frozen[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_any_continuation_has_an_identity(continuation: Any) -> None:
    text = json.dumps(continuation)
    assert identity_of(text) == identity_of(text)
    assert len(identity_of(text)) == 16
