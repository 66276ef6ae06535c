"""boomerang.deliver sends what follows from a job's end, at least once, to its receiver only."""

import json
import logging
import uuid
from base64 import b64decode, b64encode
from decimal import Decimal
from typing import Any

import pytest
import redis as redis_py
from standardwebhooks.webhooks import Webhook

from jobs.job import Delivery
from jobs.states import State
from schemas import CallbackForm, TaskStatus, read_callback
from tests.support.listener import Listener
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld
from worker.deliver import CONFIRMATION


@pytest.fixture
def ended(world: MakeWorld, listener: Listener) -> Any:
    """A world with a completed job that owes a notification. Private hosts are allowed."""
    w = world(allow_private_hosts=True)
    w.start(callback_url=f"{listener.url}/hook?shop=7")
    assert w.settle().state is State.COMPLETED
    return w


def test_a_producer_is_notified_once(ended: Any, listener: Listener) -> None:
    ended.deliverer(["job-1"])
    ended.deliverer(["job-1"])
    ((method, path, headers, body),) = listener.received
    view = json.loads(body)
    assert (method, path, headers["Content-Type"]) == ("POST", "/hook?shop=7", "application/json")
    assert (view["id"], view["status"], Decimal(view["usage"]["cost"])) == ("job-1", "completed", Decimal("0.013"))
    assert view["output"][0]["url"].endswith(".png")
    assert headers["webhook-id"] == "job-1.completed"
    assert "Authorization" not in headers
    assert ended.alarm_in() is None


def test_a_job_of_the_providers_contract_is_notified_in_the_providers_form(
    world: MakeWorld, simulator: Simulator, listener: Listener
) -> None:
    w = world(allow_private_hosts=True)
    w.start("job-1", callback_url=f"{listener.url}/hook", callback_form=CallbackForm.TASK)
    w.settle()
    simulator.turn(fail_permanent=1)
    w.start("job-2", callback_url=f"{listener.url}/hook", callback_form=CallbackForm.TASK)
    w.settle("job-2")
    w.deliverer(["job-1", "job-2"])

    notifications = {headers["webhook-id"]: json.loads(body) for _, _, headers, body in listener.received}

    # The service's reader of the provider's callbacks can read them
    completed, failed = read_callback(notifications["job-1.completed"]), read_callback(notifications["job-2.failed"])
    assert completed is not None
    assert failed is not None
    assert (completed.status, completed.task_id, completed.settles) == (TaskStatus.COMPLETED, "job-1", True)
    assert completed.output[0].url == w.job("job-1").result.output[0]["url"]
    assert (failed.status, failed.task_id, failed.error.code) == (TaskStatus.FAILED, "job-2", "1301")
    assert notifications["job-1.completed"]["output"][0]["content"][0]["jobId"] == w.job("job-1").task_id


def test_a_notification_is_signed_where_secrets_are_set(world: MakeWorld, listener: Listener) -> None:
    secrets = tuple("whsec_" + b64encode(bytes([number]) * 32).decode() for number in (1, 2))
    w = world(allow_private_hosts=True, notify_secrets=secrets)
    w.start(callback_url=f"{listener.url}/hook")
    w.settle()
    w.deliverer(["job-1"])
    ((_, _, headers, body),) = listener.received
    # A receiver that knows either secret can verify it
    for secret in secrets:
        assert Webhook(secret).verify(body, dict(headers))["id"] == "job-1"


def test_the_end_of_a_job_sends_a_delivery_message(ended: Any) -> None:
    texts = ended.redis.lrange("boomerang.deliver", 0, -1)
    assert [json.loads(b64decode(json.loads(text)["body"]))[0] for text in texts] == [["job-1"]] * len(texts)
    assert texts


def test_a_lost_message_is_sent_again_by_the_alarm(ended: Any, listener: Listener) -> None:
    ended.redis.delete("boomerang.deliver")
    ended.round(1)
    assert ended.messages_in("boomerang.deliver") == 1


@pytest.mark.parametrize("status", [500, 404, 301, 307, 410])
def test_any_status_but_2xx_is_retried_under_the_same_id(status: int, ended: Any, listener: Listener) -> None:
    listener.answers, listener.headers = [status, status], {"Location": f"{listener.url}/elsewhere"}
    ended.deliverer(["job-1"])
    first = ended.alarm_in()
    assert 0.5 < first <= 2.1
    assert ended.job().delivery_tries == 1
    ended.deliverer(["job-1"])
    assert ended.alarm_in() > first
    ended.deliverer(["job-1"])
    assert ended.alarm_in() is None
    assert [(path, headers["webhook-id"]) for _, path, headers, _ in listener.received] == [
        ("/hook?shop=7", "job-1.completed")
    ] * 3


def test_an_address_on_this_machine_is_refused_and_nothing_connects(world: MakeWorld, listener: Listener) -> None:
    w = world()
    addresses = [
        f"http://127.0.0.1:{listener.port}/",
        f"http://localhost:{listener.port}/",
        f"http://2130706433:{listener.port}/",
        f"http://0x7f.1:{listener.port}/",
        f"http://127.1:{listener.port}/",
        f"http://[::1]:{listener.port}/",
        f"http://[::ffff:127.0.0.1]:{listener.port}/",
        f"http://[64:ff9b::7f00:1]:{listener.port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://no-such-host.invalid/",
    ]
    for number, address in enumerate(addresses):
        w.start(f"job-{number}", callback_url=address)
    w.round(6)
    ids = [f"job-{number}" for number in range(len(addresses))]
    w.deliverer(ids)
    assert listener.connections == 0
    # The jobs stay completed, and the delivery stays owed
    assert {w.job(job_id).state for job_id in ids} == {State.COMPLETED}
    assert [w.job(job_id).delivery_tries for job_id in ids] == [1] * len(ids)


def test_an_unexpected_error_in_a_delivery_is_retried(world: MakeWorld, listener: Listener) -> None:
    w = world(allow_private_hosts=True)
    w.start("job-1", "job-2", callback_url=f"{listener.url}/hook")
    w.round(6)
    w.redis.set("{b}:t:job-1", "not JSON")
    w.deliverer(["job-1", "job-2"])
    assert len(listener.received) == 1
    assert w.job("job-2").owed == frozenset()
    assert w.job("job-1").delivery_tries == 1
    assert w.alarm_in("job-1") < 5


def test_a_dead_address_is_given_up_after_its_retries(
    world: MakeWorld, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    w = world(allow_private_hosts=True)
    w.start(callback_url="http://127.0.0.1:1/")
    w.settle()
    for _ in range(40):
        w.deliverer(["job-1"])
        w.ahead(3601)
    job = w.job()
    assert (job.owed, job.undelivered) == (frozenset(), {Delivery.NOTIFY})
    assert job.delivery_error
    assert "given up" in caplog.text
    assert [name for name, _ in w.store.manual.stuck(0.0, 10).undelivered.named] == ["job-1"]


def test_a_person_can_retry_a_delivery_that_was_given_up(ended: Any, listener: Listener) -> None:
    listener.answers = [503] * 30
    for _ in range(30):
        ended.deliverer(["job-1"])
        ended.ahead(3601)
    assert ended.job().undelivered == {Delivery.NOTIFY}
    assert ended.job().delivery_error == "the callback_url answered 503"
    assert ended.store.deliveries.retry(["job-1"]) == {"job-1": "owed"}
    ended.round(0)
    ended.deliverer(["job-1"])
    assert (ended.job().owed, ended.job().undelivered, ended.alarm_in()) == (frozenset(), frozenset(), None)
    assert {headers["webhook-id"] for _, _, headers, _ in listener.received} == {"job-1.completed"}


def test_a_celery_message_that_is_never_processed_is_given_up_and_listed(world: MakeWorld) -> None:
    w = world()
    w.start()
    w.store.celery.park("job-1", "job-1", "{}")
    w.settle()
    for _ in range(30):
        w.deliverer(["job-1"])
        w.ahead(3601)
    assert (w.job().owed, w.job().undelivered) == (frozenset(), {Delivery.CELERY})
    assert "not processed" in w.job().delivery_error
    assert w.alarm_in() is None


def test_failed_and_cancelled_jobs_are_notified(world: MakeWorld, simulator: Simulator, listener: Listener) -> None:
    w = world(allow_private_hosts=True)
    simulator.turn(fail_permanent=1)
    w.start("job-1", callback_url=f"{listener.url}/hook")
    w.enqueue("job-2", callback_url=f"{listener.url}/hook")
    w.store.jobs.cancel("job-2")
    w.settle("job-1")
    w.deliverer(["job-1", "job-2"])
    notifications = {headers["webhook-id"]: json.loads(body) for _, _, headers, body in listener.received}
    assert notifications["job-1.failed"]["error"]["code"] == "1301"
    assert notifications["job-2.cancelled"]["status"] == "cancelled"


def test_the_log_contains_no_address_and_no_key(
    world: MakeWorld, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    w = world(allow_private_hosts=True)
    w.start(callback_url=f"{listener.url}/hook?token=canary-of-the-producer")
    w.settle()
    listener.answers = [500]
    w.deliverer(["job-1"])
    assert "answered 500" in caplog.text
    assert "canary" not in caplog.text


# --- Celery ---------------------------------------------------------------------------------------------------------


def test_a_parked_message_is_sent_again_with_its_continuation(world: MakeWorld) -> None:
    w, name = world(), uuid.uuid4().hex
    link: Any = {
        "task": "shop.paint",
        "args": [],
        "kwargs": {},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    continuation = {"task_id": name, "root_id": "root", "link": [link], "group_id": "g"}
    w.enqueue("job-1")
    _, mark, _ = w.store.celery.park("job-1", name, json.dumps(continuation))
    w.submit()
    w.settle()
    w.deliverer(["job-1"])
    (text,) = w.redis.lrange("celery", 0, -1)
    message = json.loads(text)
    headers = message["headers"]
    assert (headers["task"], headers["id"]) == ("boomerang.generate", name)
    assert (headers["root_id"], headers["group"], headers["boomerang_finishes"]) == ("root", "g", mark)
    _, kwargs, embed = json.loads(b64decode(message["body"]))
    # The message has no prompt and no image, because the record has them
    assert kwargs == {"external_task_id": "job-1"}
    assert [each["task"] for each in embed["callbacks"]] == ["shop.paint"]
    # The worker stores the result; the sender does not subscribe to it
    assert headers["ignore_result"] is False
    assert w.redis.pubsub_numsub(f"celery-task-meta-{name}") == [(f"celery-task-meta-{name}", 0)]


def test_a_finishing_message_is_sent_again_until_it_is_confirmed(world: MakeWorld) -> None:
    w = world()
    w.enqueue("job-1")
    marks = [
        w.store.celery.park("job-1", task_id, json.dumps({"task_id": task_id}))[1] for task_id in ("job-1", "other")
    ]
    w.store.jobs.cancel("job-1")
    w.deliverer(["job-1"])
    assert w.messages_in("celery") == 2
    assert 25 < w.alarm_in() <= CONFIRMATION
    # One message is processed, and the broker lost the other
    assert w.store.celery.message_finished("job-1", marks[0]) == "owed"
    w.round(CONFIRMATION)
    w.deliverer(["job-1"])
    (last, *_) = w.redis.lrange("celery", 0, -1)
    assert (w.messages_in("celery"), json.loads(last)["headers"]["id"]) == (3, "other")
    assert w.store.celery.message_finished("job-1", marks[1]) == "finished"
    assert (w.job().owed, w.alarm_in()) == (frozenset(), None)


def test_a_finishing_message_is_given_up_after_30_times(world: MakeWorld) -> None:
    w = world()
    w.enqueue("job-1")
    w.store.celery.park("job-1", "job-1", json.dumps({"task_id": "job-1"}))
    w.store.jobs.cancel("job-1")
    for _ in range(40):
        w.deliverer(["job-1"])
    assert (w.messages_in("celery"), w.alarm_in()) == (30, None)


# --- the broker is unavailable --------------------------------------------------------------------------------------


DEAD = "redis://127.0.0.1:1/0"


@pytest.mark.slow
def test_a_hint_that_cannot_be_sent_raises_no_error(world: MakeWorld) -> None:
    w = world(broker_url=DEAD)
    w.enqueue("job-1")
    w.reconciler()
    # The alarm of the admitted job sends the message again
    assert w.job().state is State.QUEUED
    assert 0 < w.alarm_in() <= 30


@pytest.mark.slow
def test_a_parked_message_that_cannot_be_sent_is_retried(world: MakeWorld) -> None:
    w = world(broker_url=DEAD, result_url=DEAD)
    w.enqueue("job-1")
    w.store.celery.park("job-1", "job-1", json.dumps({"task_id": "job-1"}))
    w.store.jobs.cancel("job-1")
    w.deliverer(["job-1"])
    assert w.job().celery_tries == 1
    assert 0 < w.alarm_in() < 3


def test_a_broker_that_refuses_writes_raises_no_error(world: MakeWorld, redis_url: str) -> None:
    w = world()
    with redis_py.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", 1)
        try:
            w.messages.submit([["a"]])
        finally:
            client.config_set("maxmemory", 0)
