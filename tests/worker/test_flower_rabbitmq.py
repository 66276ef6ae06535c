"""Flower with RabbitMQ as the broker: the same states as with Redis, and the numbers of the management plugin."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.rabbitmq import running
from tests.support.waiting import WaitFor
from tests.support.worker_service import RunService, Service
from tests.worker.test_flower import Flower, flower

pytestmark = pytest.mark.stack
TIMEOUT = 30
__all__ = ["flower"]


@pytest.fixture(scope="module")
def _service(tmp_path_factory: pytest.TempPathFactory, run_service: RunService, wait_for: WaitFor) -> Iterator[Any]:
    with (
        running(tmp_path_factory.mktemp("managed"), wait_for, managed=True) as node,
        run_service(node.url) as service,
    ):
        service.env["FLOWER_BROKER_API"] = node.api
        yield service


def test_flower_lists_tasks_with_their_states_and_the_queues(
    service: Service, flower: Flower, wait_for: WaitFor
) -> None:
    name = uuid.uuid4().hex
    assert service.send(name).get(TIMEOUT)["status"] == "completed"
    service.send(f"{name}-refused", model="x")
    service.send(f"{name}-late", countdown=1000)
    revoked = service.send(f"{name}-revoked", countdown=1000)
    wait_for(lambda: service.redis.exists(f"{{b}}:k:{name}-revoked"), TIMEOUT)
    revoked.revoke()
    states = {
        name: "SUCCESS",
        f"{name}-refused": "FAILURE",
        f"{name}-late": "RECEIVED",
        f"{name}-revoked": "REVOKED",
    }

    def listed() -> dict[str, str]:
        return {each: task["state"] for each, task in (flower("/api/tasks") or {}).items() if each in states}

    wait_for(lambda: listed() == states, TIMEOUT, "Flower lists the tasks")

    def queues() -> set[str]:
        return {each["name"] for each in (flower("/api/queues/length") or {})["active_queues"]}

    wait_for(
        lambda: queues() == {"celery", "boomerang.submit", "boomerang.reconcile", "boomerang.deliver"},
        TIMEOUT,
        "Flower lists the queues",
    )
    workers = flower("/api/workers?refresh=1")
    assert list(workers) == ["w0@localhost"]
    service.store.jobs.cancel(f"{name}-late")
