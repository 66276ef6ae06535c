"""Groups, chords and chains of boomerang.generate, also when their messages are repeated or late."""

import json

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError
from celery.result import AsyncResult, GroupResult

from tests.worker.generate.conftest import REQUEST, TIMEOUT, Shop, WaitFor, ids

pytestmark = pytest.mark.stack


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # Celery calls it to save a group
def test_a_group_returns_the_views_in_order(shop: Shop) -> None:
    names = ids(5)
    result = group([shop.generate(name) for name in names], app=shop.app).apply_async()
    views = result.get(TIMEOUT)
    assert [(view["id"], view["status"]) for view in views] == [(name, "completed") for name in names]
    result.save(backend=shop.app.backend)
    assert GroupResult.restore(result.id, app=shop.app).successful()


def test_a_group_with_a_failed_member_raises(shop: Shop) -> None:
    names = ids(3)
    bad = shop.app.signature("boomerang.generate", kwargs={"model": "x"}, task_id=names[2], queue="celery")
    result = group([shop.generate(names[0]), shop.generate(names[1]), bad], app=shop.app).apply_async()
    with pytest.raises(Exception, match="model"):
        result.get(TIMEOUT)
    outcomes = result.get(TIMEOUT, propagate=False)
    assert [type(each).__name__ for each in outcomes] == ["dict", "dict", "GenerationRefused"]


def test_a_group_in_a_chain_becomes_a_chord(shop: Shop) -> None:
    names = ids(3)
    chain(
        shop.generate(names[0]),
        group([shop.generate(names[1]), shop.generate(names[2])], app=shop.app),
        shop.shop_task(),
        app=shop.app,
    ).apply_async()
    name, (views,) = shop.one()
    assert (name, [view["id"] for view in views]) == ("shop.all", names[1:])


def test_chains_in_a_group_return_their_last_results(shop: Shop) -> None:
    names = ids(4)
    pairs = [chain(shop.generate(one), shop.generate(two)) for one, two in (names[:2], names[2:])]
    chord(pairs, app=shop.app)(shop.shop_task())
    _, (views,) = shop.one()
    assert [view["id"] for view in views] == [names[1], names[3]]
    assert shop.service.simulator.bought()[:2] == (4, 0)


def test_a_mutable_task_in_a_chain_raises_type_error(shop: Shop) -> None:
    """The task takes no positional argument: producers use `immutable=True` or `.si()`."""
    names = ids(2)
    mutable = shop.app.signature("boomerang.generate", kwargs=REQUEST, task_id=names[1], queue="celery")
    result = chain(shop.generate(names[0]), mutable).apply_async()
    with pytest.raises(TypeError):
        result.get(TIMEOUT)


def test_a_failed_chain_calls_its_errback_and_stops(shop: Shop) -> None:
    shop.service.simulator.turn(fail_permanent=1)
    names = ids(2)
    result = (
        chain(shop.generate(names[0]), shop.generate(names[1])).on_error(shop.shop_task("shop.sorry")).apply_async()
    )
    with pytest.raises(Exception, match="1301") as raised:
        result.get(TIMEOUT)
    assert type(raised.value).__name__ == "GenerationFailed"
    assert shop.one() == ("shop.sorry", [names[0]])
    assert shop.service.simulator.bought()[0] == 1


def test_a_chord_with_a_failed_member_calls_the_bodys_errback(shop: Shop) -> None:
    names = ids(3)
    bad = shop.app.signature("boomerang.generate", kwargs={"model": "x"}, task_id=names[2], queue="celery")
    body = shop.shop_task().on_error(shop.shop_task("shop.sorry"))
    result = chord([shop.generate(names[0]), shop.generate(names[1]), bad], app=shop.app)(body)
    shop._wait_for(result.ready, TIMEOUT)
    assert isinstance(result.result, ChordError)
    assert names[2] in str(result.result)
    assert shop.one() == ("shop.sorry", [result.id])


def test_a_cancelled_member_fails_the_chord(shop: Shop, wait_for: WaitFor) -> None:
    shop.service.simulator.turn(latency="1000")
    names = ids(2)
    result = chord([shop.generate(name) for name in names], app=shop.app)(
        shop.shop_task().on_error(shop.shop_task("shop.sorry"))
    )
    wait_for(lambda: shop.redis.exists(*(f"{{b}}:k:{name}" for name in names)) == 2, TIMEOUT)
    for name in names:
        shop.service.store.jobs.cancel(name)
    wait_for(result.ready, TIMEOUT)
    assert isinstance(result.result, ChordError)
    assert shop.one() == ("shop.sorry", [result.id])
    assert {AsyncResult(name, app=shop.app).state for name in names} == {"REVOKED"}


def test_links_and_chords_are_called_once_for_repeated_messages(shop: Shop) -> None:
    names = ids(4)
    shop.service.simulator.turn(latency="1")
    chord([shop.generate(name, queue=f"held-{shop.queue}") for name in names], app=shop.app)(shop.shop_task())
    messages = shop.take_held(len(names))
    # Messages come three times while the jobs run, one comes late, and all come twice after the end
    shop.release(messages[1:], times=3)
    shop.release(messages[:1])
    _, (views,) = shop.one()
    assert [view["id"] for view in views] == names
    shop.release(messages, times=2)
    shop.wait_until_idle()
    assert len(shop.got()) == 1
    assert shop.service.simulator.bought()[:2] == (len(names), 0)


def test_a_link_is_called_once_for_a_message_that_is_redelivered_after_the_end(shop: Shop) -> None:
    (name,) = ids(1)
    shop.generate(name, queue=f"held-{shop.queue}", link=[shop.shop_task("shop.paint")]).apply_async()
    messages = shop.take_held(1)
    shop.release(messages, times=2)
    assert shop.one()[0] == "shop.paint"
    # When the result has been deleted, it is stored again and the link is not called
    AsyncResult(name, app=shop.app).forget()
    shop.release(messages)
    assert AsyncResult(name, app=shop.app).get(TIMEOUT)["id"] == name
    shop.wait_until_idle()
    assert len(shop.got()) == 1
    # With another link it is another message
    shop.generate(name, link=[shop.shop_task("shop.frame")]).apply_async()
    shop._wait_for(lambda: len(shop.got()) == 2, TIMEOUT)
    assert shop.got()[1][0] == "shop.frame"


def test_every_celery_task_of_one_job_is_finished(shop: Shop) -> None:
    shop.service.simulator.turn(latency="1")
    names = ids(3)
    request = {**REQUEST, "external_task_id": names[0]}
    results = [
        shop.app.send_task("boomerang.generate", kwargs=request, task_id=name, link=shop.shop_task("shop.paint"))
        for name in names
    ]
    assert [result.get(TIMEOUT)["id"] for result in results] == [names[0]] * 3
    shop.wait_until_idle()
    assert [name for name, _ in shop.got()] == ["shop.paint"] * 3
    assert shop.service.simulator.bought()[:2] == (1, 0)


def test_a_task_without_a_result_still_calls_its_link(shop: Shop) -> None:
    (name,) = ids(1)
    shop.generate(name, ignore_result=True, link=[shop.shop_task("shop.paint")]).apply_async()
    assert shop.one()[0] == "shop.paint"
    assert not shop.redis.exists(f"celery-task-meta-{name}")


def test_stamps_are_passed_on_to_the_link(shop: Shop) -> None:
    (name,) = ids(1)
    stamped = shop.generate(name, link=[shop.shop_task("shop.paint")])
    stamped.stamp(order="o-7")
    stamped.apply_async()
    shop.one()
    (text,) = shop.redis.lrange(shop.queue, 0, -1)
    assert json.loads(text)["headers"]["stamps"] == {"order": "o-7"}


def test_a_link_without_a_queue_is_refused_before_anything_is_paid(shop: Shop) -> None:
    (name,) = ids(1)
    result = shop.generate(name, link=[shop.app.signature("shop.paint")]).apply_async()
    with pytest.raises(Exception, match=r"shop\.paint: no queue is named"):
        result.get(TIMEOUT)
    assert shop.service.store.jobs.get_many([name]) == [None]
