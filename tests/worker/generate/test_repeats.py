"""Repeats of one message call what follows it once. Other messages under the same id each call theirs."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chord, group
from celery.result import AsyncResult

from jobs.states import State
from tests.worker.generate.conftest import REQUEST, TIMEOUT, Shop, ids

pytestmark = pytest.mark.stack


def names(shop: Shop) -> list[str]:
    return sorted(name for name, _ in shop.got())


# --- one id, several messages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True], ids=["parked", "ended"])
def test_messages_under_one_id_each_call_their_links(ended: bool, shop: Shop) -> None:
    (name,) = ids(1)
    shop.service.simulator.turn(latency="0" if ended else "1")
    if ended:
        shop.generate(name).apply_async().get(TIMEOUT)
    followers: list[dict[str, Any]] = [
        {"link": [shop.shop_task("shop.one")]},
        {"link": [shop.shop_task("shop.two")]},
        {"link": [shop.shop_task("shop.two", args=("again",))]},
        {"link": [shop.shop_task("shop.one"), shop.shop_task("shop.three")]},
        {"link": [group([shop.shop_task("shop.four")], app=shop.app)]},
        {"chain": [shop.shop_task("shop.five", task_id=f"{name}-5")]},
    ]
    for more in followers:
        shop.generate(name, **more).apply_async()
    expected = ["shop.five", "shop.four", *["shop.one"] * 2, "shop.three", *["shop.two"] * 2]
    shop._wait_for(lambda: len(shop.got()) >= len(expected), TIMEOUT)
    shop.wait_until_idle()
    assert names(shop) == expected
    assert shop.service.simulator.bought()[:2] == (1, 0)
    shop._wait_for(lambda: not shop.service.store.jobs.get(name).owed, TIMEOUT)


def test_two_chords_of_the_same_signatures_both_end(shop: Shop) -> None:
    shop.service.simulator.turn(latency="1")
    members = ids(2)
    for body in ("shop.first", "shop.second"):
        chord([shop.generate(name) for name in members], app=shop.app)(shop.shop_task(body))
    shop._wait_for(lambda: len(shop.got()) == 2, TIMEOUT)
    shop.wait_until_idle()
    assert names(shop) == ["shop.first", "shop.second"]
    assert shop.service.simulator.bought()[:2] == (2, 0)


def test_a_revoke_ends_every_message_under_its_id(shop: Shop) -> None:
    shop.service.simulator.turn(latency="1000")
    (name,) = ids(1)
    for sorry in ("shop.one", "shop.two"):
        shop.generate(name, link_error=[shop.shop_task(sorry)]).apply_async()
    shop._wait_for(lambda: shop.redis.hlen(f"{{b}}:k:{name}") == 2, TIMEOUT)
    shop.app.control.revoke(name)
    shop._wait_for(lambda: len(shop.got()) == 2, TIMEOUT)
    assert names(shop) == ["shop.one", "shop.two"]
    assert shop.service.store.jobs.get(name).state is State.CANCELLED


# --- repeats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [False, True], ids=["parked", "ended"])
def test_a_repeat_from_another_thread_is_the_same_message(ended: bool, shop: Shop) -> None:
    """Celery names the sending thread in `reply_to`, also in the signatures that follow."""
    (name,) = ids(1)
    shop.service.simulator.turn(latency="0" if ended else "1")

    def send() -> None:
        following = shop.shop_task("shop.next", task_id=f"{name}-next")
        (shop.generate(name, link=[shop.shop_task("shop.paint")]) | following).apply_async()

    send()
    if ended:
        AsyncResult(name, app=shop.app).get(TIMEOUT)
    for _ in range(3):
        thread = threading.Thread(target=send)
        thread.start()
        thread.join()
    shop._wait_for(lambda: len(shop.got()) == 2, TIMEOUT)
    shop.wait_until_idle()
    assert names(shop) == ["shop.next", "shop.paint"]


def test_many_copies_that_come_at_once_after_the_end_call_a_link_once(shop: Shop) -> None:
    (name,) = ids(1)
    shop.generate(name).apply_async().get(TIMEOUT)
    shop.generate(name, queue=f"held-{shop.queue}", link=[shop.shop_task("shop.paint")]).apply_async()
    shop.release(shop.take_held(1), times=30)
    assert shop.one()[0] == "shop.paint"
    assert not shop.service.store.jobs.get(name).owed


# --- refused messages -------------------------------------------------------------------------------------------------

PAST = datetime.now(UTC) - timedelta(seconds=5)
Refused = Callable[[Shop, str], dict[str, Any]]


def conflict(shop: Shop, name: str) -> dict[str, Any]:
    shop.generate(f"{name}-other").apply_async().get(TIMEOUT)
    return {"kwargs": {**REQUEST, "prompt": "a badger", "external_task_id": f"{name}-other"}}


def revoked(shop: Shop, name: str) -> dict[str, Any]:
    shop.app.control.revoke(name, reply=True, timeout=TIMEOUT, limit=1)
    return {}


#: Why a message makes no job → what it has besides an ordinary one.
REFUSED: dict[str, Refused] = {
    "invalid": lambda *_: {"kwargs": {"model": "x"}},
    "no arguments": lambda *_: {"kwargs": {}},
    "positional arguments": lambda *_: {"args": ["a fox"]},
    "an unknown job": lambda *_: {"kwargs": {"external_task_id": "nobody"}},
    "expired": lambda *_: {"expires": PAST},
    "a link without a queue": lambda shop, _: {"link": [shop.app.signature("shop.lost")]},
    "conflict": conflict,
    "revoked before it came": revoked,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_message_that_is_redelivered_calls_its_errback_once(kind: str, shop: Shop) -> None:
    (name,) = ids(1)
    more = REFUSED[kind](shop, name)
    options = {"task_id": name, "queue": f"held-{shop.queue}", "link_error": [shop.shop_task("shop.sorry")]}
    shop.app.send_task("boomerang.generate", **{"kwargs": REQUEST, **options, **more})
    messages = shop.take_held(1)
    # Three copies at once, as after a lost connection, and two later, as after the visibility time-out
    shop.release(messages, times=3)
    assert shop.one() == ("shop.sorry", [name])
    result = AsyncResult(name, app=shop.app)
    state = result.state
    assert state in {"FAILURE", "REVOKED"}
    result.forget()
    shop.release(messages, times=2)
    shop.wait_until_idle()
    assert len(shop.got()) == 1
    # The result is stored again
    assert AsyncResult(name, app=shop.app).state == state


def test_a_corrected_message_under_the_same_id_is_another_one(shop: Shop) -> None:
    (name,) = ids(1)
    sorry = [shop.shop_task("shop.sorry")]
    for model in ("x", "y"):
        shop.app.send_task("boomerang.generate", kwargs={"model": model}, task_id=name, link_error=sorry)
    shop._wait_for(lambda: len(shop.got()) == 2, TIMEOUT)
    shop.generate(name, link_error=sorry).apply_async()
    shop._wait_for(lambda: AsyncResult(name, app=shop.app).state == "SUCCESS", TIMEOUT)


# --- what follows cannot be sent --------------------------------------------------------------------------------------

#: What cannot be sent → an option of the link, or the link itself.
UNSENDABLE: dict[str, Callable[[Shop, str], Any]] = {
    "wrong arguments": lambda shop, name: shop.generate(f"{name}-b", immutable=False),
    "an unknown serializer": lambda shop, _: shop.shop_task("shop.paint", serializer="nonsense"),
}


@pytest.mark.parametrize("kind", UNSENDABLE)
@pytest.mark.parametrize("how", ["link", "chain"])
def test_what_cannot_be_sent_fails_the_task_once_and_keeps_the_jobs_result(kind: str, how: str, shop: Shop) -> None:
    (name,) = ids(1)
    sorry = [shop.shop_task("shop.sorry")]
    shop.generate(name, **{how: [UNSENDABLE[kind](shop, name)]}, link_error=sorry).apply_async()
    assert shop.one() == ("shop.sorry", [name])
    assert AsyncResult(name, app=shop.app).state == "FAILURE"
    job = shop.service.store.jobs.get(name)
    assert (job.state, job.owed) == (State.COMPLETED, frozenset())
    assert job.result
    assert job.result.output
    assert shop.service.store.celery.get_parked(name) == []


def test_an_errback_that_cannot_be_sent_does_not_repeat_the_others(shop: Shop) -> None:
    (name,) = ids(1)
    errbacks = [shop.shop_task("shop.sorry"), shop.shop_task("shop.lost", serializer="nonsense")]
    shop.service.simulator.turn(fail_permanent=1)
    shop.generate(name, link_error=errbacks).apply_async()
    assert shop.one() == ("shop.sorry", [name])
    shop._wait_for(lambda: not shop.service.store.jobs.get(name).owed, TIMEOUT)
