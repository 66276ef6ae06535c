"""A message that cannot be finished now: it is sent again, however often that was needed before, and never dropped."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.canvas import Signature
from celery.exceptions import Reject, Retry
from kombu.exceptions import OperationalError

from jobs.errors import StoreUnavailable, WorkRefused
from jobs.task_names import GENERATE
from tests.support.world import MakeWorld, World
from worker.errors import MessageUnfinished
from worker.generate import task as module
from worker.generate.task import parse_call, process

ROUTE = {"exchange": "", "routing_key": "celery"}
Attempt = Callable[[], Any]


@pytest.fixture
def w(world: MakeWorld) -> World:
    return world()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_DELAY", 0.0)


@contextmanager
def attempt(w: World, retries: int, error: Exception) -> Iterator[Attempt]:
    """Yield a call that processes a message as a worker does, after `retries`. Its handler raises the error."""
    task = w.app.tasks[GENERATE]
    request = {"model": "kirin_image_omni", "prompt": "a fox"}

    def handler(_call: Any) -> Any:
        raise error

    task.push_request(id="fox", args=[], kwargs=request, retries=retries, called_directly=False, delivery_info=ROUTE)
    try:
        call = parse_call(task.request, request)
        yield lambda: process(task, call, handler, lambda *_: None, lambda: True)  # type: ignore[arg-type]
    finally:
        task.pop_request()


@pytest.mark.parametrize("error", [StoreUnavailable("away"), WorkRefused("refused"), MessageUnfinished("busy")])
@pytest.mark.parametrize("retries", [0, 2, 3, 4, 1_000])
def test_a_message_is_sent_again_without_limit(retries: int, error: Exception, w: World) -> None:
    with attempt(w, retries, error) as run, pytest.raises(Retry):
        run()
    (sent,) = [json.loads(text)["headers"] for text in w.redis.lrange("celery", 0, -1)]
    assert (sent["id"], sent["task"], sent["retries"]) == ("fox", GENERATE, retries + 1)


def test_a_message_that_cannot_be_sent_again_returns_to_its_queue(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the broker is away")

    monkeypatch.setattr(Signature, "apply_async", away)
    with attempt(w, 0, StoreUnavailable("away")) as run, pytest.raises(Reject) as rejected:
        run()
    assert rejected.value.requeue
