"""Celery's revoke, countdown, eta and expires, and what they do to a job."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult, GroupResult

from jobs.errors import StoreUnavailable
from jobs.states import State
from tests.support.own_messages import unprocessed
from tests.support.worker_service import Service
from tests.support.world import MakeWorld
from worker.generate.revoke import commands

pytestmark = pytest.mark.stack
WaitFor = Callable[..., None]
TIMEOUT = 20


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def parked(service: Service, wait_for: WaitFor) -> Callable[..., Any]:
    """Return `parked(id, …)`, which sends a task whose job never ends and returns its AsyncResult."""
    service.simulator.turn(latency="1000")

    def park(*names: str, **request: Any) -> Any:
        results = [service.send(name, **request) for name in names]
        jobs = [request.get("external_task_id", name) for name in names]
        wait_for(lambda: service.redis.exists(*(f"{{b}}:k:{job_id}" for job_id in jobs)) == len(set(jobs)), TIMEOUT)
        return results[0] if len(results) == 1 else results

    return park


def revoked(result: AsyncResult) -> bool:
    with pytest.raises(TaskRevokedError):
        result.get(TIMEOUT)
    return bool(result.state == "REVOKED")


@pytest.mark.parametrize("terminate", [False, True])
def test_a_revoke_cancels_the_job(
    terminate: bool, service: Service, name: str, parked: Callable[..., Any], wait_for: WaitFor
) -> None:
    result = parked(name)
    result.revoke(terminate=terminate)
    assert revoked(result)
    assert service.store.jobs.get(name).state is State.CANCELLED


def test_a_revoke_ends_what_follows_the_task(
    service: Service, name: str, parked: Callable[..., Any], wait_for: WaitFor
) -> None:
    queue = f"shop-{name}"
    follows = service.producer.signature("shop.paint", task_id=f"{name}-next", queue=queue)
    parked(name, link_error=service.producer.signature("shop.sorry", queue=queue), chain=[follows])
    service.producer.control.revoke(name)
    assert revoked(AsyncResult(f"{name}-next", app=service.producer))
    wait_for(lambda: service.redis.llen(queue), TIMEOUT)
    (text,) = service.redis.lrange(queue, 0, -1)
    assert json.loads(text)["headers"]["task"] == "shop.sorry"


def test_a_group_may_be_revoked_twice(service: Service, parked: Callable[..., Any]) -> None:
    names = [uuid.uuid4().hex for _ in range(20)]
    results = parked(*names)
    for _ in range(2):
        GroupResult(uuid.uuid4().hex, results, app=service.producer).revoke()
    assert all(revoked(result) for result in results)


def test_a_revoke_reports_what_it_cancelled(service: Service, name: str, parked: Callable[..., Any]) -> None:
    parked(name)
    (answer,) = service.producer.control.revoke([name, "not-a-job"], reply=True, timeout=TIMEOUT, limit=1)
    assert list(answer.values()) == [{"ok": "1 of 2 jobs cancelled"}]
    (answer,) = service.producer.control.terminate(name, reply=True, timeout=TIMEOUT, limit=1)
    assert list(answer.values()) == [{"ok": "0 of 1 jobs cancelled"}]
    (answer,) = service.producer.control.revoke_by_stamped_headers(
        {"order": "o-7"}, reply=True, timeout=TIMEOUT, limit=1
    )
    assert "by task id" in next(iter(answer.values()))["ok"]


def test_a_revoke_finds_the_job_of_a_task_with_another_id(
    service: Service, name: str, parked: Callable[..., Any]
) -> None:
    job = {"model": "kirin_image_omni", "prompt": "a fox", "external_task_id": f"{name}-job"}
    result = parked(name, **job)
    result.revoke()
    assert revoked(result)
    assert service.store.jobs.get(f"{name}-job").state is State.CANCELLED


def test_a_revoke_before_the_message_prevents_the_job(service: Service, name: str) -> None:
    service.producer.control.revoke(name, reply=True, timeout=TIMEOUT, limit=1)
    assert revoked(service.send(name))
    assert service.store.jobs.get_many([name]) == [None]
    assert service.simulator.calls("submit") == 0


def test_other_services_tasks_and_http_jobs_are_left_alone(service: Service, name: str) -> None:
    service.simulator.turn(latency="1000")
    service.enqueue(name)
    service.producer.control.revoke([name, f"{name}-of-the-shop"], reply=True, timeout=TIMEOUT, limit=1)
    assert not service.store.jobs.get(name).state.final
    # Celery's own worker would write a result for the unknown task; this one does not
    assert AsyncResult(f"{name}-of-the-shop", app=service.producer).state == "PENDING"
    service.store.jobs.cancel(name)


def test_an_ended_job_keeps_its_result(service: Service, name: str) -> None:
    result = service.send(name)
    view = result.get(TIMEOUT)
    service.producer.control.revoke(name, reply=True, timeout=TIMEOUT, limit=1)
    assert AsyncResult(name, app=service.producer).get(TIMEOUT) == view
    assert service.send(name).get(TIMEOUT) == view


def test_a_retry_after_a_revoke_completes(service: Service, name: str, wait_for: WaitFor) -> None:
    result = service.send(name, countdown=1000)
    wait_for(lambda: service.redis.exists(f"{{b}}:k:{name}"), TIMEOUT)
    result.revoke()
    assert revoked(result)
    wait_for(lambda: not service.store.jobs.get(name).owed, TIMEOUT)
    service.store.jobs.retry(name)
    wait_for(lambda: AsyncResult(name, app=service.producer).state == "SUCCESS", TIMEOUT)
    assert AsyncResult(name, app=service.producer).get(TIMEOUT)["id"] == name


# --- delayed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["countdown", "eta", "naive"])
def test_a_delayed_task_waits_in_the_record_and_not_in_a_worker(
    how: str, service: Service, name: str, wait_for: WaitFor
) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    options: Any = {
        "countdown": {"countdown": 7200},
        "eta": {"eta": later.astimezone(timezone(timedelta(hours=-5)))},
        "naive": {"eta": later.replace(tzinfo=None)},
    }[how]
    result = service.send(name, **options)
    wait_for(lambda: service.redis.exists(f"{{b}}:k:{name}"), TIMEOUT)
    wait_for(lambda: not unprocessed(service.redis, [name]), TIMEOUT)
    alarm = service.redis.zscore("{b}:alarms", name) / 1e6
    assert abs(alarm - later.timestamp()) < 60
    assert service.store.jobs.get(name).state is State.QUEUED
    # A repeat changes nothing. A revoke needs no worker that holds the message
    service.send(name, **options)
    result.revoke()
    assert revoked(result)
    assert service.simulator.calls("submit") == 0


def test_a_task_starts_after_its_countdown(service: Service, name: str) -> None:
    assert service.send(name, countdown=1).get(TIMEOUT)["status"] == "completed"


def test_an_eta_in_the_past_starts_at_once(service: Service, name: str) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    assert service.send(name, eta=past).get(TIMEOUT)["status"] == "completed"


# --- expired ----------------------------------------------------------------------------------------------------------


def test_a_task_that_expires_before_it_begins_costs_nothing(service: Service, name: str) -> None:
    result = service.send(name, countdown=7200, expires=1)
    assert revoked(result)
    assert service.store.jobs.get(name).state is State.EXPIRED
    assert service.simulator.calls("submit") == 0


def test_a_task_that_began_in_time_does_not_expire(service: Service, name: str) -> None:
    service.simulator.turn(latency="2.5")
    assert service.send(name, expires=2).get(TIMEOUT)["status"] == "completed"


def test_an_expired_message_creates_no_job(service: Service, name: str) -> None:
    result = service.send(name, expires=datetime.now(UTC) - timedelta(seconds=5))
    assert revoked(result)
    assert service.store.jobs.get_many([name]) == [None]
    # An expired repeat does not stop a recorded job
    view = service.send(f"{name}-2").get(TIMEOUT)
    late = service.send(f"{name}-2", expires=datetime.now(UTC) - timedelta(seconds=5))
    assert late.get(TIMEOUT) == view


def test_a_revoke_without_the_store_reports_that_nothing_was_done(world: MakeWorld, name: str) -> None:
    class Away:
        def revoke(self, task_ids: list[str]) -> tuple[str, ...]:
            raise StoreUnavailable("gone")

    answer = commands(Away())["revoke"](None, name)  # type: ignore[arg-type]
    assert "send it again" in answer["error"]
