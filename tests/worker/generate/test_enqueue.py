"""boomerang.generate, called by a Celery service that shares the broker and imports none of this code."""

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest
from celery import chord
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from tests.support.worker_service import Service

pytestmark = pytest.mark.stack
WaitFor = Callable[..., None]
TIMEOUT = 20


def _queued(service: Service, queue: str) -> list[Any]:
    """Return (task, args) of every message in the queue."""
    texts = [json.loads(text) for text in service.redis.lrange(queue, 0, -1)]
    return [(each["headers"]["task"], json.loads(b64decode(each["body"]))[0]) for each in texts]


def test_get_returns_the_jobs_view(service: Service) -> None:
    view = service.send("view-1", model="kirin_image_omni", prompt="a fox", labels={"shop": "berlin"}).get(TIMEOUT)
    assert (view["id"], view["status"], view["settled_by"]) == ("view-1", "completed", "poll")
    assert view["labels"] == {"shop": "berlin"}
    assert view["output"][0]["url"].startswith(service.simulator.url)
    assert service.simulator.bought()[:2] == (1, 0)


def test_a_parked_task_is_pending_and_occupies_no_worker(service: Service, wait_for: WaitFor) -> None:
    service.simulator.turn(latency="1000")
    results = [service.send(f"parked-{n}") for n in range(40)]  # more than a worker's threads
    wait_for(lambda: service.simulator.get("/_sim/stats")["tasks"] == 40, 20)
    assert {result.state for result in results} == {"PENDING"}
    service.simulator.turn(latency="0")
    assert service.send("unhindered").get(TIMEOUT)["status"] == "completed"
    assert {result.state for result in results} == {"PENDING"}
    assert service.redis.keys("celery-task-meta-parked-*") == []
    for result in results:
        service.store.jobs.cancel(result.id)


def test_a_failed_job_raises(service: Service) -> None:
    service.simulator.turn(fail_permanent=1)
    with pytest.raises(Exception, match=r"fail-1 failed: 1301 .*safety") as raised:
        service.send("fail-1").get(TIMEOUT)
    assert type(raised.value).__name__ == "GenerationFailed"


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({"model": "kirin_image_omni"}, "prompt"),
    "unknown model": ({"model": "nonsense", "prompt": "x"}, "model"),
    "n": ({"model": "kirin_image_omni", "prompt": "x", "n": 10}, "n: "),
    "unknown parameter": ({"model": "kirin_image_omni", "prompt": "x", "promt": "y"}, "promt"),
}


@pytest.mark.parametrize(("request_", "field"), INVALID.values(), ids=INVALID)
def test_an_invalid_request_raises_and_names_the_field(request_: dict[str, Any], field: str, service: Service) -> None:
    with pytest.raises(Exception, match=field) as raised:
        service.send(f"invalid-{field.strip(': ')}", **request_).get(TIMEOUT)
    assert type(raised.value).__name__ == "GenerationRefused"
    assert service.simulator.calls("submit") == 0


def test_positional_arguments_raise_type_error(service: Service) -> None:
    result = service.producer.send_task("boomerang.generate", args=[{"prompt": "x"}], task_id="positional-1")
    with pytest.raises(TypeError):
        result.get(TIMEOUT)


def test_the_same_id_again_is_the_same_job(service: Service) -> None:
    first = service.send("same-1").get(TIMEOUT)
    assert service.send("same-1").get(TIMEOUT) == first
    assert service.simulator.bought()[:2] == (1, 0)


def test_a_repeated_parked_message_calls_its_link_once(service: Service, wait_for: WaitFor) -> None:
    service.simulator.turn(latency="2")
    link = service.producer.signature("shop.twice", queue="shop-twice")
    for _ in range(3):
        service.send("twice-1", link=link)
    result = AsyncResult("twice-1", app=service.producer)
    assert result.get(TIMEOUT)["status"] == "completed"
    wait_for(lambda: _queued(service, "shop-twice"))
    assert len(_queued(service, "shop-twice")) == 1
    assert service.simulator.bought()[:2] == (1, 0)


def test_the_same_id_with_another_request_is_a_conflict(service: Service) -> None:
    first = service.send("conflict-1").get(TIMEOUT)
    # Another Celery task id, so that the first task's result stays
    again = service.send("conflict-other", model="kirin_image_omni", prompt="a badger", external_task_id="conflict-1")
    with pytest.raises(Exception, match="conflict-1"):
        again.get(TIMEOUT)
    assert AsyncResult("conflict-1", app=service.producer).get(TIMEOUT) == first


def test_a_link_fires_once_with_the_result_in_the_producers_own_queue(service: Service, wait_for: WaitFor) -> None:
    link = service.producer.signature("shop.paint", queue="shop-paint")
    view = service.send("link-1", link=link).get(TIMEOUT)
    wait_for(lambda: _queued(service, "shop-paint"))
    assert _queued(service, "shop-paint") == [("shop.paint", [view])]


def test_a_link_error_fires_with_the_tasks_id(service: Service, wait_for: WaitFor) -> None:
    service.simulator.turn(fail_permanent=1)
    result = service.send("errback-1", link_error=service.producer.signature("shop.sorry", queue="shop-sorry"))
    with pytest.raises(Exception, match="1301"):
        result.get(TIMEOUT)
    wait_for(lambda: _queued(service, "shop-sorry"))
    assert [task for task, _ in _queued(service, "shop-sorry")] == ["shop.sorry"]


def test_a_chain_continues_and_a_chord_counts_each_member_once(service: Service, wait_for: WaitFor) -> None:
    def generate(task_id: str) -> Any:
        kwargs = {"model": "kirin_image_omni", "prompt": "a fox"}
        return service.producer.signature("boomerang.generate", kwargs=kwargs, task_id=task_id, immutable=True)

    (generate("chain-1") | service.producer.signature("shop.next", queue="shop-next")).apply_async()
    chord([generate("chord-1"), generate("chord-2")], app=service.producer)(
        service.producer.signature("shop.all", queue="shop-all")
    )
    wait_for(lambda: _queued(service, "shop-next") and _queued(service, "shop-all"), TIMEOUT)
    ((_, (view,)),) = _queued(service, "shop-next")
    assert view["id"] == "chain-1"
    ((_, (views,)),) = _queued(service, "shop-all")
    assert {view["id"] for view in views} == {"chord-1", "chord-2"}


def test_a_cancelled_job_is_revoked_at_the_producer(service: Service, wait_for: WaitFor) -> None:
    service.simulator.turn(latency="1000")
    result = service.send("cancel-1")
    wait_for(lambda: service.redis.exists("{b}:k:cancel-1"))
    service.store.jobs.cancel("cancel-1")
    with pytest.raises(TaskRevokedError):
        result.get(TIMEOUT)


def test_an_unknown_job_id_without_a_request_is_refused(service: Service) -> None:
    with pytest.raises(Exception, match="no job 'missing'"):
        service.send("asks-1", external_task_id="missing").get(TIMEOUT)
