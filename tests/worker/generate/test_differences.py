"""What differs from a native Celery task: each row of the table in docs/guides/celery.md is tested here.

A row is named by its first cell. `test_every_row_has_a_test` compares the two lists.
"""

import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.events import EventReceiver
from celery.result import AsyncResult
from kombu import Connection

from jobs.states import State
from tests.worker.generate.conftest import REQUEST, TIMEOUT, Shop

pytestmark = pytest.mark.stack
PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "celery.md").read_text("utf-8")
#: First cell of a row → its test.
TESTS: dict[str, Callable[[Shop, str], None]] = {}


def row(cell: str) -> Callable[[Callable[[Shop, str], None]], Callable[[Shop, str], None]]:
    def register(test: Callable[[Shop, str], None]) -> Callable[[Shop, str], None]:
        TESTS[cell] = test
        return test

    return register


def send(shop: Shop, name: str, **options: Any) -> AsyncResult:
    return shop.app.send_task("boomerang.generate", **{"kwargs": REQUEST, "task_id": name, **options})


def is_parked(shop: Shop, name: str) -> bool:
    return bool(shop.redis.exists(f"{{b}}:k:{name}"))


@row("`countdown`, `eta`")
def granularity(shop: Shop, name: str) -> None:
    """The job is admitted by a round of reconcile after its time, never before."""
    send(shop, f"{name}-before").get(TIMEOUT)
    began = time.time()
    send(shop, name, countdown=1.5).get(TIMEOUT)
    sent_at = [
        int(str(key).partition("-")[0]) / 1000
        for key, fields in shop.redis.xrange("{b}:changes")
        if fields["id"] == name and fields["state"] == "submitting"
    ]
    assert 1.4 < sent_at[0] - began < 15


@row("`inspect scheduled`, `active`, `reserved`")
def inspected(shop: Shop, name: str) -> None:
    send(shop, name, countdown=1000)
    shop._wait_for(lambda: is_parked(shop, name), TIMEOUT)
    shop.wait_until_idle()
    for look in ("scheduled", "active", "reserved"):
        answers = getattr(shop.app.control.inspect(timeout=2), look)() or {}
        assert name not in str(answers)
    shop.service.store.jobs.cancel(name)


@row("`result_extended`")
def extended(shop: Shop, name: str) -> None:
    result = send(shop, name)
    result.get(TIMEOUT)
    assert (result.name, result.args, result.kwargs, result.worker) == (None, None, None, None)


@row("exception classes")
def classes(shop: Shop, name: str) -> None:
    result = send(shop, name, kwargs={"model": "x"})
    with pytest.raises(Exception, match="model") as raised:
        result.get(TIMEOUT)
    assert (type(raised.value).__module__, type(raised.value).__name__) == ("worker.errors", "GenerationRefused")
    assert result.traceback is None


@row("ids")
def odd_ids(shop: Shop, name: str) -> None:
    with pytest.raises(Exception, match="external_task_id"):
        send(shop, f"{name} ä/b").get(TIMEOUT)
    view = send(shop, f"{name} ä/c", kwargs={**REQUEST, "external_task_id": name}).get(TIMEOUT)
    assert view["id"] == name


@row("the same id twice")
def same_id(shop: Shop, name: str) -> None:
    views = [send(shop, name).get(TIMEOUT) for _ in range(2)]
    assert views[0] == views[1]
    assert shop.service.simulator.bought()[:2] == (1, 0)


@row("serializers")
def serializers(shop: Shop, name: str) -> None:
    """Such a message is discarded, and the next one is processed."""
    for serializer in ("pickle", "yaml"):
        with Connection(shop.app.conf.broker_url) as connection:
            connection.SimpleQueue("celery").put(
                [[], REQUEST, {}],
                serializer=serializer,
                headers={"task": "boomerang.generate", "id": f"{name}-{serializer}", "lang": "py"},
            )
    assert send(shop, name).get(TIMEOUT)["id"] == name
    shop.wait_until_idle()
    for serializer in ("pickle", "yaml"):
        assert AsyncResult(f"{name}-{serializer}", app=shop.app).state == "PENDING"
        assert shop.service.store.jobs.get_many([f"{name}-{serializer}"]) == [None]


@row("`global_keyprefix`")
def key_prefix(shop: Shop, name: str) -> None:
    url = shop.app.conf.broker_url
    with Celery("other", broker=url, set_as_current=False) as other:
        other.conf.broker_transport_options = {"global_keyprefix": f"{name}:"}
        other.send_task("boomerang.generate", kwargs=REQUEST, task_id=name)
    assert send(shop, f"{name}-2").get(TIMEOUT)["id"] == f"{name}-2"
    assert shop.redis.llen(f"{name}:celery") == 1
    assert shop.service.store.jobs.get_many([name]) == [None]


@row("`time_limit`, `soft_time_limit`")
def time_limits(shop: Shop, name: str) -> None:
    shop.service.simulator.turn(latency="2.5")
    view = send(shop, name, time_limit=1, soft_time_limit=1).get(TIMEOUT)
    assert view["status"] == "completed"


@row("`priority=`")
def priorities(shop: Shop, name: str) -> None:
    view = send(shop, name, priority=9).get(TIMEOUT)
    assert view["priority"] == "normal"


@row("task events")
def events(shop: Shop, name: str) -> None:
    """The events are those of the job's states, whatever the sender asks for."""
    kinds: list[str] = []
    with shop.app.connection_for_read() as connection:

        def note(event: dict[str, Any]) -> None:
            if event.get("uuid") == name:
                kinds.append(event["type"])

        receiver = EventReceiver(connection, handlers={"*": note}, app=shop.app)
        with receiver.consumer_context(wakeup=False) as (reading, *_):
            send(shop, name)
            shop._wait_for(lambda: _drain(reading) or "task-succeeded" in kinds, TIMEOUT)
    assert "task-in-progress" in kinds
    assert kinds.count("task-succeeded") == 1


def _drain(connection: Any) -> bool:
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.2)
    return False


@row("`ignore_result=True`")
def ignored(shop: Shop, name: str) -> None:
    send(shop, name, ignore_result=True, link=[shop.shop_task("shop.paint")])
    assert shop.one()[0] == "shop.paint"
    assert AsyncResult(name, app=shop.app).state == "PENDING"
    # A later task with only the id gets the result
    asks = send(shop, f"{name}-asks", kwargs={"external_task_id": name})
    assert asks.get(TIMEOUT)["id"] == name


@row("retries")
def retries(shop: Shop, name: str) -> None:
    shop.service.simulator.turn(fail=1)
    result = send(shop, name)
    states: set[str] = set()
    shop._wait_for(lambda: states.add(result.state) or result.ready(), TIMEOUT)
    assert states <= {"PENDING", "SUCCESS", "FAILURE"}
    assert not result.retries


@row("`children`")
def children(shop: Shop, name: str) -> None:
    result = send(shop, name, link=[shop.shop_task("shop.paint", task_id=f"{name}-link")])
    result.get(TIMEOUT)
    assert [child.id for child in result.children] == [f"{name}-link"]


@row("`task_track_started`")
def started(shop: Shop, name: str) -> None:
    shop.service.simulator.turn(latency="2")
    result = send(shop, name)
    shop._wait_for(lambda: shop.service.store.jobs.get_many([name]) != [None], TIMEOUT)
    shop._wait_for(lambda: shop.service.store.jobs.get(name).state is State.IN_PROGRESS, TIMEOUT)
    assert result.state == "PENDING"
    shop.service.store.jobs.cancel(name)


@row("`control.rate_limit`")
def rate_limit(shop: Shop, name: str) -> None:
    (answer,) = shop.app.control.rate_limit("boomerang.generate", "1/h", reply=True, timeout=5, limit=1)
    assert "no rate limit" in next(iter(answer.values()))["ok"]
    for number in range(3):
        assert send(shop, f"{name}-{number}").get(TIMEOUT)["status"] == "completed"


@row("`revoke_by_stamped_headers`")
def stamped(shop: Shop, name: str) -> None:
    (answer,) = shop.app.control.revoke_by_stamped_headers({"order": "o"}, reply=True, timeout=5, limit=1)
    assert "by task id" in next(iter(answer.values()))["ok"]


@row("errbacks of a revoked task")
def revoked(shop: Shop, name: str) -> None:
    send(shop, name, countdown=1000, link_error=[shop.shop_task("shop.sorry")])
    shop._wait_for(lambda: is_parked(shop, name), TIMEOUT)
    shop.app.control.revoke(name)
    assert shop.one() == ("shop.sorry", [name])


@row("what cannot be sent")
def unsendable(shop: Shop, name: str) -> None:
    send(
        shop,
        name,
        link=[shop.shop_task("shop.paint", serializer="nonsense")],
        link_error=[shop.shop_task("shop.sorry")],
    )
    assert shop.one() == ("shop.sorry", [name])
    assert AsyncResult(name, app=shop.app).state == "FAILURE"
    assert shop.service.store.jobs.get(name).state is State.COMPLETED


@pytest.mark.parametrize("cell", TESTS)
def test_a_difference(cell: str, shop: Shop) -> None:
    TESTS[cell](shop, uuid.uuid4().hex)


def test_every_row_has_a_test() -> None:
    section = PAGE.partition("## What differs from native Celery")[2].partition("\n## ")[0]
    first, *rows = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    assert first == "Celery"
    assert rows[1:] == list(TESTS)
