"""A producer of Celery tasks, for the tests of this folder."""

import json
import uuid
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import pytest

from tests.support.own_messages import published_ids, unprocessed
from tests.support.worker_service import Service

WaitFor = Callable[..., None]
TIMEOUT = 30
REQUEST = {"model": "kirin_image_omni", "prompt": "a fox"}


@pytest.fixture
def queue() -> str:
    """The queue of the shop's tasks. Only the test reads it."""
    return f"shop-{uuid.uuid4().hex[:8]}"


class Shop:
    """A producer: its signatures, and the messages that it received."""

    def __init__(self, service: Service, queue: str, wait_for: WaitFor, ids: Collection[str]) -> None:
        self._ids = ids
        self.service = service
        self.app = service.producer
        self.queue = queue
        self._wait_for = wait_for
        self.redis = service.redis

    def generate(self, task_id: str, **options: Any) -> Any:
        return self.app.signature(
            "boomerang.generate", kwargs=REQUEST, task_id=task_id, **{"queue": "celery", "immutable": True, **options}
        )

    def shop_task(self, name: str = "shop.all", **options: Any) -> Any:
        return self.app.signature(name, queue=self.queue, **options)

    def got(self) -> list[tuple[str, list[Any]]]:
        """Return (task, args) of every message for the shop's tasks, oldest first."""
        texts = [json.loads(text) for text in reversed(self.redis.lrange(self.queue, 0, -1))]
        return [(each["headers"]["task"], json.loads(b64decode(each["body"]))[0]) for each in texts]

    def one(self) -> tuple[str, list[Any]]:
        self._wait_for(self.got, TIMEOUT)
        self.wait_until_idle()
        (only,) = self.got()
        return only

    def wait_until_idle(self) -> None:
        """Wait until the service has processed every message of this test."""
        self._wait_for(lambda: not unprocessed(self.redis, self._ids), TIMEOUT)

    def release(self, messages: Sequence[str], times: int = 1) -> None:
        for text in messages:
            for _ in range(times):
                self.redis.lpush("celery", text)

    def take_held(self, count: int) -> list[str]:
        """Take this many messages from the queue that only the test reads."""
        texts = [self.redis.rpop(f"held-{self.queue}") for _ in range(count)]
        assert all(texts)
        return [str(text) for text in texts]


@pytest.fixture
def shop(service: Service, queue: str, wait_for: WaitFor) -> Iterator[Shop]:
    with published_ids() as ids:
        yield Shop(service, queue, wait_for, ids)


def ids(count: int) -> list[str]:
    start = uuid.uuid4().hex[:8]
    return [f"{start}-{number}" for number in range(count)]
