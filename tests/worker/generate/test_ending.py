"""The end of a Celery message while its broker or its result backend does not answer."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery.canvas import Signature
from kombu.exceptions import OperationalError

from jobs.errors import Unroutable
from jobs.task_names import GENERATE
from tests.support.world import MakeWorld, World
from worker.errors import GenerationFailed, GenerationRefused, MessageUnfinished
from worker.generate.ending import MOST_ATTEMPTS, end_message
from worker.generate.enqueue import Ending
from worker.generate.unreachable import Reachability

# Celery calls it to store a result
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")
VIEW = {"id": "fox", "status": "completed"}


@pytest.fixture
def w(world: MakeWorld) -> World:
    return world()


@pytest.fixture
def task(w: World) -> Iterator[Any]:
    """The task while a worker runs it, with a link and an errback."""
    task = w.app.tasks[GENERATE]
    link, errback = (dict(w.app.signature(name, queue="shop")) for name in ("shop.paint", "shop.sorry"))
    task.push_request(id="fox", callbacks=[link], errbacks=[errback], delivery_info={})
    yield task
    task.pop_request()


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`refuse(name, …)`: the broker takes no message for these tasks."""

    def arm(*names: str) -> None:
        send = Signature.apply_async

        def refusing(self: Any, *args: Any, **options: Any) -> Any:
            if self.task in names:
                raise OperationalError("the broker is away")
            return send(self, *args, **options)

        monkeypatch.setattr(Signature, "apply_async", refusing)

    return arm


def reachable(_: str) -> list[str]:
    return []


def called(w: World) -> list[str]:
    return [json.loads(text)["headers"]["task"] for text in w.redis.lrange("shop", 0, -1)]


def state(w: World) -> str:
    return str(w.app.backend.get_state("fox"))


def test_a_link_that_the_broker_refuses_is_sent_later(w: World, task: Any, refuse: Callable[..., None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Signature, "apply_async", _raise)
        with pytest.raises(MessageUnfinished, match="away"):
            end_message(task, Ending(VIEW), reachable)
    assert (called(w), state(w)) == ([], "PENDING")
    end_message(task, Ending(VIEW, attempts=1), reachable)
    assert (called(w), state(w)) == (["shop.paint"], "SUCCESS")


def test_a_link_that_the_broker_always_refuses_fails_the_task(w: World, task: Any, refuse: Callable[..., None]) -> None:
    refuse("shop.paint")
    for attempts in range(MOST_ATTEMPTS):
        with pytest.raises(MessageUnfinished):
            end_message(task, Ending(VIEW, attempts=attempts), reachable)
    end_message(task, Ending(VIEW, attempts=MOST_ATTEMPTS), reachable)
    assert (called(w), state(w)) == (["shop.sorry"], "FAILURE")


def test_an_error_that_looks_like_the_brokers_is_final_after_some_attempts(w: World, task: Any) -> None:
    """Kombu reports this link's unknown compression as an OperationalError."""
    task.request.callbacks = [dict(w.app.signature("shop.paint", queue="shop", compression="nonsense"))]
    with pytest.raises(MessageUnfinished):
        end_message(task, Ending(VIEW), reachable)
    end_message(task, Ending(VIEW, attempts=MOST_ATTEMPTS), reachable)
    assert (called(w), state(w)) == (["shop.sorry"], "FAILURE")


def test_an_errback_of_a_refused_message_is_tried_a_limited_number_of_times(
    w: World, task: Any, refuse: Callable[..., None]
) -> None:
    refuse("shop.sorry")
    # Celery's retries during an outage of Redis are no attempts to end it
    task.request.retries = 1000
    with pytest.raises(MessageUnfinished):
        end_message(task, Ending(GenerationRefused("no"), refused=True, attempts=MOST_ATTEMPTS - 1), reachable)
    end_message(task, Ending(GenerationRefused("no"), refused=True, attempts=MOST_ATTEMPTS), reachable)
    assert (called(w), state(w)) == ([], "FAILURE")


@pytest.mark.parametrize("kind", ["link", "link_error"])
@pytest.mark.parametrize("names", [["lost"], ["lost", "two"], ["one", "lost"]], ids="-".join)
def test_a_queue_that_is_missing_for_a_moment_is_awaited(
    names: list[str], kind: str, w: World, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other link is called at each attempt."""
    signatures = [dict(w.app.signature(name, queue="shop")) for name in names]
    task.request.update(callbacks=None, errbacks=None)
    task.request.update(**{{"link": "callbacks", "link_error": "errbacks"}[kind]: signatures})
    outcome: Any = VIEW if kind == "link" else GenerationFailed("no")
    send, away = Signature.apply_async, [True]

    def sending(self: Any, *args: Any, **options: Any) -> Any:
        if self.task == "lost" and away[0]:
            raise Unroutable("the broker has no queue 'shop'")
        return send(self, *args, **options)

    monkeypatch.setattr(Signature, "apply_async", sending)

    def unreachable(text: str) -> list[str]:
        return ["lost: no queue"] if away[0] and '"lost"' in text else []

    for attempts in range(MOST_ATTEMPTS):
        with pytest.raises(MessageUnfinished, match="no queue"):
            end_message(task, Ending(outcome, attempts=attempts), unreachable)
        assert called(w) == []
    away[0] = False
    end_message(task, Ending(outcome, attempts=MOST_ATTEMPTS), unreachable)
    assert sorted(called(w)) == sorted(names)
    assert state(w) == ("SUCCESS" if kind == "link" else "FAILURE")


def test_a_queue_that_stays_missing_fails_the_task(w: World, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task.request.callbacks += [dict(w.app.signature("shop.two", exchange="shop-none", routing_key="x"))]
    for attempts in range(MOST_ATTEMPTS):
        with pytest.raises(MessageUnfinished, match="shop"):
            end_message(task, Ending(VIEW, attempts=attempts), Reachability(w.app))
        assert called(w) == []
    end_message(task, Ending(VIEW, attempts=MOST_ATTEMPTS), Reachability(w.app))
    assert called(w).count("shop.sorry") == 1
    assert state(w) == "FAILURE"


def test_a_result_that_cannot_be_stored_is_stored_later(w: World, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(w.app.backend, "set", _raise_connection_error)
        with pytest.raises(MessageUnfinished):
            end_message(task, Ending(GenerationFailed("no")), reachable)
    assert called(w) == []
    end_message(task, Ending(GenerationFailed("no"), attempts=1), reachable)
    assert (called(w), state(w)) == (["shop.sorry"], "FAILURE")


@pytest.mark.parametrize("follows", ["a link", "a chain"])
def test_a_chord_that_the_backend_does_not_take_is_sent_later(
    follows: str, w: World, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chord is stored in the result backend, whose errors are not those of the broker."""
    if follows == "a chain":
        task.request.update(callbacks=None, chain=task.request.callbacks)
    with monkeypatch.context() as patch:
        patch.setattr(Signature, "apply_async", _raise_redis_error)
        with pytest.raises(MessageUnfinished, match="away"):
            end_message(task, Ending(VIEW), reachable)
    assert (called(w), state(w)) == ([], "PENDING")
    end_message(task, Ending(VIEW, attempts=1), reachable)
    assert (called(w), state(w)) == (["shop.paint"], "SUCCESS")


def test_links_are_not_sent_again_at_each_failed_store_of_the_result(
    w: World, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(w.app.backend, "set", _raise_redis_error)
        for attempts in range(MOST_ATTEMPTS + 2):
            with pytest.raises(MessageUnfinished):
                end_message(task, Ending(VIEW, attempts=attempts), reachable)
    assert (called(w), state(w)) == (["shop.paint"], "PENDING")
    end_message(task, Ending(VIEW, attempts=MOST_ATTEMPTS + 2), reachable)
    assert (called(w), state(w)) == (["shop.paint"] * 2, "SUCCESS")


def test_an_errback_that_needs_the_backend_is_called_later(
    w: World, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Signature, "apply_async", _raise_redis_error)
        with pytest.raises(MessageUnfinished, match="away"):
            end_message(task, Ending(GenerationFailed("no")), reachable)
    end_message(task, Ending(GenerationFailed("no"), attempts=1), reachable)
    assert (called(w), state(w)) == (["shop.sorry"], "FAILURE")


def _raise_redis_error(*_: Any, **__: Any) -> None:
    raise redis.ConnectionError("the backend is away")


def _raise(*_: Any, **__: Any) -> None:
    raise OperationalError("the broker is away")


def _raise_connection_error(*_: Any, **__: Any) -> None:
    raise ConnectionError("the backend is away")


def test_the_arguments_are_those_of_celery(w: World, task: Any) -> None:
    end_message(task, Ending(VIEW), reachable)
    (text,) = w.redis.lrange("shop", 0, -1)
    message = json.loads(text)
    assert json.loads(b64decode(message["body"]))[0] == [VIEW]
    assert (message["headers"]["parent_id"], message["headers"]["root_id"]) == ("fox", "fox")
